//! Entries 32 to 54: one event by flags.

use crate::check::{Exit, Stored, command, refused, refused_words};
use crate::harness::Shop;

/// Entry, flags behind `pub orders`, and error; `--key k --type T` stand before them unless they are given.
const BAD: &[(u32, &[&str], &str)] = &[
    (32, &["--key="], "Invalid/EmptyKey"),
    (34, &["--key", "k\n"], "Invalid/KeyCharacter"),
    (34, &["--key", "k\t"], "Invalid/KeyCharacter"),
    (34, &["--key", "k\u{1b}[31m"], "Invalid/KeyCharacter"),
    (34, &["--key", "k\u{7f}"], "Invalid/KeyCharacter"),
    (34, &["--key", "k\u{85}"], "Invalid/KeyCharacter"),
    (35, &["--id="], "Invalid/EmptyField"),
    (35, &["--type="], "Invalid/EmptyField"),
    (35, &["--version", "0"], "Invalid/EventVersion"),
    (35, &["--source="], "Invalid/EmptyField"),
    (35, &["--schema="], "Invalid/EmptyField"),
    (35, &["--tenant="], "Invalid/EmptyField"),
    (35, &["--correlation-id="], "Invalid/EmptyField"),
    (35, &["--causation-id="], "Invalid/EmptyField"),
    (37, &["--id", "i\n"], "Invalid/IdCharacter"),
    (38, &["--header", "=v"], "Invalid/HeaderName"),
    (38, &["--header", "a:b=v"], "Invalid/HeaderName"),
    (38, &["--header", "a b=v"], "Invalid/HeaderName"),
    (38, &["--header", "é=v"], "Invalid/HeaderName"),
    (39, &["--header", "a=v\r"], "Invalid/HeaderValue"),
    (39, &["--header", "a=v\n"], "Invalid/HeaderValue"),
    (42, &["--header", "Nats-Msg-Id=v"], "Invalid/ReservedHeader"),
    (42, &["--header", "nats-rollup=v"], "Invalid/ReservedHeader"),
    (42, &["--header", "Nats-Expected-Last-Sequence=1"], "Invalid/ReservedHeader"),
    (42, &["--header", "ce-id=v"], "Invalid/ReservedHeader"),
    (42, &["--header", "busline-x=v"], "Invalid/ReservedHeader"),
    (42, &["--attribute", "subject=v"], "Invalid/AttributeName"),
    (54, &["--attribute", "foo=1", "--attribute", "foo=2"], "Invalid/DuplicateKey"),
    (43, &["--time="], "Invalid/Time"),
    (43, &["--time", "0000-06-01T00:00:00Z"], "Invalid/Time"),
    (43, &["--time", "10000-01-01T00:00:00Z"], "Invalid/Time"),
    (43, &["--time=-1"], "Invalid/Time"),
    (43, &["--time", "NaN"], "Invalid/Time"),
    (43, &["--time", "2026-11-25T08:00:00"], "Invalid/Time"),
    (43, &["--time", "9999-12-31T23:59:59Z"], "Invalid/Time"),
    (44, &["--traceparent", "00-0-0-1"], "Invalid/TraceContext"),
    (44, &["--traceparent="], "Invalid/TraceContext"),
    (45, &["--data="], "Invalid/PayloadNotJson"),
    (45, &["--data", "{"], "Invalid/PayloadNotJson"),
    (45, &["--data", "x", "--content-type="], "Invalid/ContentType"),
];

fn words<'a>(flags: &[&'a str]) -> Vec<&'a str> {
    let given = |flag: &str| flags.iter().any(|word| word.starts_with(flag));
    let mut words = vec!["pub", "orders"];
    for (flag, value) in [("--key", "k"), ("--type", "T")] {
        if !given(flag) {
            words.extend([flag, value]);
        }
    }
    words.extend(flags);
    words
}

#[test]
fn a_bad_event_is_refused_before_a_file_is_made() {
    let shop = Shop::new();
    for (entry, flags, code) in BAD {
        refused_words(*entry, &shop, &words(flags), Exit::Refused, code);
    }
    let long = |bytes: usize| "x".repeat(bytes);
    for (entry, flag, value, code) in [
        (33, "--key", long(257), "Invalid/KeyTooLong"),
        (33, "--key", long(65_536), "Invalid/KeyTooLong"),
        (37, "--id", long(129), "Invalid/IdTooLong"),
        (37, "--id", long(10_240), "Invalid/IdTooLong"),
        (40, "--header", format!("a={}", long(65_536)), "TooLarge/HeaderBytes"),
    ] {
        refused_words(entry, &shop, &words(&[flag, &value]), Exit::Refused, code);
    }
    let mut many = command(&shop, &words(&[]));
    many.args(std::iter::repeat_n("--header=a=v", 10_000));
    let text = refused(40, &shop, many, Exit::Refused, "TooLarge/HeaderCount");
    assert!(text.contains("10000") && text.contains("1024"), "{text}");
    assert!(!shop.path("busline.db").exists());
}

/// Entries 33, 34, 36, 37, 41, 43 and 45: what must be taken, and come back as it was.
#[test]
fn odd_events_that_are_legal_come_back_as_they_were() {
    let shop = Shop::new();
    let (key, id) = ("k".repeat(256), "i".repeat(128));
    let taken: &[(u32, &[&str])] = &[
        (33, &["--key", &key]),
        (34, &["--key", "a b+~@é🙂"]),
        (36, &["--id", "twice"]),
        (36, &["--id", "twice"]),
        (37, &["--id", &id]),
        (41, &["--header", "a=1", "--header", "b=", "--header", "a=2"]),
        (43, &["--time", "9999-12-30T22:00:00Z"]),
        (43, &["--time", "2011-08-01T23:41:24-09:30"]),
        (45, &["--data=", "--content-type", "application/octet-stream"]),
    ];
    for (count, (entry, flags)) in (1..).zip(taken) {
        let ran = command(&shop, &words(flags)).output().expect("runs");
        assert_eq!(ran.status.code(), Some(0), "{entry}: {}", String::from_utf8_lossy(&ran.stderr));
        assert_eq!(Stored::of(&shop).records, count, "{entry}");
    }
    let records = shop.records("orders");
    let has = |field: &str, value: &str| records.iter().filter(|it| it["envelope"][field] == value).count();
    assert_eq!((has("subject", &key), has("subject", "a b+~@é🙂")), (1, 1), "33, 34");
    assert_eq!((has("id", "twice"), has("id", &id)), (2, 1), "36, 37");
    assert_eq!((has("time", "9999-12-30T22:00:00Z"), has("time", "2011-08-01T23:41:24-09:30")), (1, 1), "43");
    let text = shop.run("sub orders --until-end --json").stdout;
    for (entry, part) in [
        (41, r#""headers":[{"name":"a","value":"1"},{"name":"b","value":""},{"name":"a","value":"2"}]"#),
        (45, r#""data_base64":"""#),
    ] {
        assert!(text.contains(part), "{entry}: {text}");
    }
}
