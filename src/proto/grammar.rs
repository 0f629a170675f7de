//! nom parsers on complete lines only: framing comes first, so nothing here can depend on how the
//! octets arrived.

use nom::branch::alt;
use nom::bytes::complete::{take_while, take_while_m_n, take_while1};
use nom::character::complete::{char, one_of};
use nom::combinator::{all_consuming, recognize};
use nom::multi::{many0_count, separated_list1};
use nom::sequence::{delimited, pair, preceded};
use nom::{IResult, Parser};

use super::reply::{Code, EnhancedCode};

type Parsed<'a, O> = IResult<&'a [u8], O, ()>;

/// The form of one complete reply line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReplyLine {
    pub(crate) code: Code,
    pub(crate) last: bool,
}

/// The code of one complete reply line, and whether it is the last of its reply.
///
/// ```abnf
/// Reply-line = *( Reply-code "-" [ textstring ] CRLF )
///              Reply-code [ SP [ textstring ] ] CRLF            ; RFC 5321 §4.2
/// Reply-code = %x32-35 %x30-35 %x30-39
/// ```
///
/// Any second and third digit is taken (the first decides), any octet in the text, and a line end
/// without its CR: none of these can be mistaken for something else.
pub(crate) fn reply_line(line: &[u8]) -> Option<ReplyLine> {
    let [a @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..] = line else {
        return None;
    };
    let code = Code::new(decimal(&[*a, *b, *c]))?;
    match rest {
        [b' ', ..] | [b'\n'] | [b'\r', b'\n'] => Some(ReplyLine { code, last: true }),
        [b'-', ..] => Some(ReplyLine { code, last: false }),
        _ => None,
    }
}

/// An enhanced status code at the start of a reply's text, and what follows it.
///
/// ```abnf
/// status-code = class "." subject "." detail      ; RFC 3463 §2
/// class       = "2" / "4" / "5"
/// subject     = 1*3DIGIT
/// detail      = 1*3DIGIT
/// ```
///
/// The code ends at white space or the end of the line: `5.1.1x` is text.
pub(crate) fn enhanced_code(text: &[u8]) -> Option<(EnhancedCode, &[u8])> {
    let (rest, (class, _, subject, _, detail)) = (
        one_of::<_, _, ()>("245"),
        char('.'),
        number,
        char('.'),
        number,
    )
        .parse(text)
        .ok()?;
    if !(rest.is_empty() || rest[0].is_ascii_whitespace()) {
        return None;
    }
    let class = class.to_digit(10).map_or(0, |digit| digit as u8);
    Some((EnhancedCode::new(class, subject, detail)?, rest))
}

fn number(text: &[u8]) -> Parsed<'_, u16> {
    take_while_m_n(1, 3, |b: u8| b.is_ascii_digit())
        .map(decimal)
        .parse(text)
}

/// The number of at most four digits.
fn decimal(digits: &[u8]) -> u16 {
    digits
        .iter()
        .fold(0, |number, digit| number * 10 + u16::from(digit - b'0'))
}

/// Whether this is an EHLO or parameter keyword.
///
/// ```abnf
/// ehlo-keyword  = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-")      ; RFC 5321 §4.1.1.1
/// esmtp-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-")      ; RFC 5321 §4.1.2
/// ```
pub(crate) fn is_keyword(text: &[u8]) -> bool {
    all_consuming(keyword).parse(text).is_ok()
}

pub(crate) fn keyword(text: &[u8]) -> Parsed<'_, &[u8]> {
    recognize(pair(
        take_while_m_n(1, 1, |b: u8| b.is_ascii_alphanumeric()),
        take_while(|b: u8| b.is_ascii_alphanumeric() || b == b'-'),
    ))
    .parse(text)
}

/// Whether this is a parameter's value.
///
/// ```abnf
/// esmtp-value =  1*(%d33-60 / %d62-126)             ; RFC 5321 §4.1.2
/// esmtp-value =/ UTF8-non-ascii                     ; RFC 6531 §3.3
/// ```
pub(crate) fn is_param_value(text: &[u8]) -> bool {
    !text.is_empty()
        && text
            .iter()
            .all(|&b| matches!(b, 33..=60 | 62..=126 | 128..))
}

/// Whether this is text as RFC 3461 encodes it.
///
/// ```abnf
/// xtext   = *( xchar / hexchar )                    ; RFC 3461 §4
/// xchar   = %x21-2A / %x2C-3C / %x3E-7E
/// hexchar = "+" 2(%x30-39 / %x41-46)
/// ```
pub(crate) fn is_xtext(text: &[u8]) -> bool {
    let plain = take_while1(|b| matches!(b, 33..=126) && !matches!(b, b'+' | b'='));
    let hex = take_while_m_n(2, 2, |b: u8| matches!(b, b'0'..=b'9' | b'A'..=b'F'));
    let escaped = preceded(char('+'), hex);
    let parsed: Parsed<'_, usize> = all_consuming(many0_count(alt((plain, escaped)))).parse(text);
    parsed.is_ok()
}

/// Whether this local part needs no quotes.
///
/// ```abnf
/// Dot-string = Atom *("."  Atom)                    ; RFC 5321 §4.1.2
/// Atom       = 1*atext
/// atext      =/ UTF8-non-ascii                      ; RFC 6531 §3.3
/// ```
pub(crate) fn is_dot_string(text: &[u8]) -> bool {
    all_consuming(dot_string).parse(text).is_ok()
}

fn dot_string(text: &[u8]) -> Parsed<'_, &[u8]> {
    recognize(separated_list1(char('.'), take_while1(is_atext))).parse(text)
}

fn is_atext(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b >= 128 || b"!#$%&'*+-/=?^_`{|}~".contains(&b)
}

/// ```abnf
/// Quoted-string  = DQUOTE *QcontentSMTP DQUOTE      ; RFC 5321 §4.1.2
/// QcontentSMTP   = qtextSMTP / quoted-pairSMTP
/// quoted-pairSMTP = %d92 %d32-126
/// qtextSMTP      = %d32-33 / %d35-91 / %d93-126 / UTF8-non-ascii
/// ```
fn quoted_string(text: &[u8]) -> Parsed<'_, &[u8]> {
    let plain = take_while1(|b| matches!(b, 32..=33 | 35..=91 | 93..=126 | 128..));
    let pair = preceded(char('\\'), take_while_m_n(1, 1, |b| matches!(b, 32..=126)));
    recognize(delimited(
        char('"'),
        many0_count(alt((plain, pair))),
        char('"'),
    ))
    .parse(text)
}

/// The offset of the `@` of a mailbox, or what is wrong with it.
///
/// ```abnf
/// Mailbox    = Local-part "@" ( Domain / address-literal )      ; RFC 5321 §4.1.2
/// Local-part = Dot-string / Quoted-string
/// ```
pub(crate) fn mailbox(text: &[u8]) -> Result<usize, &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.iter().any(u8::is_ascii_control) {
        return Err("it has a control character");
    }
    let (rest, local) = alt((quoted_string, dot_string))
        .parse(text)
        .map_err(|_| "the part before the '@' is missing or malformed")?;
    match rest.split_first() {
        Some((b'@', rest)) => domain(rest).map(|()| local.len()),
        Some((b' ' | b'<' | b'>' | b'(' | b'"', _)) => {
            Err("it has more than the address itself, such as a name, brackets or spaces")
        }
        Some(_) => Err("the part before the '@' is malformed"),
        None => Err("there is no '@'"),
    }
}

/// Whether this is a domain or an address literal, or what is wrong with it.
///
/// ```abnf
/// Domain          = sub-domain *("." sub-domain)                ; RFC 5321 §4.1.2
/// sub-domain      = Let-dig [Ldh-str] / U-label                 ; RFC 6531 §3.3
/// address-literal = "[" ( IPv4-address-literal / IPv6-address-literal
///                   / General-address-literal ) "]"             ; RFC 5321 §4.1.3
/// ```
///
/// An underscore is taken too: host names in the field have them.
pub(crate) fn domain(text: &[u8]) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("the domain is missing");
    }
    if text[0] == b'[' {
        return all_consuming(address_literal)
            .parse(text)
            .map(drop)
            .map_err(|_| "the address literal is malformed");
    }
    all_consuming(separated_list1(char('.'), sub_domain))
        .parse(text)
        .map(drop)
        .map_err(|_| "the domain is malformed")
}

fn sub_domain(text: &[u8]) -> Parsed<'_, &[u8]> {
    let (rest, label) =
        take_while1(|b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | 128..))
            .parse(text)?;
    if label.first() == Some(&b'-') || label.last() == Some(&b'-') {
        return Err(nom::Err::Error(()));
    }
    Ok((rest, label))
}

/// The grammar's `dcontent` without what would end or begin a path: no literal that is registered
/// has it.
fn address_literal(text: &[u8]) -> Parsed<'_, &[u8]> {
    let dcontent =
        take_while1(|b| matches!(b, 33..=90 | 94..=126) && !matches!(b, b'<' | b'>' | b'@' | b'"'));
    let (rest, literal) = delimited(char('['), dcontent, char(']')).parse(text)?;
    let text = str::from_utf8(literal).map_err(|_| nom::Err::Error(()))?;
    let valid = match text.split_once(':') {
        None => text.parse::<std::net::Ipv4Addr>().is_ok(),
        Some((tag, v6)) if tag.eq_ignore_ascii_case("IPv6") => {
            v6.parse::<std::net::Ipv6Addr>().is_ok()
        }
        Some((tag, _)) => {
            tag.ends_with(|c: char| c.is_ascii_alphanumeric())
                && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        }
    };
    if valid {
        Ok((rest, literal))
    } else {
        Err(nom::Err::Error(()))
    }
}
