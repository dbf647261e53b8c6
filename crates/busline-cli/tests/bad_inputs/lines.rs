//! Entries 32 to 54, 71 and 77 to 88: lines of `pub --file`. Each bad line is told, and holds nothing else back.

use busline_conformance::assert_told;
use serde_json::json;

use crate::check::{Stored, command};
use crate::harness::{Ran, Shop};

fn flat(more: &str) -> String {
    format!(r#"{{"aggregate_id":"k","event_type":"T","timestamp":"2026-11-25T08:00:00Z"{more}}}"#)
}

fn event(more: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"T","subject":"k"{more}}}"#)
}

fn nested(levels: usize) -> String {
    format!("{}{}", "[".repeat(levels), "]".repeat(levels))
}

fn bad_lines() -> Vec<(u32, Vec<u8>, &'static str)> {
    let mut bad: Vec<(u32, Vec<u8>, &'static str)> = vec![
        (71, b"\xff\xfe\0".to_vec(), "Invalid/Line"),
        (71, b"\0\x01\x02".to_vec(), "Invalid/Line"),
        (71, b"{\"a\":\"\xff\"}".to_vec(), "Invalid/Line"),
    ];
    let whole = event(r#","data":{"a":[1,"x"]}"#);
    bad.extend((1..whole.len()).map(|end| (77, whole.as_bytes()[..end].to_vec(), "Invalid/Line")));
    let texts = [
        (32, flat("").replace(r#""k""#, r#""""#), "Invalid/EmptyKey"),
        (33, flat("").replace(r#""k""#, &format!("\"{}\"", "k".repeat(257))), "Invalid/KeyTooLong"),
        (34, flat("").replace(r#""k""#, r#""k\u0000""#), "Invalid/KeyCharacter"),
        (34, flat("").replace(r#""k""#, r#""k\u001b[31m""#), "Invalid/KeyCharacter"),
        (35, event("").replace(r#""id":"1""#, r#""id":"""#), "Invalid/EmptyField"),
        (35, flat("").replace(r#""T""#, r#""""#), "Invalid/EmptyField"),
        (35, flat(r#","event_id":"""#), "Invalid/EmptyField"),
        (35, flat(r#","event_\u0069d":"""#), "Invalid/EmptyField"),
        (35, event("").replace("/s", ""), "Invalid/EmptyField"),
        (35, event(r#","dataschema":"""#), "Invalid/EmptyField"),
        (32, event("").replace(r#","subject":"k""#, ""), "Corrupt/NoKey"),
        (32, event("").replace(r#""k""#, "null"), "Corrupt/NoKey"),
        (35, flat(r#","event_version":0"#), "Invalid/EventVersion"),
        (35, flat(r#","event_version":-1"#), "Invalid/EventVersion"),
        (37, event("").replace(r#""1","#, &format!("\"{}\",", "i".repeat(129))), "Invalid/IdTooLong"),
        (37, event("").replace(r#""1","#, r#""\u0007","#), "Invalid/IdCharacter"),
        (43, flat("").replace("2026", "0000"), "Invalid/Time"),
        (43, flat("").replace("2026", "10000"), "Invalid/Time"),
        (43, flat("").replace(r#":00Z""#, r#":00""#), "Invalid/Time"),
        (43, flat("").replace(r#""2026-11-25T08:00:00Z""#, "NaN"), "Invalid/Line"),
        (44, event(r#","traceparent":"00-0-0-1""#), "Invalid/TraceContext"),
        (47, flat(&format!(r#","payload":"{}""#, "x".repeat(983_040))), "TooLarge/Record"),
        (48, event(&format!(r#","data_base64":"{}""#, "A".repeat(983_040))), "TooLarge/Record"),
        (52, event(r#","datacontenttype":"application/json","data_base64":"/w==""#), "Invalid/PayloadNotUtf8"),
        (52, event(r#","datacontenttype":"text/plain","data_base64":"/w==""#), "Invalid/PayloadNotUtf8"),
        (52, event(r#","datacontenttype":"text/plain","data":"\ud800""#), "Invalid/Line"),
        (53, event(&format!(r#","x":{}"#, nested(10_000))), "TooLarge/JsonDepth"),
        (88, nested(10_000), "TooLarge/JsonDepth"),
        (54, event(r#","x":1e400"#), "Invalid/Number"),
        (54, event(r#","x":1,"x":2"#), "Invalid/DuplicateKey"),
        (54, flat(&format!(r#","payload":{}"#, "9".repeat(10_000_000))), "TooLarge/Record"),
        (81, event("") + "{}", "Invalid/Line"),
        (82, "{}".into(), "Corrupt/NoEnvelope"),
        (82, event("").replace("1.0", "2.0"), "Unsupported/FormatVersion"),
    ];
    bad.extend(texts.into_iter().map(|(entry, text, code)| (entry, text.into_bytes(), code)));
    bad
}

#[test]
fn bad_lines_are_told_by_name_and_good_ones_between_them_are_stored() {
    let (shop, bad) = (Shop::new(), bad_lines());
    let mut input = Vec::new();
    for (place, (_, line, _)) in bad.iter().enumerate() {
        input.extend(line.iter().chain(b"\n"));
        input.extend((flat(&format!(r#","event_version":{}"#, place + 1)) + "\r\n").as_bytes());
    }
    let ran = shop.run_from("pub orders --file - --json", &input[..]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    let outcomes = ran.json();
    assert_eq!(outcomes.len(), 2 * bad.len());
    for ((number, outcomes), (entry, line, code)) in (0..).zip(outcomes.chunks(2)).zip(&bad) {
        let shown =
            format!("entry {entry}, line {}: {}", 2 * number + 1, String::from_utf8_lossy(&line[..line.len().min(90)]));
        assert_eq!((&outcomes[0]["line"], &outcomes[0]["error"]), (&json!(2 * number + 1), &json!(code)), "{shown}");
        assert_eq!(outcomes[0]["outcome"], "invalid", "{shown}");
        assert_told(outcomes[0]["message"].as_str().expect("a message"), code);
        assert_eq!(outcomes[1]["outcome"], "acked", "behind {shown}");
    }
    assert_eq!(Stored::of(&shop).records, bad.len() as u64, "the good lines and no others are stored");
}

/// Entries 53, 54, 62 and 71: what must be taken.
#[test]
fn odd_lines_that_are_legal_are_stored() {
    let shop = Shop::new();
    let deep = nested(10_000);
    let taken = [
        (53, flat(&format!(r#","payload":{deep}"#))),
        (54, flat(r#","payload":{"a":1e400,"a":2}"#)),
        (62, event("")),
        (62, event("")),
        (35, flat(r#","event_id":null"#)),
    ];
    for (count, (entry, line)) in (1..).zip(&taken) {
        // No line end, and one of Windows.
        let ran =
            shop.run_with("pub orders --file -", if count % 2 == 0 { format!("{line}\r\n") } else { line.clone() });
        assert_eq!(ran.code, Some(0), "{entry}: {}", ran.stderr);
        assert_eq!(Stored::of(&shop).records, count, "{entry}");
    }
    let text = shop.run("sub orders --until-end --json").stdout;
    assert!(text.contains(&deep) && text.contains(r#"{"a":1e400,"a":2}"#), "payloads come back byte for byte");
}

/// Entry 46 and 47: the largest record, and one byte more.
#[test]
fn the_largest_line_is_stored_and_one_byte_more_is_not() {
    let shop = Shop::new();
    let line = |bytes: usize| {
        event(&format!(r#","sequence":"1","time":"2026-11-25T08:00:00Z","data":"{}""#, "x".repeat(bytes)))
    };
    let publish = |bytes: usize| shop.run_with("pub orders --file - --json", line(bytes));
    let over = publish(983_040).json().remove(0);
    let size = over["message"].as_str().expect("a message").split(" bytes of key").next().expect("a size");
    let size: usize = size.rsplit(' ').next().expect("a size").parse().expect("a number");
    let largest = 983_040 - (size - 983_040);
    assert_eq!(publish(largest).code, Some(0), "46");
    let more = publish(largest + 1).json().remove(0);
    assert_eq!(more["error"], "TooLarge/Record", "47");
    let message = more["message"].as_str().expect("a message");
    assert!(message.contains("983041") && message.contains("983040"), "size and limit: {message}");
    assert_eq!(Stored::of(&shop).records, 1);
}

/// Entries 58 and 71: nothing to publish is done.
#[test]
fn a_closed_or_empty_input_is_done() {
    let shop = Shop::new();
    shop.file("empty", "");
    shop.file("blank", "\r\n\n \n");
    let mut closed = command(&shop, &[]);
    let shell = format!("exec {} pub orders --file - 0<&-", closed.get_program().to_string_lossy());
    closed = std::process::Command::new("sh");
    closed.arg("-c").arg(shell).current_dir(shop.path("."));
    let ran = [
        Ran::of(closed.output().expect("runs")),
        shop.run("pub orders --file empty"),
        shop.run("pub orders --file blank"),
        shop.run_with("pub orders --file -", ""),
    ];
    for ran in ran {
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""), "{}", ran.stderr);
        assert!(ran.said().ends_with("orders: 0 acked, in … s\n"), "{}", ran.stderr);
    }
    assert_eq!(Stored::of(&shop).records, 0);
}
