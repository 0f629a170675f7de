//! The forms that a client's words must have.

/// The keywords and parameters of an EHLO reply, in upper case.
pub(crate) fn offers(reply: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(reply).to_ascii_uppercase();
    let lines = text.lines().skip(1);
    lines
        .filter_map(|line| line.get(4..).map(|offer| offer.trim().to_owned()))
        .collect()
}

/// The extension that a parameter belongs to, where it is known, and the rule that says so.
pub(crate) fn extension_of(keyword: &str, value: &str) -> (Option<&'static str>, &'static str) {
    match keyword {
        "SIZE" => (Some("SIZE"), "R-1870-1"),
        "BODY" if value.eq_ignore_ascii_case("BINARYMIME") => (Some("BINARYMIME"), "R-3030-5"),
        "BODY" => (Some("8BITMIME"), "R-6152-1"),
        "SMTPUTF8" => (Some("SMTPUTF8"), "R-6531-1"),
        "RET" | "ENVID" | "NOTIFY" | "ORCPT" => (Some("DSN"), "R-3461-3"),
        "REQUIRETLS" => (Some("REQUIRETLS"), "R-8689-1"),
        "AUTH" => (Some("AUTH"), "R-5321-12"),
        _ => (None, "R-5321-12"),
    }
}

/// Whether a CR or LF stands alone.
pub(crate) fn has_bare_newline(octets: &[u8]) -> bool {
    let mut last = 0;
    for (place, octet) in octets.iter().enumerate() {
        match octet {
            b'\n' if last != b'\r' => return true,
            b'\r' if octets.get(place + 1) != Some(&b'\n') => return true,
            _ => {}
        }
        last = *octet;
    }
    false
}

/// RFC 4648 §4, with padding.
pub(crate) fn is_base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    text.len().is_multiple_of(4)
        && text.len() - body.len() <= 2
        && body
            .bytes()
            .all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'/'))
}

/// RFC 5321 §4.1.2: `Domain / address-literal`.
pub(crate) fn is_host(name: &str) -> bool {
    if let Some(literal) = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        return literal.parse::<std::net::Ipv4Addr>().is_ok()
            || literal
                .strip_prefix("IPv6:")
                .is_some_and(|rest| rest.parse::<std::net::Ipv6Addr>().is_ok());
    }
    !name.is_empty()
        && name.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_for_ehlo_is_a_domain_or_an_address_literal() {
        for name in ["client.example", "vm", "[192.0.2.1]", "[IPv6:2001:db8::1]"] {
            assert!(is_host(name), "{name}");
        }
        for name in [
            "",
            "a..b",
            "-a.example",
            "a_b",
            "192.0.2.1]",
            "[192.0.2]",
            "[::1]",
        ] {
            assert!(!is_host(name), "{name}");
        }
    }

    #[test]
    fn base64_has_its_padding() {
        for text in ["", "YQ==", "YWI=", "YWJj"] {
            assert!(is_base64(text), "{text}");
        }
        for text in ["YQ", "YQ=", "YQ==YQ==", "Y Q=", "===="] {
            assert!(!is_base64(text), "{text}");
        }
    }

    #[test]
    fn bare_newlines_are_found_wherever_they_are() {
        assert!(!has_bare_newline(b"a\r\nb\r\n"));
        for content in [&b"a\nb"[..], b"a\rb", b"\n", b"\r", b"a\r\n\n", b"a\r\r\n"] {
            assert!(has_bare_newline(content), "{content:?}");
        }
    }
}
