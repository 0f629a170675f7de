//! When a message is delivered: not after (RFC 2852), not before (RFC 4865), or before others
//! (RFC 6710).

use std::fmt;
use std::str::FromStr;

use super::params::ParamError;

/// The time that a message has for its delivery: the `BY` parameter of MAIL (RFC 2852 §4).
///
/// ```
/// use ehlo::{DeliverBy, Late};
///
/// assert_eq!(DeliverBy::new(120, Late::Return)?.to_string(), "120;R");
/// assert_eq!(DeliverBy::new(-30, Late::Notify)?.traced().to_string(), "-30;NT");
/// assert!(DeliverBy::new(0, Late::Return).is_err());
/// # Ok::<(), ehlo::ParamError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeliverBy {
    seconds: i32,
    late: Late,
    trace: Trace,
}

/// What becomes of a message that is late. The set is closed by RFC 2852 §4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Late {
    /// It is returned. The server must offer DELIVERBY, and the time be one that it can keep.
    Return,
    /// It is still delivered, and the sender told.
    Notify,
}

/// Whether each server on the way reports that it passed the message on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Trace {
    No,
    Yes,
}

impl DeliverBy {
    /// Within so many seconds. With [`Late::Notify`] they may be 0 or less: it is late already.
    ///
    /// # Errors
    /// More than nine digits; 0 or less with [`Late::Return`].
    pub fn new(seconds: i32, late: Late) -> Result<Self, ParamError> {
        let problem = match (seconds, late) {
            (-999_999_999..=0, Late::Return) => "a message cannot be returned before it is late",
            (-999_999_999..=999_999_999, _) => {
                return Ok(Self {
                    seconds,
                    late,
                    trace: Trace::No,
                });
            }
            (_, _) => "its seconds have more than nine digits",
        };
        Err(ParamError::new("BY", problem))
    }

    /// With a report from each server that passes the message on.
    #[must_use]
    pub fn traced(self) -> Self {
        Self {
            trace: Trace::Yes,
            ..self
        }
    }

    /// The seconds.
    pub fn seconds(self) -> i32 {
        self.seconds
    }

    /// What becomes of the message when it is late.
    pub fn late(self) -> Late {
        self.late
    }
}

impl FromStr for DeliverBy {
    type Err = ParamError;

    /// The value of the parameter.
    ///
    /// ```abnf
    /// by-value = by-time ";" by-mode [ "T" ]            ; RFC 2852 §4
    /// by-time  = ["-" / "+"] 1*9DIGIT
    /// by-mode  = "N" / "R"
    /// ```
    fn from_str(text: &str) -> Result<Self, ParamError> {
        let wrong = || ParamError::new("BY", "it is seconds, ';', R or N, and perhaps T");
        let (seconds, mode) = text.split_once(';').ok_or_else(wrong)?;
        let digits = seconds.strip_prefix(['-', '+']).unwrap_or(seconds);
        if !is_digits(digits) || digits.len() > 9 {
            return Err(wrong());
        }
        let seconds = seconds.parse().map_err(|_| wrong())?;
        match mode.to_ascii_uppercase().as_str() {
            "R" => Self::new(seconds, Late::Return),
            "RT" => Self::new(seconds, Late::Return).map(Self::traced),
            "N" => Self::new(seconds, Late::Notify),
            "NT" => Self::new(seconds, Late::Notify).map(Self::traced),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for DeliverBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let late = match self.late {
            Late::Return => "R",
            Late::Notify => "N",
        };
        let trace = match self.trace {
            Trace::No => "",
            Trace::Yes => "T",
        };
        write!(f, "{};{late}{trace}", self.seconds)
    }
}

/// How long the server keeps a message before it is sent on: `HOLDFOR` or `HOLDUNTIL`, parameters of
/// MAIL (RFC 4865 §5). A server that cannot does not get the message.
///
/// RFC 4865 has this for submission alone: a server that lists FUTURERELEASE says that it is one for
/// submission, whatever its port, so that nothing more is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hold(Held);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Held {
    For(u32),
    Until(String),
}

impl Hold {
    /// For so many seconds.
    ///
    /// # Errors
    /// None, or more than nine digits.
    pub fn for_seconds(seconds: u32) -> Result<Self, ParamError> {
        match seconds {
            1..=999_999_999 => Ok(Self(Held::For(seconds))),
            _ => Err(ParamError::new(
                "HOLDFOR",
                "its seconds are 0, or have more than nine digits",
            )),
        }
    }

    /// Until this time: `2030-01-31T09:00:00Z` (RFC 3339, in UTC).
    ///
    /// # Errors
    /// Another form, or no date of a calendar.
    pub fn until(time: &str) -> Result<Self, ParamError> {
        match is_utc_time(time) {
            true => Ok(Self(Held::Until(time.to_owned()))),
            false => Err(ParamError::new(
                "HOLDUNTIL",
                "it is a time as 2030-01-31T09:00:00Z",
            )),
        }
    }

    /// Keyword and value of the parameter.
    pub(crate) fn into_param(self) -> (&'static str, String) {
        match self.0 {
            Held::For(seconds) => ("HOLDFOR", seconds.to_string()),
            Held::Until(time) => ("HOLDUNTIL", time),
        }
    }

    /// The seconds of a HOLDFOR.
    ///
    /// ```abnf
    /// future-release-integer = %x31-39 *8DIGIT          ; RFC 4865 §4
    /// ```
    pub(crate) fn seconds(text: &str) -> Option<u32> {
        let valid = is_digits(text) && text.len() <= 9 && !text.starts_with('0');
        text.parse().ok().filter(|_| valid)
    }
}

/// How urgent a message is, from -9 to 9; 0 is as usual: the `MT-PRIORITY` parameter of MAIL
/// (RFC 6710 §4). A server that changes it says so, see
/// [`Notice::Priority`](crate::proto::Notice::Priority).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(i8);

impl Priority {
    /// This priority; `None` beyond -9 to 9.
    pub fn new(priority: i8) -> Option<Self> {
        (-9..=9).contains(&priority).then_some(Self(priority))
    }

    /// The number.
    pub fn number(self) -> i8 {
        self.0
    }
}

impl FromStr for Priority {
    type Err = ParamError;

    /// ```abnf
    /// priority-value = (["-"] NZDIGIT) / "0"            ; RFC 6710 §4
    /// ```
    fn from_str(text: &str) -> Result<Self, ParamError> {
        let valid = match text.strip_prefix('-').unwrap_or(text).as_bytes() {
            [b'0'] => text == "0",
            [b'1'..=b'9'] => true,
            _ => false,
        };
        match text.parse() {
            Ok(priority) if valid => Ok(Self(priority)),
            Ok(_) | Err(_) => Err(ParamError::new(
                "MT-PRIORITY",
                "it is a number from -9 to 9",
            )),
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Whether this is a time in UTC without fractions, so that two of them compare as text.
pub(crate) fn is_utc_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    let form = b"dddd-dd-ddTdd:dd:ddZ";
    let shaped = bytes.len() == form.len()
        && bytes.iter().zip(form).all(|(&byte, &form)| match form {
            b'd' => byte.is_ascii_digit(),
            other => byte == other,
        });
    if !shaped {
        return false;
    }
    let number = |from: usize, to: usize| {
        bytes[from..to]
            .iter()
            .fold(0, |number, digit| number * 10 + u16::from(digit - b'0'))
    };
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => return false,
    };
    // RFC 3339 §5.7: a leap second is a time too.
    (1..=days).contains(&day) && number(11, 13) < 24 && number(14, 16) < 60 && number(17, 19) <= 60
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_delivery_has_nine_digits_and_a_return_is_in_the_future() {
        for text in ["120;R", "999999999;RT", "0;N", "-999999999;NT"] {
            assert_eq!(text.parse::<DeliverBy>().unwrap().to_string(), text);
        }
        assert_eq!(
            "+5;r".parse::<DeliverBy>().unwrap().to_string(),
            "5;R".to_owned()
        );
        for text in [
            "",
            "1",
            "1;",
            "1;X",
            "0;R",
            "-1;R",
            "1000000000;N",
            "0000000001;N",
            ";N",
            "+-1;N",
            "1;TR",
        ] {
            assert!(text.parse::<DeliverBy>().is_err(), "{text:?}");
        }
        assert!(DeliverBy::new(i32::MIN, Late::Notify).is_err());
    }

    #[test]
    fn a_priority_has_one_digit_and_no_plus() {
        for text in ["-9", "-1", "0", "1", "9"] {
            assert_eq!(text.parse::<Priority>().unwrap().to_string(), text);
        }
        for text in ["", "-", "+1", "-0", "01", "10", "-10", "1.0", " 1"] {
            assert!(text.parse::<Priority>().is_err(), "{text:?}");
        }
        assert_eq!(Priority::new(10), None);
    }

    #[test]
    fn a_time_to_hold_until_is_in_utc_and_in_a_calendar() {
        for text in ["2030-01-31T09:00:00Z", "2028-02-29T23:59:60Z"] {
            assert!(Hold::until(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "2030-01-31",
            "2030-01-31T09:00:00",
            "2030-01-31T09:00:00+01:00",
            "2030-02-29T09:00:00Z",
            "2030-13-01T09:00:00Z",
            "2030-00-01T09:00:00Z",
            "2030-01-00T09:00:00Z",
            "2030-01-31T24:00:00Z",
            "2030-01-31T09:60:00Z",
            "2030-01-31T09:00:00.5Z",
        ] {
            assert!(Hold::until(text).is_err(), "{text:?}");
        }
        assert!(Hold::for_seconds(0).is_err() && Hold::for_seconds(1_000_000_000).is_err());
    }

    #[test]
    fn a_date_to_hold_until_has_the_days_of_its_month() {
        for (date, exists) in [
            ("2000-02-29", true),
            ("2100-02-29", false),
            ("2100-02-28", true),
            ("2026-02-29", false),
            ("2028-02-30", false),
            ("2030-04-30", true),
            ("2030-04-31", false),
            ("2030-11-31", false),
            ("2030-12-31", true),
            ("2030-12-32", false),
        ] {
            let time = format!("{date}T09:00:00Z");
            assert_eq!(Hold::until(&time).is_ok(), exists, "{time}");
        }
        for (time, exists) in [
            ("23:59:60", true),
            ("23:59:61", false),
            ("00:00:00", true),
            ("19:60:00", false),
        ] {
            let time = format!("2030-01-31T{time}Z");
            assert_eq!(Hold::until(&time).is_ok(), exists, "{time}");
        }
    }

    #[test]
    fn the_seconds_of_a_hold_are_nine_digits_and_nothing_else() {
        assert_eq!(Hold::seconds("1"), Some(1));
        assert_eq!(Hold::seconds("999999999"), Some(999_999_999));
        for text in ["", "0", "01", "+1", "1000000000", "1s"] {
            assert_eq!(Hold::seconds(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_was_given_can_be_read_again() {
        let by = DeliverBy::new(-30, Late::Notify).unwrap();
        assert_eq!((by.seconds(), by.late()), (-30, Late::Notify));
        assert_eq!(Priority::new(-9).map(Priority::number), Some(-9));
        assert_eq!(Priority::new(-10), None);
        assert_eq!(Priority::default().number(), 0);
    }
}
