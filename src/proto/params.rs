//! Parameters of MAIL and RCPT (RFC 5321 §4.1.2), by keyword and value: what no field has a name
//! for yet can be sent all the same.

use std::fmt;

use super::dsn::{EnvelopeId, Notify, OriginalRecipient, Return};
use super::grammar;
use super::schedule::{DeliverBy, Hold, Priority};

/// Parameters of one command, each keyword at most once, in the order they were added.
///
/// The engine writes `SIZE`, `BODY` and `SMTPUTF8` itself: they are refused here. The parameters of
/// DSN, REQUIRETLS, DELIVERBY, FUTURERELEASE and MT-PRIORITY have methods of
/// [`Envelope`](crate::Envelope) and [`Recipient`](crate::Recipient); given by keyword, their values
/// are checked all the same.
///
/// ```
/// use ehlo::{Params, Weight};
///
/// let params = Params::new()
///     .with("XTRACE", Some("3"))?
///     .with_weight("XTRACE", Weight::Wish);
/// assert!(params.clone().with("XNOTE", Some("1 2")).is_err());
/// assert!(params.with("NOTIFY", Some("SOMETIMES")).is_err());
/// # Ok::<(), ehlo::ParamError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params(Vec<Param>);

impl Params {
    /// No parameters.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// These and one more.
    ///
    /// A server that does not offer it does not get the message, unless [`Self::with_weight`] says
    /// that the parameter is no more than a wish.
    ///
    /// # Errors
    /// A keyword or value outside the grammar, a keyword that is there already, or one that the
    /// engine writes itself; a value that is wrong by the parameter's own RFC.
    pub fn with(mut self, keyword: &str, value: Option<&str>) -> Result<Self, ParamError> {
        let param = Param::new(keyword, value)?;
        if self.get(keyword).is_some() {
            return Err(ParamError::new(keyword, "it is there twice"));
        }
        let holds = HOLDS.iter().any(|hold| hold.eq_ignore_ascii_case(keyword));
        if holds && HOLDS.iter().any(|hold| self.get(hold).is_some()) {
            let problem = "a message is held by HOLDFOR or by HOLDUNTIL, not by both";
            return Err(ParamError::new(keyword, problem));
        }
        self.0.push(param);
        Ok(self)
    }

    /// These, where the parameter of this keyword weighs so much. Without one, nothing changes.
    #[must_use]
    pub fn with_weight(mut self, keyword: &str, weight: Weight) -> Self {
        let found = self
            .0
            .iter_mut()
            .find(|param| param.keyword.eq_ignore_ascii_case(keyword));
        if let Some(param) = found {
            param.weight = weight;
        }
        self
    }

    /// Sets a parameter whose value has a type, and so is right; one of this keyword is replaced.
    pub(crate) fn set(&mut self, keyword: &str, value: Option<String>, weight: Weight) {
        self.0
            .retain(|param| !param.keyword.eq_ignore_ascii_case(keyword));
        self.0.push(Param {
            keyword: keyword.into(),
            value: value.map(String::into_boxed_str),
            weight,
        });
    }

    /// Takes out the parameter of this keyword.
    pub(crate) fn remove(&mut self, keyword: &str) -> Option<Param> {
        let place = self.0.iter().position(|param| param.is(keyword))?;
        Some(self.0.remove(place))
    }

    /// The parameter of this keyword, in any case.
    pub fn get(&self, keyword: &str) -> Option<&Param> {
        self.0
            .iter()
            .find(|param| param.keyword.eq_ignore_ascii_case(keyword))
    }

    /// The parameters, in the order they are sent.
    pub fn iter(&self) -> impl Iterator<Item = &Param> {
        self.0.iter()
    }

    /// Whether no value needs SMTPUTF8.
    pub(crate) fn is_ascii(&self) -> bool {
        self.iter()
            .filter_map(Param::value)
            .all(|value| value.is_ascii())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// One parameter: `esmtp-keyword ["=" esmtp-value]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    keyword: Box<str>,
    value: Option<Box<str>>,
    weight: Weight,
}

/// What a parameter means to the caller. Closed: it is dispensable or it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Weight {
    /// Where the server does not offer its extension, the message goes without it, and
    /// [`Notice::LeftOut`](crate::proto::Notice::LeftOut) says so.
    Wish,
    /// Where the server does not offer its extension, the message is not sent.
    Need,
}

impl Param {
    fn new(keyword: &str, value: Option<&str>) -> Result<Self, ParamError> {
        if !grammar::is_keyword(keyword.as_bytes()) {
            return Err(ParamError::new(
                keyword,
                "a keyword is letters, digits and hyphens",
            ));
        }
        if OWN.iter().any(|own| own.eq_ignore_ascii_case(keyword)) {
            return Err(ParamError::new(keyword, "the engine writes it itself"));
        }
        let sendable = |value: &str| {
            grammar::is_param_value(value.as_bytes()) && !value.contains(char::is_control)
        };
        if value.is_some_and(|value| !sendable(value)) {
            return Err(ParamError::new(
                keyword,
                "its value is empty, or has a space, '=' or a control character",
            ));
        }
        if let Some(problem) = problem_of_known(keyword, value) {
            return Err(ParamError::new(keyword, problem));
        }
        Ok(Self {
            keyword: keyword.into(),
            value: value.map(Into::into),
            weight: Weight::Need,
        })
    }

    /// The keyword, as it was given.
    pub fn keyword(&self) -> &str {
        &self.keyword
    }

    /// The value, if there is one.
    pub fn value(&self) -> Option<&str> {
        self.value.as_deref()
    }

    /// What it means to the caller.
    pub fn weight(&self) -> Weight {
        self.weight
    }

    /// Whether it has this keyword, in any case.
    pub(crate) fn is(&self, keyword: &str) -> bool {
        self.keyword.eq_ignore_ascii_case(keyword)
    }

    /// The command that it belongs to, where its RFC is known here.
    pub(crate) fn command(&self) -> Option<Command> {
        let known = COMMANDS.iter().find(|(keyword, _)| self.is(keyword));
        known.map(|(_, command)| *command)
    }

    /// The EHLO keyword whose extension defines this parameter; for one that is not known here, the
    /// parameter's own.
    pub fn extension(&self) -> &str {
        let known = EXTENSIONS
            .iter()
            .find(|(param, _)| param.eq_ignore_ascii_case(&self.keyword));
        known.map_or(&self.keyword, |(_, extension)| extension)
    }
}

/// A parameter that cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamError {
    keyword: String,
    problem: &'static str,
}

impl ParamError {
    pub(crate) fn new(keyword: &str, problem: &'static str) -> Self {
        Self {
            keyword: keyword.chars().take(80).collect(),
            problem,
        }
    }
}

impl fmt::Display for ParamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the parameter {:?} cannot be sent: {}",
            self.keyword, self.problem
        )
    }
}

impl std::error::Error for ParamError {}

/// What is wrong with the value of a parameter whose RFC is known here.
fn problem_of_known(keyword: &str, value: Option<&str>) -> Option<&'static str> {
    let is = |known: &str| keyword.eq_ignore_ascii_case(known);
    let text = value.unwrap_or_default();
    if is("NOTIFY") {
        text.parse::<Notify>()
            .err()
            .map(|_| "it is NEVER, or some of SUCCESS, FAILURE and DELAY (RFC 3461 §4.1)")
    } else if is("RET") {
        text.parse::<Return>()
            .err()
            .map(|_| "it is FULL or HDRS (RFC 3461 §4.3)")
    } else if is("ENVID") {
        (!EnvelopeId::is_encoded(text))
            .then_some("it is xtext of at most 100 octets (RFC 3461 §4.4)")
    } else if is("ORCPT") {
        (!OriginalRecipient::is_encoded(text))
            .then_some("it is a type, ';' and xtext, of at most 500 octets (RFC 3461 §4.2)")
    } else if is("REQUIRETLS") {
        value.map(|_| "it takes no value (RFC 8689 §2)")
    } else if is("BY") {
        text.parse::<DeliverBy>().err().map(
            |_| "it is seconds of at most nine digits, ';', R or N, and perhaps T (RFC 2852 §4)",
        )
    } else if is("HOLDFOR") {
        Hold::seconds(text)
            .is_none()
            .then_some("it is seconds above 0, of one to nine digits (RFC 4865 §5)")
    } else if is("HOLDUNTIL") {
        Hold::until(text)
            .is_err()
            .then_some("it is a time as 2030-01-31T09:00:00Z (RFC 4865 §5)")
    } else if is("MT-PRIORITY") {
        text.parse::<Priority>()
            .err()
            .map(|_| "it is a number from -9 to 9 (RFC 6710 §4)")
    } else {
        None
    }
}

/// The commands that have parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Mail,
    Rcpt,
}

/// Where each parameter belongs.
const COMMANDS: [(&str, Command); 13] = [
    ("RET", Command::Mail),
    ("ENVID", Command::Mail),
    ("NOTIFY", Command::Rcpt),
    ("ORCPT", Command::Rcpt),
    ("BY", Command::Mail),
    ("HOLDFOR", Command::Mail),
    ("HOLDUNTIL", Command::Mail),
    ("MT-PRIORITY", Command::Mail),
    ("REQUIRETLS", Command::Mail),
    ("SOLICIT", Command::Mail),
    ("MTRK", Command::Mail),
    ("RRVS", Command::Rcpt),
    ("AUTH", Command::Mail),
];

/// Of which a message has one at most.
const HOLDS: [&str; 2] = ["HOLDFOR", "HOLDUNTIL"];

/// What the engine decides from the body and the session.
const OWN: [&str; 3] = ["SIZE", "BODY", "SMTPUTF8"];

/// Parameters whose extension goes by another keyword.
const EXTENSIONS: [(&str, &str); 9] = [
    ("RET", "DSN"),
    ("ENVID", "DSN"),
    ("NOTIFY", "DSN"),
    ("ORCPT", "DSN"),
    ("BY", "DELIVERBY"),
    ("HOLDFOR", "FUTURERELEASE"),
    ("HOLDUNTIL", "FUTURERELEASE"),
    ("SOLICIT", "NO-SOLICITING"),
    ("TRANSID", "CHECKPOINT"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_that_cannot_be_sent_says_why() {
        let held = Params::new().with("HOLDFOR", Some("60")).unwrap();
        for (keyword, value, problem) in [
            ("holdfor", Some("61"), "it is there twice"),
            ("HoldUntil", Some("2030-01-31T09:00:00Z"), "not by both"),
            ("Size", Some("1"), "the engine writes it itself"),
            ("X_A", None, "a keyword is letters, digits and hyphens"),
            ("X-A", Some(""), "its value is empty"),
            ("X-A", Some("a b"), "has a space"),
            ("X-A", Some("\u{85}"), "a control character"),
            ("RET", Some("ALL"), "it is FULL or HDRS"),
            ("NOTIFY", Some("NEVER,DELAY"), "it is NEVER, or some of"),
            ("ENVID", Some("a+b"), "it is xtext"),
            ("ORCPT", Some("a@x.org"), "it is a type, ';' and xtext"),
            ("REQUIRETLS", Some("1"), "it takes no value"),
            ("BY", Some("0;R"), "it is seconds of at most nine digits"),
            ("MT-PRIORITY", Some("10"), "it is a number from -9 to 9"),
        ] {
            let error = held.clone().with(keyword, value).unwrap_err().to_string();
            let named = format!("the parameter {keyword:?} cannot be sent: ");
            assert!(
                error.starts_with(&named) && error.contains(problem),
                "{error}"
            );
        }
        // The other way round alike, and by itself each is right.
        let until = || Params::new().with("HOLDUNTIL", Some("2030-01-31T09:00:00Z"));
        assert!(until().unwrap().with("HOLDFOR", Some("60")).is_err());
        assert!(until().unwrap().with("RET", Some("FULL")).is_ok());
        let long = Params::new().with(&"x y".repeat(100), None).unwrap_err();
        assert!(
            long.to_string().len() < 200,
            "an error does not repeat it all"
        );
    }

    #[test]
    fn parameters_are_found_changed_and_taken_out_in_any_case() {
        let mut params = Params::new().with("XA", Some("1")).unwrap();
        params.set("ENVID", Some("a".to_owned()), Weight::Wish);
        params.set("xa", Some("ü".to_owned()), Weight::Need);
        assert!(!params.is_ascii() && !params.is_empty());
        let params = params.with_weight("Xa", Weight::Wish);
        let written: Vec<_> = params.iter().map(|p| (p.keyword(), p.value())).collect();
        assert_eq!(written, [("ENVID", Some("a")), ("xa", Some("ü"))]);
        assert_eq!(params.get("XA").map(Param::weight), Some(Weight::Wish));
        let mut params = params;
        assert_eq!(params.remove("XB"), None);
        assert!(params.remove("XA").is_some_and(|param| param.is("xA")));
        assert!(params.is_ascii() && params.get("XA").is_none());
    }

    #[test]
    fn a_parameter_knows_its_command_and_its_extension() {
        for (keyword, value, command, extension) in [
            ("ret", "FULL", Some(Command::Mail), "DSN"),
            ("NOTIFY", "NEVER", Some(Command::Rcpt), "DSN"),
            ("HOLDFOR", "1", Some(Command::Mail), "FUTURERELEASE"),
            ("TRANSID", "1", None, "CHECKPOINT"),
            ("X-Own", "1", None, "X-Own"),
        ] {
            let params = Params::new().with(keyword, Some(value)).unwrap();
            let param = params.get(keyword).unwrap();
            assert_eq!((param.command(), param.extension()), (command, extension));
        }
    }
}
