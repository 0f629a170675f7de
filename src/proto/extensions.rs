//! What a server offers, by its EHLO reply (RFC 5321 §4.1.1.1): typed where the engine uses it,
//! and as it came for everything else.

use super::grammar;
use super::limits::ServerLimits;
use super::reply::Reply;
use super::sasl::MechanismName;
use super::schedule::is_utc_time;

/// The offers of the last EHLO reply. Nothing is lost: unknown keywords, their parameters, order and
/// repeats are kept.
///
/// What becomes of each keyword that the RFCs, or long custom, have brought; *by keyword* means that
/// its parameters can be given as [`Params`](crate::Params), and are sent where it is on offer. In
/// November 2026 the list was compared with the table of RFC 6409 §7, with what could be read of
/// IANA's registry of SMTP service extensions, and with the lists that other programs keep of it, up
/// to RFC 9422; not with the whole registry of today. A keyword that is missing here is treated like
/// those of which nothing is done.
///
/// | keyword | RFC | what the engine does with it |
/// | --- | --- | --- |
/// | `8BITMIME` | 6152 | `BODY=8BITMIME` for 8-bit messages; without it they are not sent |
/// | `ATRN`, `ETRN`, `TURN` | 2645, 1985, 821 | nothing: they are for those who receive mail |
/// | `AUTH` | 4954 | logs in, by the mechanisms of the configuration |
/// | `BINARYMIME` | 3030 | `BODY=BINARYMIME` for binary messages, with `CHUNKING` |
/// | `BURL` | 4468 | nothing: messages are sent, not referred to (submission only) |
/// | `CHECKPOINT` | 1845 | `TRANSID` by keyword; nothing is resumed |
/// | `CHUNKING` | 3030 | messages go by BDAT, if [`Chunking`](crate::proto::Chunking) allows it |
/// | `CONNEG`, `CONPERM` | 4141 | `CONNEG` and `CONPERM` by keyword |
/// | `DELIVERBY` | 2852 | [`Envelope::with_deliver_by`](crate::Envelope::with_deliver_by), held against the least time |
/// | `DSN` | 3461 | [`Recipient::with_notify`](crate::Recipient::with_notify), [`Recipient::with_original`](crate::Recipient::with_original), [`Envelope::with_return`](crate::Envelope::with_return), [`Envelope::with_envelope_id`](crate::Envelope::with_envelope_id) |
/// | `ENHANCEDSTATUSCODES` | 2034 | nothing: status codes are read in any case |
/// | `EXPN`, `HELP`, `VRFY` | 5321 | nothing: a probe asks by RCPT |
/// | `FUTURERELEASE` | 4865 | [`Envelope::with_hold`](crate::Envelope::with_hold), held against the limits (submission only) |
/// | `LIMITS` | 9422 | obeyed; the driver spreads recipients over transactions, and [`Envelope::rest`](crate::Envelope::rest) says who needs another session |
/// | `MT-PRIORITY` | 6710 | [`Envelope::with_priority`](crate::Envelope::with_priority); a change is told by a [`Notice`](crate::proto::Notice) |
/// | `MTRK` | 3885 | `MTRK` by keyword |
/// | `NO-SOLICITING` | 3865 | `SOLICIT` by keyword |
/// | `ONEX`, `VERB` | none | nothing |
/// | `PIPELINING` | 2920 | commands go in groups, if [`Pipelining`](crate::proto::Pipelining) allows it |
/// | `REQUIRETLS` | 8689 | [`Envelope::with_require_tls`](crate::Envelope::with_require_tls), inside verified TLS alone |
/// | `RRVS` | 7293 | `RRVS` by keyword |
/// | `SAML`, `SEND`, `SOML` | 821 | nothing: they are obsolete |
/// | `SIZE` | 1870 | `SIZE=` on MAIL; what is larger than the limit is not sent |
/// | `SMTPUTF8` | 6531 | where something needs it, or as [`SmtpUtf8`](crate::proto::SmtpUtf8) says |
/// | `STARTTLS` | 3207 | started, as [`Security`](crate::Security) says |
/// | `SUBMITTER` | 4405 | `SUBMITTER` by keyword |
/// | `UTF8SMTP` | 5336 | nothing: `SMTPUTF8` has replaced it |
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    reply: Option<Reply>,
    limits: ServerLimits,
    /// Which of [`ASKED`] are on offer, a bit for each.
    known: u16,
}

impl Extensions {
    /// The offers of an EHLO reply: its first line names the server, and offers nothing.
    pub(crate) fn new(reply: Reply) -> Self {
        let mut extensions = Self {
            reply: Some(reply),
            limits: ServerLimits::default(),
            known: 0,
        };
        let known = extensions
            .offered()
            .filter_map(|(_, keyword, _)| bit(keyword));
        extensions.known = known.fold(0, |known, bit| known | bit);
        // Asked for each message.
        extensions.limits = ServerLimits::of(&extensions);
        extensions
    }

    /// The reply that they were read from; `None` where there was none, as after HELO.
    pub fn reply(&self) -> Option<&Reply> {
        self.reply.as_ref()
    }

    /// Whether this keyword is offered, in any case.
    pub fn offers(&self, keyword: &str) -> bool {
        match bit(keyword.as_bytes()) {
            Some(bit) => self.known & bit != 0,
            None => self.with_keyword(keyword).next().is_some(),
        }
    }

    /// What follows this keyword on its line, trimmed; of its first line if it is repeated.
    pub fn parameters(&self, keyword: &str) -> Option<&[u8]> {
        match bit(keyword.as_bytes()) {
            Some(bit) if self.known & bit == 0 => None,
            Some(_) | None => self.with_keyword(keyword).next(),
        }
    }

    /// Every offered line: keyword and parameters, as sent. Lines that are blank or do not begin
    /// with a keyword are left out.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.offered().map(|(line, _, _)| line)
    }

    /// The largest message in octets (RFC 1870 §3); `None` where none is stated, it is 0, or it is
    /// not a number of at most 20 digits.
    pub fn size(&self) -> Option<u64> {
        let digits = self.parameters("SIZE")?;
        let valid = digits.len() <= 20 && digits.iter().all(u8::is_ascii_digit);
        let size = str::from_utf8(digits)
            .ok()
            .filter(|_| valid)?
            .parse()
            .ok()?;
        (size > 0).then_some(size)
    }

    /// The SASL mechanisms (RFC 4954 §3), those of the legacy `AUTH=` line included.
    pub fn auth_mechanisms(&self) -> impl Iterator<Item = MechanismName> {
        self.with_keyword("AUTH")
            .flat_map(|names| names.split(|&b| b == b' ' || b == b'\t' || b == b'='))
            .filter_map(|name| str::from_utf8(name).ok()?.parse().ok())
    }

    /// The limits that the server states (RFC 9422).
    pub fn limits(&self) -> ServerLimits {
        self.limits
    }

    /// The least time of delivery in seconds with which a message may be marked to be returned
    /// (RFC 2852 §4); `None` where none is stated.
    pub fn least_deliver_by(&self) -> Option<u32> {
        number(self.parameters("DELIVERBY")?)
    }

    /// The longest time in seconds for which the server holds a message (RFC 4865 §4); `None` where
    /// none is stated.
    pub fn longest_hold(&self) -> Option<u32> {
        number(self.future_release()?.next()?)
    }

    /// The latest time until which the server holds a message, as `2030-01-31T09:00:00Z`
    /// (RFC 4865 §4); `None` where none is stated.
    pub fn latest_hold(&self) -> Option<&str> {
        let time = str::from_utf8(self.future_release()?.nth(1)?).ok()?;
        is_utc_time(time).then_some(time)
    }

    fn future_release(&self) -> Option<impl Iterator<Item = &[u8]>> {
        let words = self.parameters("FUTURERELEASE")?;
        Some(words.split(|&b| b == b' ').filter(|word| !word.is_empty()))
    }

    fn with_keyword(&self, keyword: &str) -> impl Iterator<Item = &[u8]> {
        self.offers_of(move |line| {
            let beginning = line.get(..keyword.len());
            beginning.is_some_and(|own| own.eq_ignore_ascii_case(keyword.as_bytes()))
        })
        .filter(move |(_, offered, _)| offered.len() == keyword.len())
        .map(|(_, _, parameters)| parameters)
    }

    /// Line, keyword, parameters.
    fn offered(&self) -> impl Iterator<Item = (&[u8], &[u8], &[u8])> {
        self.offers_of(|_| true)
    }

    /// As [`Self::offered`], of the lines that are worth a closer look: a session asks for many
    /// keywords.
    fn offers_of(
        &self,
        worthwhile: impl Fn(&[u8]) -> bool,
    ) -> impl Iterator<Item = (&[u8], &[u8], &[u8])> {
        self.reply
            .iter()
            .flat_map(|reply| reply.lines().skip(1))
            .map(<[u8]>::trim_ascii)
            .filter(move |line| worthwhile(line))
            .filter_map(|line| {
                let (rest, keyword) = grammar::keyword(line).ok()?;
                // `AUTH=PLAIN` is how old servers wrote it; elsewhere a keyword ends at a space.
                let ends = match rest {
                    [] | [b' ' | b'\t', ..] => true,
                    [b'=', ..] => keyword.eq_ignore_ascii_case(b"AUTH"),
                    [..] => false,
                };
                ends.then(|| {
                    (
                        line,
                        keyword,
                        rest.strip_prefix(b"=").unwrap_or(rest).trim_ascii(),
                    )
                })
            })
    }
}

/// The bit of a keyword of [`ASKED`].
fn bit(keyword: &[u8]) -> Option<u16> {
    let same = |asked: &&str| keyword.eq_ignore_ascii_case(asked.as_bytes());
    ASKED.iter().position(same).map(|at| 1 << at)
}

/// A number of one to nine digits.
fn number(digits: &[u8]) -> Option<u32> {
    let valid = digits.len() <= 9 && digits.iter().all(u8::is_ascii_digit);
    str::from_utf8(digits).ok().filter(|_| valid)?.parse().ok()
}

/// Keywords that every session is asked for: whether they are on offer is noted once.
const ASKED: [&str; 9] = [
    "8BITMIME",
    "AUTH",
    "BINARYMIME",
    "CHUNKING",
    "LIMITS",
    "PIPELINING",
    "SIZE",
    "SMTPUTF8",
    "STARTTLS",
];

#[cfg(test)]
mod tests {
    use super::super::config::Limits;
    use super::super::framing::Framing;
    use super::super::reply::Statuses;
    use super::*;

    fn extensions(reply: &[u8]) -> Extensions {
        let mut framing = Framing::new(Limits::default());
        framing.push(reply);
        let code = framing.next(Statuses::Ignore).unwrap().unwrap();
        Extensions::new(framing.reply(code))
    }

    #[test]
    fn keywords_are_found_in_any_case_and_unknown_ones_kept() {
        let offers = extensions(
            b"250-SIZE.example SIZE 5\r\n250-size 1000\r\n250- \r\n250-\r\n250-XFOO a  b\r\n\
              250-auth plain LOGIN\r\n250-AUTH=LOGIN CRAM-MD5\r\n250 PIPELINING\r\n",
        );
        assert_eq!(offers.size(), Some(1000));
        assert!(offers.offers("Pipelining") && !offers.offers("STARTTLS"));
        assert_eq!(offers.parameters("xfoo"), Some(b"a  b".as_slice()));
        let names: Vec<_> = offers
            .auth_mechanisms()
            .map(|name| name.to_string())
            .collect();
        assert_eq!(names, ["PLAIN", "LOGIN", "LOGIN", "CRAM-MD5"]);
        assert_eq!(offers.lines().count(), 5);
    }

    #[test]
    fn keywords_that_are_asked_for_are_found_one_by_one_as_others_are() {
        for asked in ASKED.iter().chain(&["DSN", "XFOO"]) {
            let lower = asked.to_ascii_lowercase();
            let offers =
                extensions(format!("250-SIZE\r\n250-{lower} 1\r\n250 XBAR\r\n").as_bytes());
            for other in ASKED.iter().chain(&["DSN", "XFOO"]) {
                assert_eq!(offers.offers(other), other == asked, "{other} of {asked}");
                let parameters = (other == asked).then_some(b"1".as_slice());
                assert_eq!(offers.parameters(other), parameters, "{other} of {asked}");
            }
            assert!(offers.offers("xbar") && !offers.offers("250"));
        }
        assert!(!Extensions::default().offers("SIZE"));
    }

    #[test]
    fn a_bad_size_is_no_limit() {
        for size in [
            "SIZE",
            "SIZE 0",
            "SIZE -1",
            "SIZE x",
            "SIZE 999999999999999999999",
        ] {
            let offers = extensions(format!("250-a\r\n250 {size}\r\n").as_bytes());
            assert_eq!(offers.size(), None, "{size}");
            assert!(offers.offers("size"));
        }
    }

    #[test]
    fn a_time_that_is_no_number_of_nine_digits_is_not_stated() {
        let offers = |line: &str| extensions(format!("250-a\r\n250 {line}\r\n").as_bytes());
        for (text, seconds) in [
            ("0", Some(0)),
            ("999999999", Some(999_999_999)),
            ("1234567890", None),
            ("+5", None),
            ("-1", None),
            ("5s", None),
        ] {
            let least = offers(&format!("DELIVERBY {text}")).least_deliver_by();
            assert_eq!(least, seconds, "{text}");
            let hold = offers(&format!("FUTURERELEASE {text}  2030-01-31T09:00:00Z"));
            assert_eq!(hold.longest_hold(), seconds, "{text}");
            assert_eq!(hold.latest_hold(), Some("2030-01-31T09:00:00Z"));
        }
        let malformed = offers("FUTURERELEASE 1 2030-02-31T09:00:00Z");
        assert_eq!(malformed.latest_hold(), None);
        assert_eq!(offers("DELIVERBY").least_deliver_by(), None);
    }

    #[test]
    fn a_keyword_ends_at_a_space_and_auth_alone_at_an_equals_sign() {
        let offers = extensions(b"250-a\r\n250-SIZE=5\r\n250-CHUNKING,X\r\n250 AUTH=PLAIN\r\n");
        assert!(!offers.offers("SIZE") && !offers.offers("CHUNKING"));
        assert_eq!(offers.parameters("AUTH"), Some(b"PLAIN".as_slice()));
    }
}
