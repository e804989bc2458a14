//! The framer alone: every event whole, for every cutting. (The rules are tested from
//! Python, against the reference engine.)

use streamnorm_core::{Block, Framer, Limits, Unit};

/// (event, data, id) of every block that has data.
type Seen = Vec<(Option<String>, String, Option<String>)>;

fn text(framer: &Framer, span: (usize, usize)) -> String {
    String::from_utf8_lossy(framer.bytes(span)).into_owned()
}

fn take(framer: &Framer, block: &Block, seen: &mut Seen) {
    if block.first.is_some() {
        let data: Vec<String> = block.values().map(|span| text(framer, span)).collect();
        let field = |span: Option<_>| span.map(|span| text(framer, span));
        seen.push((field(block.event), data.join("\n"), field(block.id)));
    }
}

fn decode(parts: &[&[u8]], limits: Limits, flush: bool) -> (Seen, Option<(Unit, usize)>) {
    let mut framer = Framer::new(limits, false, false);
    let mut seen = Seen::new();
    for part in parts {
        framer.push(part);
        while let Some(block) = framer.next_block() {
            take(&framer, &block, &mut seen);
        }
        framer.settle();
        framer.compact();
    }
    if flush {
        if let Some(block) = framer.close() {
            take(&framer, &block, &mut seen);
        }
    }
    (seen, framer.fault)
}

fn every_cut(input: &[u8], flush: bool) -> Seen {
    let (whole, _) = decode(&[input], Limits::default(), flush);
    for at in 0..=input.len() {
        let (halves, _) = decode(&[&input[..at], &input[at..]], Limits::default(), flush);
        assert_eq!(halves, whole, "cut at {at}");
    }
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(decode(&bytes, Limits::default(), flush).0, whole, "one byte a read");
    whole
}

fn data(seen: &Seen) -> Vec<&str> {
    seen.iter().map(|(_, data, _)| data.as_str()).collect()
}

#[test]
fn all_three_line_ends_are_line_ends() {
    let seen = every_cut(b"data: a\n\ndata: b\r\n\r\ndata: c\r\rdata: d\r\n\n", false);
    assert_eq!(data(&seen), ["a", "b", "c", "d"]);
}

#[test]
fn data_lines_join_with_lf_and_lose_one_space() {
    let seen = every_cut(b"data:  x\r\ndata\r\ndata:y\r\n\r\n", false);
    assert_eq!(data(&seen), [" x\n\ny"]);
}

#[test]
fn a_bom_counts_only_at_the_start() {
    let seen = every_cut(b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: lost\n\ndata: b\n\n", false);
    assert_eq!(data(&seen), ["a", "b"]);
}

#[test]
fn fields_may_come_in_any_order_and_comments_between_them() {
    let seen = every_cut(b"data: a\n: note\nid: 7\nzzz: y\nevent: e\n\n", false);
    assert_eq!(seen, [(Some("e".into()), "a".into(), Some("7".into()))]);
}

#[test]
fn an_unfinished_event_comes_out_only_where_it_is_asked_for() {
    assert!(every_cut(b"data: a", false).is_empty());
    assert_eq!(data(&every_cut(b"data: a", true)), ["a"]);
}

#[test]
fn a_limit_names_what_is_passed_first_for_any_cutting() {
    let limits = Limits { line: Some(20), event: Some(30) };
    let input = b"data: ok\n\ndata: 0123456789\ndata: 0123456789\n\n";
    let expected = Some((Unit::Event, 30));
    for size in 1..=input.len() {
        let parts: Vec<&[u8]> = input.chunks(size).collect();
        let (seen, fault) = decode(&parts, limits, false);
        assert_eq!((data(&seen), fault), (vec!["ok"], expected), "reads of {size}");
    }
}
