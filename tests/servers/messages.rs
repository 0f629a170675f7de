//! Messages, each with what a server must store of it.

/// A message as it is submitted, and as it must arrive.
pub(crate) struct Message {
    pub(crate) name: &'static str,
    pub(crate) submitted: Vec<u8>,
    pub(crate) stored: Vec<u8>,
}

/// All but the large one.
pub(crate) fn small() -> Vec<Message> {
    vec![
        unchanged("clean", "Subject: clean\r\n\r\nThis is text.\r\n"),
        unchanged("empty", ""),
        unchanged(
            "dots",
            "Subject: dots\r\n\r\n.\r\n..\r\n...\r\n.text\r\n \
             .\r\ntext.\r\n\r\n.\r\n\r\nMAIL FROM:<>\r\n.\r\n",
        ),
        changed(
            "no_final_line_end",
            "Subject: no final line end\r\n\r\n.text",
            "Subject: no final line end\r\n\r\n.text\r\n",
        ),
        // Any of these lone dots ends the message for some server, if a bare newline gets there.
        changed(
            "bare_newlines",
            "Subject: bare newlines\n\nLF\nCR\rCRLF\r\nLF CR\n\rCR CR LF\r\r\n.\n.\r.\r\n.\n\rQUIT\n",
            "Subject: bare newlines\r\n\r\nLF\r\nCR\r\nCRLF\r\nLF CR\r\n\r\nCR CR LF\r\n\r\n\
             .\r\n.\r\n.\r\n.\r\n\r\nQUIT\r\n",
        ),
        unchanged("eight_bit", {
            let mut message =
                "Subject: 8-bit\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGrüße, 你好\r\n"
                    .as_bytes()
                    .to_vec();
            message.extend(128..=255);
            message.extend(b"\r\n");
            message
        }),
    ]
}

/// 20 MiB of lines, of which every hundredth begins with a dot.
pub(crate) fn large() -> Message {
    const SIZE: usize = 20 * 1024 * 1024;
    let mut message = b"Subject: large\r\n\r\n".to_vec();
    let mut number = 0;
    while message.len() < SIZE {
        let mark = if number % 100 == 0 { '.' } else { '-' };
        message.extend(format!("{mark}{number:071}\r\n").as_bytes());
        number += 1;
    }
    unchanged("large", message)
}

fn unchanged(name: &'static str, message: impl Into<Vec<u8>>) -> Message {
    let message = message.into();
    Message {
        name,
        stored: message.clone(),
        submitted: message,
    }
}

fn changed(name: &'static str, submitted: &str, stored: &str) -> Message {
    Message {
        name,
        submitted: submitted.into(),
        stored: stored.into(),
    }
}
