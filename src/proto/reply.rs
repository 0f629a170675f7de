//! Replies: the three-digit code, the enhanced status code, and the text (RFC 5321 §4.2, RFC 3463).

use std::fmt;
use std::sync::Arc;

use memchr::memchr;

/// A server's complete reply, of one line or many.
///
/// It keeps the octets as they came, in one shared buffer: a clone is a reference, and the text is
/// cut into lines only when somebody asks for them.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    code: Code,
    statuses: Statuses,
    raw: Arc<[u8]>,
}

/// Whether enhanced status codes are looked for: the greeting and the reply to EHLO have none
/// (RFC 2034 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Statuses {
    Read,
    Ignore,
}

impl Reply {
    /// `raw` holds complete lines whose form and codes the framing has checked.
    pub(crate) fn new(code: Code, statuses: Statuses, raw: impl AsRef<[u8]>) -> Self {
        Self {
            code,
            statuses,
            raw: raw.as_ref().into(),
        }
    }

    /// The three-digit code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The enhanced status code (RFC 2034), where the server gave one whose class agrees with the
    /// code. Never set for a greeting or an EHLO reply.
    pub fn enhanced(&self) -> Option<EnhancedCode> {
        match self.statuses {
            Statuses::Read => {
                let (enhanced, _) = super::grammar::enhanced_code(self.raw.get(4..)?)?;
                (u16::from(enhanced.class()) == self.code.number() / 100).then_some(enhanced)
            }
            Statuses::Ignore => None,
        }
    }

    /// The text of each line, without its code and line end, as the server sent it.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.whole_lines()
            .map(|line| line.get(4..).unwrap_or_default())
    }

    /// All text as one line: lines joined by a space, an enhanced status code stripped from each
    /// (RFC 2034 repeats it), control characters and what is not UTF-8 replaced.
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(self.raw.len());
        let enhanced = self.enhanced();
        for line in self.lines() {
            let line = match enhanced {
                Some(_) => strip_enhanced(line),
                None => line,
            };
            if !text.is_empty() && !line.is_empty() {
                text.push(' ');
            }
            push_printable(&mut text, line);
        }
        text
    }

    /// Whether the server took the command: 2yz or 3yz.
    pub fn is_positive(&self) -> bool {
        self.code.is_positive()
    }

    /// Each line with its code, without its line end.
    fn whole_lines(&self) -> impl Iterator<Item = &[u8]> {
        whole_lines(&self.raw)
    }

    /// Whether its enhanced status codes count.
    pub(crate) fn statuses(&self) -> Statuses {
        self.statuses
    }

    /// The octets as they came, line ends included.
    pub(crate) fn raw(&self) -> &[u8] {
        &self.raw
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(enhanced) = self.enhanced() {
            write!(f, " {enhanced}")?;
        }
        let text = self.text();
        if text.is_empty() {
            Ok(())
        } else {
            write!(f, " {text}")
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({self})")
    }
}

/// A reply code: three digits, of which the first decides (RFC 5321 §4.2.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(u16);

impl Code {
    /// The code for a number from 200 to 599; `None` for any other.
    pub fn new(number: u16) -> Option<Self> {
        (200..600).contains(&number).then_some(Self(number))
    }

    /// 2yz, of its second and third digit; `None` where they are none.
    pub(crate) fn done(second: u8, third: u8) -> Option<Self> {
        let digit = |octet: u8| octet.is_ascii_digit().then(|| u16::from(octet - b'0'));
        Some(Self(200 + 10 * digit(second)? + digit(third)?))
    }

    /// The number, 200 to 599.
    pub fn number(self) -> u16 {
        self.0
    }

    /// Whether it is 2yz or 3yz.
    pub(crate) fn is_positive(self) -> bool {
        matches!(self.class(), Class::Completed | Class::Intermediate)
    }

    /// What the first digit says.
    pub fn class(self) -> Class {
        match self.0 {
            ..300 => Class::Completed,
            300..400 => Class::Intermediate,
            400..500 => Class::Transient,
            500.. => Class::Permanent,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03}", self.0)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The four meanings of a reply code's first digit (RFC 5321 §4.2.1). The set is closed: SMTP has
/// no 1yz replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// 2yz: done.
    Completed,
    /// 3yz: go on.
    Intermediate,
    /// 4yz: refused for now.
    Transient,
    /// 5yz: refused.
    Permanent,
}

/// An enhanced status code, `class.subject.detail` (RFC 3463).
///
/// Codes that no registry lists yet are kept as they are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnhancedCode {
    class: u8,
    subject: u16,
    detail: u16,
}

impl EnhancedCode {
    /// The code of these three numbers; `None` unless the class is 2, 4 or 5 and the other two have
    /// at most three digits.
    pub fn new(class: u8, subject: u16, detail: u16) -> Option<Self> {
        let valid = matches!(class, 2 | 4 | 5) && subject < 1000 && detail < 1000;
        valid.then_some(Self {
            class,
            subject,
            detail,
        })
    }

    /// 2 success, 4 persistent transient failure, 5 permanent failure.
    pub fn class(self) -> u8 {
        self.class
    }

    /// Where the fault lies: 1 addressing, 2 mailbox, 3 mail system, 4 network, 5 protocol,
    /// 6 content, 7 security.
    pub fn subject(self) -> u16 {
        self.subject
    }

    /// The precise condition within the subject.
    pub fn detail(self) -> u16 {
        self.detail
    }
}

impl fmt::Display for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

impl fmt::Debug for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The complete lines of a reply's octets, without their ends.
pub(crate) fn whole_lines(octets: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = octets;
    std::iter::from_fn(move || {
        let end = memchr(b'\n', rest)?;
        let line = &rest[..end];
        rest = &rest[end + 1..];
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    })
}

/// The line behind a leading `class.subject.detail`, if it has one.
fn strip_enhanced(line: &[u8]) -> &[u8] {
    match super::grammar::enhanced_code(line) {
        Some((_, rest)) => rest.trim_ascii_start(),
        None => line,
    }
}

/// Appends text that is safe to show: no control characters, valid UTF-8.
pub(crate) fn push_printable(text: &mut String, bytes: &[u8]) {
    let decoded = String::from_utf8_lossy(bytes);
    text.extend(
        decoded
            .chars()
            .map(|c| if c.is_control() { '\u{fffd}' } else { c }),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(raw: &'static str) -> Reply {
        let code = raw[..3].parse().ok().and_then(Code::new).unwrap();
        Reply::new(code, Statuses::Read, raw.as_bytes())
    }

    #[test]
    fn a_reply_is_shown_in_one_line_with_its_status_once() {
        for (raw, shown) in [
            ("250 ok\r\n", "250 ok"),
            ("250\r\n", "250"),
            ("250-2.1.0 a\r\n250 2.1.0 b\r\n", "250 2.1.0 a b"),
            ("250-2.1.0 a\r\n250 b\r\n", "250 2.1.0 a b"),
            ("550 5.1.1\r\n", "550 5.1.1"),
            ("250-\r\n250 a\u{7}\r\n", "250 a\u{fffd}"),
        ] {
            assert_eq!(reply(raw).to_string(), shown);
            assert_eq!(format!("{:?}", reply(raw)), format!("Reply({shown})"));
        }
    }

    #[test]
    fn the_first_digit_says_whether_a_command_was_taken() {
        for (raw, class, positive) in [
            ("200 x\r\n", Class::Completed, true),
            ("299 x\r\n", Class::Completed, true),
            ("300 x\r\n", Class::Intermediate, true),
            ("399 x\r\n", Class::Intermediate, true),
            ("400 x\r\n", Class::Transient, false),
            ("499 x\r\n", Class::Transient, false),
            ("500 x\r\n", Class::Permanent, false),
            ("599 x\r\n", Class::Permanent, false),
        ] {
            assert_eq!(reply(raw).code().class(), class, "{raw}");
            assert_eq!(reply(raw).is_positive(), positive, "{raw}");
        }
        assert_eq!((Code::new(199), Code::new(600)), (None, None));
        assert_eq!(format!("{:?}", reply("250 ok\r\n").code()), "250");
    }

    #[test]
    fn an_enhanced_code_has_a_class_of_three_and_numbers_of_three_digits() {
        let code = EnhancedCode::new(5, 1, 999).unwrap();
        assert_eq!((code.class(), code.subject(), code.detail()), (5, 1, 999));
        assert_eq!(format!("{code:?}"), "5.1.999");
        for (class, subject, detail) in [(3, 1, 1), (5, 1000, 1), (5, 1, 1000)] {
            assert_eq!(EnhancedCode::new(class, subject, detail), None);
        }
    }
}
