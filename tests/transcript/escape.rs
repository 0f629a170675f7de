//! Octets as text: `\r \n \0 \t \" \\ \xNN`, and everything else as it is.

/// The octets that a text with escapes stands for.
pub(crate) fn decode(text: &str) -> Result<Vec<u8>, String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&octet, tail)) = rest.split_first() {
        rest = tail;
        if octet != b'\\' {
            octets.push(octet);
            continue;
        }
        let Some((&kind, tail)) = rest.split_first() else {
            return Err("a backslash at the end of the line".into());
        };
        rest = tail;
        octets.push(match kind {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'0' => 0,
            b'"' | b'\\' => kind,
            b'x' => {
                let digits = rest.get(..2).and_then(|hex| str::from_utf8(hex).ok());
                let octet = digits.and_then(|hex| u8::from_str_radix(hex, 16).ok());
                rest = rest.get(2..).unwrap_or_default();
                octet.ok_or("\\x wants two hexadecimal digits")?
            }
            other => return Err(format!("unknown escape \\{}", other as char)),
        });
    }
    Ok(octets)
}

/// The text that stands for these octets.
pub(crate) fn encode(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len());
    for &octet in octets {
        match octet {
            b'\r' => text.push_str("\\r"),
            b'\n' => text.push_str("\\n"),
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(octet as char),
            _ => text.push_str(&format!("\\x{octet:02x}")),
        }
    }
    text
}

/// What the client sent, as the lines of a transcript: `C:` for whole lines of plain text, `C|` for
/// everything else.
pub(crate) fn client_lines(octets: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = octets;
    while !rest.is_empty() {
        let end = rest.windows(2).position(|pair| pair == b"\r\n");
        let (line, tail) = rest.split_at(end.map_or(rest.len(), |at| at + 2));
        rest = tail;
        let text = line.strip_suffix(b"\r\n").filter(|text| {
            text.iter().all(|octet| matches!(octet, b' '..=b'~')) && !text.ends_with(b" ")
        });
        lines.push(match text {
            Some([]) => "C:".to_owned(),
            Some(text) => format!("C: {}", String::from_utf8_lossy(text)),
            None => format!("C| {}", encode(line)),
        });
    }
    lines
}
