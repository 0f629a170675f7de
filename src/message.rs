//! A small composer for messages: subject, text, HTML, attachments.
//!
//! It is for notices and tests, not for mail programs: whoever needs more builds the message
//! elsewhere and hands the octets to [`crate::Content::check`].

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use mail_builder::MessageBuilder;
use mail_builder::headers::address::Address;
use mail_builder::headers::date::Date;
use mail_builder::mime::{MimePart, make_boundary};

use crate::proto::address::Mailbox;

/// A message to compose.
///
/// `Date` and `Message-ID` are always written; the latter ends in the sender's domain, and nothing
/// in the message names the machine it was made on. Lines end in CRLF and are short, and content is
/// 7-bit, whatever text goes in (RFC 2045 encodings, RFC 2047 words in headers). Only a non-ASCII
/// address is written as it is, as RFC 6532 §3.2 has it: such a message needs SMTPUTF8.
///
/// ```
/// use ehlo::message::Message;
///
/// let octets = Message::new("jo@example.org".parse()?)
///     .with_recipient("ann@example.com".parse()?)
///     .with_subject("Grüße")
///     .with_text("It works.")
///     .compose()?;
/// assert!(octets.starts_with(b"From: <jo@example.org>\r\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Message {
    from: Mailbox,
    from_name: Option<String>,
    recipients: Vec<Mailbox>,
    subject: Option<String>,
    text: Option<String>,
    html: Option<String>,
    attachments: Vec<Attachment>,
}

impl Message {
    /// An empty message from this author.
    pub fn new(from: Mailbox) -> Self {
        Self {
            from,
            from_name: None,
            recipients: Vec::new(),
            subject: None,
            text: None,
            html: None,
            attachments: Vec::new(),
        }
    }

    /// With the author's name, in any script.
    #[must_use]
    pub fn with_from_name(mut self, name: impl Into<String>) -> Self {
        self.from_name = Some(name.into());
        self
    }

    /// With one more address in `To`.
    #[must_use]
    pub fn with_recipient(mut self, to: Mailbox) -> Self {
        self.recipients.push(to);
        self
    }

    /// With a subject, in any script.
    #[must_use]
    pub fn with_subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// With a plain text. Its line ends may be of any kind.
    #[must_use]
    pub fn with_text(mut self, text: impl Into<String>) -> Self {
        self.text = Some(text.into());
        self
    }

    /// With a text in HTML. Together with a plain text it is the preferred of two alternatives.
    #[must_use]
    pub fn with_html(mut self, html: impl Into<String>) -> Self {
        self.html = Some(html.into());
        self
    }

    /// With one more attachment.
    #[must_use]
    pub fn with_attachment(mut self, attachment: Attachment) -> Self {
        self.attachments.push(attachment);
        self
    }

    /// The message in octets: RFC 5322 and MIME, CRLF at every line end, the last included.
    ///
    /// # Errors
    /// A CR, LF or NUL in a field that becomes part of a header, or a NUL in a text. The error names
    /// the field. (Addresses need no look: a [`Mailbox`] cannot hold one.)
    pub fn compose(&self) -> Result<Bytes, MessageError> {
        self.check()?;
        let from = Address::new_address(self.from_name.as_deref(), self.from.as_str());
        let mut builder = MessageBuilder::new()
            .from(from)
            .message_id(self.message_id())
            .date(Date::now());
        if !self.recipients.is_empty() {
            let to: Vec<&str> = self.recipients.iter().map(Mailbox::as_str).collect();
            builder = builder.to(to);
        }
        if let Some(subject) = &self.subject {
            builder = builder.subject(subject.as_str());
        }
        // Without any part mail-builder writes a bare LF.
        if self.text.is_some() || (self.html.is_none() && self.attachments.is_empty()) {
            builder = builder.text_body(with_crlf(self.text.as_deref().unwrap_or_default()));
        }
        if let Some(html) = &self.html {
            builder = builder.html_body(with_crlf(html));
        }
        if !self.attachments.is_empty() {
            builder.attachments = Some(self.attachments.iter().map(Attachment::part).collect());
        }
        let mut octets = Vec::new();
        builder.serialize(&mut octets);
        if !octets.ends_with(b"\r\n") {
            octets.extend_from_slice(b"\r\n");
        }
        Ok(octets.into())
    }

    fn check(&self) -> Result<(), MessageError> {
        header_safe("the sender's name", self.from_name.as_deref())?;
        header_safe("the subject", self.subject.as_deref())?;
        body_safe("the text", self.text.as_deref())?;
        body_safe("the HTML text", self.html.as_deref())?;
        self.attachments.iter().try_for_each(Attachment::check)
    }

    /// RFC 5322 §3.6.4: unique by time and chance before the `@`, the sender's domain behind it.
    fn message_id(&self) -> String {
        let domain = self.from.domain();
        let right = match domain.is_ascii() {
            true => domain,
            false => "message.invalid",
        };
        format!("{}@{right}", make_boundary("."))
    }
}

/// A file that travels with a message.
#[derive(Clone)]
pub struct Attachment {
    name: String,
    content_type: Cow<'static, str>,
    octets: Bytes,
}

impl Attachment {
    /// An attachment under this file name; the content type follows from the name's extension, and
    /// is `application/octet-stream` where that says nothing.
    pub fn new(name: impl Into<String>, octets: impl Into<Bytes>) -> Self {
        let name = name.into();
        Self {
            content_type: Cow::Borrowed(content_type_of(&name)),
            name,
            octets: octets.into(),
        }
    }

    /// With another content type: `type/subtype` (RFC 2045 §5.1), without parameters.
    #[must_use]
    pub fn with_content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Cow::Owned(content_type.into());
        self
    }

    fn check(&self) -> Result<(), MessageError> {
        header_safe("an attachment's name", Some(&self.name))?;
        let parts = self.content_type.split_once('/');
        match parts.is_some_and(|(main, sub)| is_token(main) && is_token(sub)) {
            true => Ok(()),
            false => Err(MessageError {
                field: "an attachment's content type",
                problem: "is not of the form type/subtype",
            }),
        }
    }

    /// Always base64: text too arrives octet for octet, whatever its line ends are.
    fn part(&self) -> MimePart<'_> {
        let mut encoded = Vec::with_capacity(self.octets.len() / 57 * 78 + 80);
        for line in self.octets.chunks(57) {
            encoded.extend_from_slice(STANDARD.encode(line).as_bytes());
            encoded.extend_from_slice(b"\r\n");
        }
        MimePart::new(&*self.content_type, encoded)
            .attachment(self.name.as_str())
            .transfer_encoding("base64")
    }
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attachment")
            .field("name", &self.name)
            .field("content_type", &self.content_type)
            .field("octets", &self.octets.len())
            .finish()
    }
}

/// A message that cannot be composed: one of its fields would break the form of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageError {
    field: &'static str,
    problem: &'static str,
}

impl MessageError {
    /// The field, as a noun: "the subject".
    pub fn field(&self) -> &'static str {
        self.field
    }
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.problem)
    }
}

impl std::error::Error for MessageError {}

/// What becomes part of a header could end it, and begin another one.
fn header_safe(field: &'static str, text: Option<&str>) -> Result<(), MessageError> {
    match text.is_some_and(|text| text.contains(['\r', '\n', '\0'])) {
        true => Err(MessageError {
            field,
            problem: "has a CR, LF or NUL in it",
        }),
        false => Ok(()),
    }
}

fn body_safe(field: &'static str, text: Option<&str>) -> Result<(), MessageError> {
    match text.is_some_and(|text| text.contains('\0')) {
        true => Err(MessageError {
            field,
            problem: "has a NUL in it",
        }),
        false => Ok(()),
    }
}

/// Each CRLF, LF and CR as CRLF: mail-builder passes a bare CR on.
fn with_crlf(text: &str) -> String {
    text.replace("\r\n", "\n")
        .replace('\r', "\n")
        .replace('\n', "\r\n")
}

/// RFC 2045 §5.1: `token := 1*<any (US-ASCII) CHAR except SPACE, CTLs, or tspecials>`.
fn is_token(text: &str) -> bool {
    const TSPECIALS: &[u8] = b"()<>@,;:\\\"/[]?=";
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_graphic() && !TSPECIALS.contains(&b))
}

fn content_type_of(name: &str) -> &'static str {
    let extension = Path::new(name).extension().and_then(|e| e.to_str());
    let extension = extension.unwrap_or_default().to_ascii_lowercase();
    CONTENT_TYPES
        .iter()
        .find(|(known, _)| *known == extension)
        .map_or("application/octet-stream", |(_, content_type)| content_type)
}

/// What people attach. `eml` is not here: RFC 2046 §5.2.1 forbids base64 for `message/rfc822`.
const CONTENT_TYPES: &[(&str, &str)] = &[
    ("avif", "image/avif"),
    ("bmp", "image/bmp"),
    ("css", "text/css"),
    ("csv", "text/csv"),
    ("doc", "application/msword"),
    (
        "docx",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ),
    ("gif", "image/gif"),
    ("gz", "application/gzip"),
    ("htm", "text/html"),
    ("html", "text/html"),
    ("ics", "text/calendar"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("json", "application/json"),
    ("log", "text/plain"),
    ("md", "text/markdown"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("odp", "application/vnd.oasis.opendocument.presentation"),
    ("ods", "application/vnd.oasis.opendocument.spreadsheet"),
    ("odt", "application/vnd.oasis.opendocument.text"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("ppt", "application/vnd.ms-powerpoint"),
    (
        "pptx",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ),
    ("rtf", "application/rtf"),
    ("svg", "image/svg+xml"),
    ("tar", "application/x-tar"),
    ("tif", "image/tiff"),
    ("tiff", "image/tiff"),
    ("txt", "text/plain"),
    ("vcf", "text/vcard"),
    ("wav", "audio/wav"),
    ("webp", "image/webp"),
    ("xls", "application/vnd.ms-excel"),
    (
        "xlsx",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ),
    ("xml", "application/xml"),
    ("zip", "application/zip"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message::new("jo@example.org".parse().unwrap())
            .with_recipient("ann@example.com".parse().unwrap())
    }

    #[track_caller]
    fn composed(message: &Message) -> String {
        let octets = message.compose().unwrap();
        let text = String::from_utf8(octets.to_vec()).unwrap();
        assert!(text.ends_with("\r\n"), "{text:?}");
        let rest = text.replace("\r\n", "");
        assert!(!rest.contains(['\r', '\n', '\0']), "{text:?}");
        for line in text.split("\r\n") {
            assert!(line.len() <= 998, "{} octets", line.len());
        }
        text
    }

    #[track_caller]
    fn header(text: &str, name: &str) -> String {
        let head = text.split("\r\n\r\n").next().unwrap();
        let unfolded = head.replace("\r\n ", " ").replace("\r\n\t", " ");
        let prefix = format!("{name}: ");
        let mut found = unfolded
            .split("\r\n")
            .filter_map(|l| l.strip_prefix(&prefix));
        let value = found
            .next()
            .unwrap_or_else(|| panic!("no {name} in {head}"));
        assert_eq!(found.next(), None, "{name} is there twice");
        value.to_owned()
    }

    #[test]
    fn a_plain_message_has_the_headers_that_rfc_5322_asks_for() {
        let text = composed(&message().with_subject("Hello").with_text("It works."));
        assert_eq!(header(&text, "From"), "<jo@example.org>");
        assert_eq!(header(&text, "To"), "<ann@example.com>");
        assert_eq!(header(&text, "Subject"), "Hello");
        assert_eq!(header(&text, "MIME-Version"), "1.0");
        assert!(header(&text, "Date").contains(':'));
        assert!(text.ends_with("\r\n\r\nIt works.\r\n"), "{text}");
    }

    #[test]
    fn the_message_id_ends_in_the_senders_domain_and_never_repeats() {
        let first = header(&composed(&message()), "Message-ID");
        let second = header(&composed(&message()), "Message-ID");
        assert!(
            first.starts_with('<') && first.ends_with("@example.org>"),
            "{first}"
        );
        assert_ne!(first, second);
    }

    #[test]
    fn headers_beyond_ascii_become_encoded_words() {
        let text = composed(
            &message()
                .with_from_name("Jörg")
                .with_subject("Grüße aus Köln"),
        );
        assert!(text.is_ascii());
        let subject = header(&text, "Subject");
        assert!(
            subject.to_ascii_lowercase().starts_with("=?utf-8?"),
            "{subject}"
        );
        assert!(
            header(&text, "From")
                .to_ascii_lowercase()
                .contains("=?utf-8?")
        );
    }

    #[test]
    fn text_and_html_are_alternatives_the_plain_one_first() {
        let text = composed(&message().with_text("plain").with_html("<p>rich</p>"));
        assert!(header(&text, "Content-Type").starts_with("multipart/alternative"));
        let plain = text.find("text/plain").unwrap();
        assert!(plain < text.find("text/html").unwrap());
    }

    #[test]
    fn attachments_are_base64_of_the_exact_octets() {
        let octets: Vec<u8> = (0..=255).cycle().take(1000).collect();
        let file = Attachment::new("übung.PDF", octets.clone());
        let text = composed(&message().with_text("see there").with_attachment(file));
        assert!(header(&text, "Content-Type").starts_with("multipart/mixed"));
        assert!(text.contains("Content-Type: application/pdf"));
        let (_, after) = text
            .split_once("Content-Transfer-Encoding: base64\r\n\r\n")
            .unwrap();
        let (encoded, _) = after.split_once("\r\n--").unwrap();
        assert!(encoded.split("\r\n").all(|line| line.len() <= 76));
        assert_eq!(
            STANDARD.decode(encoded.replace("\r\n", "")).unwrap(),
            octets
        );
    }

    #[test]
    fn long_lines_bare_newlines_and_eight_bit_text_are_encoded_away() {
        let body = format!("a\rb\nc\r\n{}\n.dot\nGrüße", "x".repeat(5000));
        let html = format!("<p>{}</p>", "y".repeat(5000));
        let text = composed(&message().with_text(body).with_html(html));
        assert!(text.is_ascii());
    }

    #[test]
    fn a_message_without_any_part_is_empty_text() {
        let text = composed(&message());
        assert!(header(&text, "Content-Type").starts_with("text/plain"));
    }

    #[test]
    fn what_would_break_out_of_a_field_is_refused_by_the_fields_name() {
        let file = || Attachment::new("a.txt", "");
        let named = |name: &str| Attachment::new(name, "");
        for (message, field) in [
            (
                message().with_subject("a\r\nBcc: x@example.org"),
                "the subject",
            ),
            (message().with_subject("a\nb"), "the subject"),
            (message().with_subject("a\0b"), "the subject"),
            (message().with_from_name("a\rb"), "the sender's name"),
            (message().with_text("a\0b"), "the text"),
            (message().with_html("a\0b"), "the HTML text"),
            (
                message().with_attachment(named("a\nb")),
                "an attachment's name",
            ),
            (
                message().with_attachment(file().with_content_type("text/plain\r\nX: y")),
                "an attachment's content type",
            ),
            (
                message().with_attachment(file().with_content_type("text")),
                "an attachment's content type",
            ),
        ] {
            let error = message.compose().unwrap_err();
            assert_eq!(error.field(), field);
            assert!(error.to_string().starts_with(field), "{error}");
        }
    }
}
