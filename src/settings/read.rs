//! Settings from TOML, JSON and variables.

use std::ffi::OsString;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};

use super::Settings;
use super::remark::Field;

impl Settings {
    /// Reads a TOML document: a table of the fields.
    ///
    /// # Errors
    /// No TOML, a name that is no field, or a value that is no text, whole number or boolean; user name
    /// and password are text only. No error shows a value.
    pub fn from_toml(text: &str) -> Result<Self, ReadError> {
        toml::from_str(text).map_err(|error| {
            // Its `Display` shows the line, on which the password may be.
            let line = error.span().map(|span| line_of(text, span.start));
            ReadError::new(line, error.message())
        })
    }

    /// Reads a JSON document: an object of the fields.
    ///
    /// # Errors
    /// No JSON, a name that is no field, or a value that is no text, whole number, boolean or null; user
    /// name and password are text only. No error shows a value.
    pub fn from_json(text: &str) -> Result<Self, ReadError> {
        serde_json::from_str(text).map_err(|error| {
            let whole = error.to_string();
            let message = whole.rsplit_once(" at line ").map(|(message, _)| message);
            ReadError::new(Some(error.line()), message.unwrap_or(&whole))
        })
    }

    /// Reads this process's environment: `from_env("EHLO_SMTP_")` reads `EHLO_SMTP_HOST` and the other
    /// variables of the table in the [module](super). What is not set is empty.
    ///
    /// # Errors
    /// A variable that is not UTF-8.
    pub fn from_env(prefix: &str) -> Result<Self, ReadError> {
        Self::from_variables(prefix, std::env::vars_os())
    }

    /// Reads variables that come from elsewhere, as [`from_env`](Self::from_env) reads those of the
    /// environment. Others than those of the table are passed over.
    ///
    /// # Errors
    /// A variable that is not UTF-8.
    ///
    /// ```
    /// use ehlo::settings::Settings;
    ///
    /// let variables = [("APP_MAIL_HOST", "mail.example.org"), ("APP_MAIL_PORT", "587")];
    /// let settings = Settings::from_variables("APP_MAIL_", variables)?;
    /// assert_eq!((settings.host.as_str(), settings.port.as_str()), ("mail.example.org", "587"));
    /// # Ok::<(), ehlo::settings::ReadError>(())
    /// ```
    pub fn from_variables<N, V>(
        prefix: &str,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, ReadError>
    where
        N: Into<OsString>,
        V: Into<OsString>,
    {
        let mut settings = Self::default();
        for (name, value) in variables {
            let name = name.into();
            let field = name
                .to_str()
                .and_then(|name| name.strip_prefix(prefix))
                .and_then(variable);
            let Some(field) = field else { continue };
            match value.into().into_string() {
                Ok(text) => settings.set(field, text),
                Err(_) => {
                    let message = format!("the variable {} is not UTF-8", name.display());
                    return Err(ReadError::new(None, &message).of(field));
                }
            }
        }
        Ok(settings)
    }
}

/// The field of a variable's name without its prefix: exactly as the table has it.
fn variable(name: &str) -> Option<Field> {
    Field::ALL
        .into_iter()
        .find(|field| field.as_str().to_ascii_uppercase() == name)
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    before.iter().filter(|octet| **octet == b'\n').count() + 1
}

/// Settings that cannot be read. No value is in it: it may be the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError {
    line: Option<usize>,
    field: Option<Field>,
    message: String,
}

impl ReadError {
    pub(super) fn new(line: Option<usize>, message: &str) -> Self {
        Self {
            line: line.filter(|line| *line > 0),
            field: None,
            message: message.trim_end().to_owned(),
        }
    }

    pub(super) fn of(mut self, field: Field) -> Self {
        self.field = Some(field);
        self
    }

    /// The line of the document, from 1; `None` where there are no lines.
    pub fn line(&self) -> Option<usize> {
        self.line
    }

    /// The field that it is about, where it is about one.
    pub fn field(&self) -> Option<Field> {
        self.field
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if let Some(field) = self.field {
            write!(f, "{field}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for ReadError {}

impl<'de> Deserialize<'de> for Settings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Not `deserialize_map`, whose error may show what else there is.
        deserializer.deserialize_any(Table)
    }
}

struct Table;

impl<'de> Visitor<'de> for Table {
    type Value = Settings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of settings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Settings, A::Error> {
        let mut settings = Settings::default();
        let mut seen = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            let Some(field) = Field::named(&name) else {
                let fields = Field::ALL.map(Field::as_str).join(", ");
                return Err(A::Error::custom(format!(
                    "{name:?} is no field; there are {fields}"
                )));
            };
            if seen.contains(&field) {
                return Err(A::Error::custom(format!("{field} is given twice")));
            }
            seen.push(field);
            let text = map
                .next_value_seed(Value(field))
                .map_err(|error| A::Error::custom(format!("{field}: {error}")))?;
            settings.set(field, text);
        }
        Ok(settings)
    }

    // The default errors would show it, and it may be the password alone.
    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<Settings, E> {
        Err(E::custom("this is a text, and no table of settings"))
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<Settings, E> {
        Err(E::custom("this is a boolean, and no table of settings"))
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<Settings, E> {
        Err(number_alone())
    }

    fn visit_i128<E: serde::de::Error>(self, _: i128) -> Result<Settings, E> {
        Err(number_alone())
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<Settings, E> {
        Err(number_alone())
    }

    fn visit_u128<E: serde::de::Error>(self, _: u128) -> Result<Settings, E> {
        Err(number_alone())
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Settings, E> {
        Err(number_alone())
    }
}

fn number_alone<E: serde::de::Error>() -> E {
    E::custom("this is a number, and no table of settings")
}

/// The value of a field, as text.
///
/// A number is not kept as it was written: `0x1F`, `1.50` and 23 digits come out as others. So it will
/// do for a port, and user name and password are text. No error shows a value.
#[derive(Clone, Copy)]
struct Value(Field);

impl Value {
    fn plain<E: serde::de::Error>(self, value: impl fmt::Display) -> Result<String, E> {
        match self.0 {
            Field::Username | Field::Password => Err(in_quotes()),
            Field::SenderEmail
            | Field::FromName
            | Field::Host
            | Field::Port
            | Field::Encryption
            | Field::ValidateCertificate
            | Field::CertificateSha256 => Ok(value.to_string()),
        }
    }
}

fn in_quotes<E: serde::de::Error>() -> E {
    E::custom("this is no text: put it in quotes")
}

impl<'de> DeserializeSeed<'de> for Value {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a whole number or a boolean")
    }

    fn visit_str<E>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<String, E> {
        self.plain(value)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<String, E> {
        self.plain(number)
    }

    fn visit_i128<E: serde::de::Error>(self, _: i128) -> Result<String, E> {
        Err(in_quotes())
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<String, E> {
        self.plain(number)
    }

    fn visit_u128<E: serde::de::Error>(self, _: u128) -> Result<String, E> {
        Err(in_quotes())
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<String, E> {
        Err(in_quotes())
    }

    fn visit_unit<E>(self) -> Result<String, E> {
        Ok(String::new())
    }

    fn visit_none<E>(self) -> Result<String, E> {
        Ok(String::new())
    }

    fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<String, D::Error> {
        self.deserialize(value)
    }
}
