//! Parameters of MAIL and RCPT (RFC 5321 §4.1.2), by keyword and value: what no field has a name
//! for yet can be sent all the same.

use std::fmt;

use super::grammar;

/// Parameters of one command, each keyword at most once, in the order they were added.
///
/// The engine writes `SIZE`, `BODY` and `SMTPUTF8` itself: they are refused here.
///
/// ```
/// use ehlo::Params;
///
/// let params = Params::new().with("MT-PRIORITY", Some("3"))?;
/// assert!(params.with("BY", Some("1 2")).is_err());
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
    /// # Errors
    /// A keyword or value outside the grammar, a keyword that is there already, or one that the
    /// engine writes itself.
    pub fn with(mut self, keyword: &str, value: Option<&str>) -> Result<Self, ParamError> {
        let param = Param::new(keyword, value)?;
        if self.get(keyword).is_some() {
            return Err(ParamError::new(keyword, "it is there twice"));
        }
        self.0.push(param);
        Ok(self)
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
        Ok(Self {
            keyword: keyword.into(),
            value: value.map(Into::into),
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
    fn new(keyword: &str, problem: &'static str) -> Self {
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

/// What the engine decides from the body and the session.
const OWN: [&str; 3] = ["SIZE", "BODY", "SMTPUTF8"];

/// Parameters whose extension goes by another keyword.
const EXTENSIONS: [(&str, &str); 7] = [
    ("RET", "DSN"),
    ("ENVID", "DSN"),
    ("NOTIFY", "DSN"),
    ("ORCPT", "DSN"),
    ("BY", "DELIVERBY"),
    ("HOLDFOR", "FUTURERELEASE"),
    ("HOLDUNTIL", "FUTURERELEASE"),
];
