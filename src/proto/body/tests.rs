use std::io::IoSlice;

use super::*;

fn encode(input: &[u8], step: usize) -> Result<Vec<u8>, BareNewline> {
    let mut output = Output::default();
    let mut encoder = Encoder::new(Transfer::Dotted, BareNewlines::Normalise);
    for piece in input.chunks(step) {
        encoder.piece(&Bytes::copy_from_slice(piece), &mut output)?;
    }
    encoder.finish(&mut output)?;
    Ok(drain(&mut output))
}

fn drain(output: &mut Output) -> Vec<u8> {
    let mut wire = Vec::new();
    while output.unsent() > 0 {
        let mut slices = [IoSlice::new(&[]); 8];
        let count = output.slices(&mut slices);
        let flight: Vec<u8> = slices[..count].iter().flat_map(|s| s.to_vec()).collect();
        output.sent(flight.len());
        wire.extend_from_slice(&flight);
    }
    wire
}

fn facts(input: &[u8], step: usize) -> ContentFacts {
    let mut scanner = Scanner::default();
    input.chunks(step).for_each(|piece| scanner.push(piece));
    scanner.finish()
}

const CASES: [(&[u8], &[u8]); 14] = [
    (b"", b".\r\n"),
    (b"a", b"a\r\n.\r\n"),
    (b"a\r\n", b"a\r\n.\r\n"),
    (b".", b"..\r\n.\r\n"),
    (b".\r\n", b"..\r\n.\r\n"),
    (b"a\r\n.\r\nb", b"a\r\n..\r\nb\r\n.\r\n"),
    (b"\r\n\r\n..x", b"\r\n\r\n...x\r\n.\r\n"),
    (b"a\n.\nb\n", b"a\r\n..\r\nb\r\n.\r\n"),
    (b"a\r.\rb\r", b"a\r\n..\r\nb\r\n.\r\n"),
    (b"a\r\r\n.b", b"a\r\n\r\n..b\r\n.\r\n"),
    (b"\n\r", b"\r\n\r\n.\r\n"),
    (b"\r", b"\r\n.\r\n"),
    (b"a\r\n\n.\r", b"a\r\n\r\n..\r\n.\r\n"),
    (b"x.\r\ny.", b"x.\r\ny.\r\n.\r\n"),
];

#[test]
fn content_is_encoded_alike_in_any_pieces() {
    for (input, expected) in CASES {
        for step in [1, 2, 3, 100] {
            assert_eq!(
                encode(input, step).as_deref(),
                Ok(expected),
                "{input:?} by {step}"
            );
        }
    }
}

#[test]
fn whole_content_goes_out_as_pieces_do() {
    for (input, expected) in CASES {
        let content = Content::check(input, BareNewlines::Normalise).unwrap();
        let mut output = Output::default();
        let fill = ContentCursor::new(&content, Transfer::Dotted).fill(&mut output);
        assert_eq!(fill, Fill::Done);
        assert_eq!(drain(&mut output), expected, "{input:?}");
        let undotted = expected.len() as u64 - 3 - content.facts().dotted_lines;
        assert_eq!(content.facts().wire_size, undotted, "{input:?}");
    }
}

#[test]
fn large_content_is_queued_piece_by_piece() {
    // Whatever stands at the edge of what is encoded at a time: text, dot, CR or LF.
    let lines = [b"0123456789abcdef\r\n".as_slice(), b".123456789abcdef\r\n"];
    let shifts = lines
        .iter()
        .flat_map(|line| (0..18).map(move |at| (line, at)));
    for (line, shift) in shifts {
        let lines = if shift == 0 { 60_000 } else { 4_000 };
        let input = [vec![b'x'; shift], line.repeat(lines)].concat();
        let content = Content::check(input.clone(), BareNewlines::Reject).unwrap();
        let (mut output, mut wire) = (Output::default(), Vec::new());
        let mut cursor = ContentCursor::new(&content, Transfer::Dotted);
        let ahead = match line[0] {
            b'.' => 256 * 1024..=320 * 1024,
            _ => 1024 * 1024..=1024 * 1024,
        };
        while cursor.fill(&mut output) == Fill::More {
            assert!(ahead.contains(&output.unsent()), "{}", output.unsent());
            wire.extend_from_slice(&drain(&mut output));
        }
        wire.extend_from_slice(&drain(&mut output));
        let expected = encode(&input, 1 << 20).unwrap();
        assert!(wire == expected);
    }
}

#[test]
fn changes_that_are_remembered_and_those_that_are_searched_go_out_alike() {
    let lines = b"-23456789abcdef\r\n.23\n\xff\r.\r\n".repeat(600);
    for (transfer, shift) in [Transfer::Dotted, Transfer::Counted]
        .into_iter()
        .flat_map(|transfer| (0..27).map(move |shift| (transfer, shift)))
    {
        // Up to the edge of a step, and for some to that of what is queued ahead.
        let before = if shift % 9 == 0 { 250 } else { 58 };
        let input = [vec![b'x'; before * 1024 + shift], lines.clone()].concat();
        let remembered = Content::check(input, BareNewlines::Normalise).unwrap();
        assert!(remembered.marks.is_some());
        let mut searched = remembered.clone();
        searched.marks = None;
        let [remembered, searched] = [remembered, searched].map(|content| {
            let (mut output, mut wire) = (Output::default(), Vec::new());
            let mut cursor = ContentCursor::new(&content, transfer);
            while cursor.fill(&mut output) == Fill::More {
                assert!(output.unsent() <= 320 * 1024, "{}", output.unsent());
                // Some is left over, as by a transport.
                let sent = output.unsent() - shift;
                let queued = drain(&mut output);
                wire.extend_from_slice(&queued[..sent]);
                output.share(Bytes::copy_from_slice(&queued[sent..]));
            }
            wire.extend_from_slice(&drain(&mut output));
            wire
        });
        assert!(remembered == searched, "{transfer:?} by {shift}");
    }
}

#[test]
fn any_text_is_scanned_and_sent_alike_whole_and_octet_by_octet() {
    let octets = b"a.\r\n\xff";
    for number in 0..5usize.pow(6) {
        let digits = (0..6).map(|digit| number / 5usize.pow(digit) % 5);
        let text: Vec<u8> = digits.map(|digit| octets[digit]).collect();
        let content = Content::check(text.clone(), BareNewlines::Normalise).unwrap();
        assert_eq!(*content.facts(), facts(&text, 1), "{text:?}");
        let mut output = Output::default();
        ContentCursor::new(&content, Transfer::Dotted).fill(&mut output);
        assert_eq!(Ok(drain(&mut output)), encode(&text, 1), "{text:?}");
    }
}

#[test]
fn more_changes_than_are_remembered_are_searched() {
    for (lines, remembered) in [(MARKS, true), (MARKS + 1, false)] {
        let input = b".\r\n".repeat(lines);
        let content = Content::check(input, BareNewlines::Reject).unwrap();
        assert_eq!(content.marks.is_some(), remembered);
    }
    let clean = Content::check("a\r\n", BareNewlines::Reject).unwrap();
    assert!(clean.marks.is_none());
}

#[test]
fn bare_newlines_are_refused_on_demand() {
    for (input, offset) in [("a\nb", 1), ("a\r\nb\rc", 4), ("ab\r", 2), ("\r\r\n", 0)] {
        let refused = Content::check(input, BareNewlines::Reject).unwrap_err();
        assert_eq!(refused, ContentError::BareNewline { offset }, "{input:?}");
        let mut encoder = Encoder::new(Transfer::Dotted, BareNewlines::Reject);
        let mut output = Output::default();
        let result = encoder.piece(&Bytes::from(input), &mut output);
        let result = result.and_then(|()| encoder.finish(&mut output));
        assert_eq!(result, Err(BareNewline), "{input:?}");
    }
}

#[test]
fn the_first_bare_newline_is_found_where_it_is_in_any_pieces() {
    for (input, offset) in [("ab\rcd\n", 2), ("a\r\nbcd\r", 6), ("abcd\n\r", 4)] {
        for step in [1, 2, 3, 100] {
            let found = facts(input.as_bytes(), step).bare_newline;
            assert_eq!(found, Some(offset), "{input:?} by {step}");
        }
    }
}

#[test]
fn a_scan_finds_the_same_in_any_pieces() {
    let message = b"Subject: caf\xc3\xa9\r\nX: y\r\n\r\n.dot\r\nlonger line\r\n\0\xff\r\n..";
    for step in [1, 2, 5, 1000] {
        let facts = facts(message, step);
        assert_eq!(facts.wire_size, message.len() as u64 + 2);
        assert!(facts.eight_bit && facts.utf8_headers);
        assert_eq!((facts.nul, facts.bare_newline), (Some(43), None));
        assert_eq!((facts.longest_line, facts.dotted_lines), (14, 2));
    }
    let body_only = facts(b"A: b\r\n\r\n\xff", 3);
    assert!(body_only.eight_bit && !body_only.utf8_headers);
}

#[test]
fn content_keeps_its_octets_and_shows_their_number_alone() {
    let content = Content::check("a secret\r\n", BareNewlines::Reject).unwrap();
    assert_eq!(&content.bytes()[..], b"a secret\r\n");
    assert_eq!(format!("{content:?}"), "Content(10 octets)");
    let refused = Content::check("a\nb", BareNewlines::Reject).unwrap_err();
    assert!(refused.to_string().ends_with("part of a CRLF, at offset 1"));
}
