//! Entries 1 to 29: names of topics and groups, wherever a command takes one.

use crate::check::{Exit, Stored, command, refused_words};
use crate::harness::Shop;

/// Entry, name and error. NUL (entry 6) cannot stand in an argument.
const BAD: &[(u32, &str, &str)] = &[
    (1, "", "Invalid/EmptyName"),
    (2, " ", "Invalid/NameCharacter"),
    (3, "a b", "Invalid/NameCharacter"),
    (4, "\ta", "Invalid/NameCharacter"),
    (4, "a\tb", "Invalid/NameCharacter"),
    (4, "a\t", "Invalid/NameCharacter"),
    (5, "a\r\nPUB x 0", "Invalid/NameCharacter"),
    (7, "*", "Invalid/NameCharacter"),
    (8, ">", "Invalid/NameCharacter"),
    (9, "a.*", "Invalid/NameCharacter"),
    (10, "a.>", "Invalid/NameCharacter"),
    (11, ".a", "Invalid/EmptyToken"),
    (12, "a.", "Invalid/EmptyToken"),
    (13, "a..b", "Invalid/EmptyToken"),
    (14, "$SYS.x", "Invalid/NameCharacter"),
    (14, "_INBOX.x", "Invalid/ReservedName"),
    (15, "__consumer_offsets", "Invalid/ReservedName"),
    (16, ".", "Invalid/EmptyToken"),
    (16, "..", "Invalid/EmptyToken"),
    (17, "../../etc/passwd", "Invalid/NameCharacter"),
    (18, "/abs", "Invalid/NameCharacter"),
    (19, "a/../b", "Invalid/NameCharacter"),
    (20, "a\\b", "Invalid/NameCharacter"),
    (21, "con.", "Invalid/EmptyToken"),
    (21, "con ", "Invalid/NameCharacter"),
    (27, "e\u{301}", "Invalid/NameCharacter"),
    (27, "\u{202e}x", "Invalid/NameCharacter"),
    (27, "\u{200b}", "Invalid/NameCharacter"),
    (27, "日本", "Invalid/NameCharacter"),
    (27, "🙂", "Invalid/NameCharacter"),
    (28, "\u{fffd}", "Invalid/NameCharacter"),
];

/// Where a name can stand: words in which `NAME` is replaced.
const PLACES: &[&[&str]] = &[
    &["pub", "NAME", "--key", "k", "--type", "T"],
    &["sub", "NAME", "--until-end"],
    &["sub", "NAME", "--group", "g", "--until-end"],
    &["sub", "orders", "--group", "NAME", "--until-end"],
    &["topic", "create", "NAME"],
    &["topic", "update", "NAME", "--retain-records", "1"],
    &["topic", "show", "NAME"],
    &["topic", "delete", "NAME"],
    &["group", "show", "NAME"],
    &["group", "show", "g", "NAME"],
    &["group", "seek", "NAME", "orders", "--to", "earliest"],
    &["group", "delete", "NAME", "orders"],
];

fn shop_with_orders() -> Shop {
    let shop = Shop::new();
    assert_eq!(shop.run("pub orders --key k --type T").code, Some(0));
    shop
}

fn placed<'a>(place: &[&'a str], name: &'a str) -> Vec<&'a str> {
    place.iter().map(|word| if *word == "NAME" { name } else { word }).collect()
}

#[test]
fn a_bad_name_is_refused_wherever_it_stands() {
    let shop = shop_with_orders();
    let long = [(22, "x".repeat(201)), (22, "x".repeat(250)), (23, "x".repeat(5_000))];
    let long = long.iter().map(|(entry, name)| (*entry, name.as_str(), "Invalid/NameTooLong"));
    for (entry, name, code) in BAD.iter().copied().chain(long) {
        for place in PLACES {
            let text = refused_words(entry, &shop, &placed(place, name), Exit::Refused, code);
            let begins = if text.starts_with("group ") { "group" } else { "topic" };
            let is_group =
                place.windows(2).any(|pair| matches!(pair, ["--group" | "seek" | "delete" | "show", "NAME"]))
                    && place[0] != "topic";
            assert_eq!(begins == "group", is_group, "{place:?}: {text}");
            if name.len() > 200 {
                assert!(text.contains(&name.len().to_string()) && text.contains("200"), "both numbers: {text}");
            }
        }
    }
    assert_eq!(shop.run("pub orders --key k --type T").code, Some(0), "the next publish works");
}

#[test]
fn odd_names_that_are_legal_are_topics_and_groups_of_their_own() {
    let shop = shop_with_orders();
    let long = "x".repeat(200);
    let names = [(21, "CON"), (21, "nul"), (22, long.as_str()), (26, "Orders"), (29, "a.b")];
    for (events, (entry, name)) in (2..).zip(names) {
        for version in 1..=events {
            let published = shop.run(&format!("pub {name} --key k --type T --version {version}"));
            assert_eq!(published.code, Some(0), "{entry}: {}", published.stderr);
        }
    }
    for (events, (entry, name)) in (2..).zip(names) {
        assert_eq!(shop.records(name).len(), events, "{entry}: {name} holds its own events alone");
    }
    assert_eq!(shop.records("orders").len(), 1, "26");
    for (entry, group) in [(29, "a.b"), (29, "a_b"), (26, "A.b"), (21, "con")] {
        let read = shop.run(&format!("sub orders --group {group} --until-end --json"));
        assert_eq!((read.code, read.json().len()), (Some(0), 1), "{entry}: group {group} begins by itself");
    }
}

#[test]
fn names_that_collide_are_refused_in_both_directions() {
    let shop = shop_with_orders();
    for (first, second) in [("a.b", "a_b"), ("c_d", "c.d")] {
        assert_eq!(shop.run(&format!("topic create {first}")).code, Some(0));
        for words in [&["topic", "create", second][..], &["pub", second, "--key", "k", "--type", "T"]] {
            refused_words(25, &shop, words, Exit::Refused, "AlreadyExists/CollidingName");
        }
    }
    assert_eq!(Stored::of(&shop).topics, ["a.b", "c_d", "orders"]);
}

#[test]
fn topic_and_group_too_long_together_are_refused() {
    let shop = Shop::new();
    let (topic, group) = ("t".repeat(120), "g".repeat(120));
    assert!(command(&shop, &["topic", "create", &topic]).output().expect("runs").status.success());
    let words = ["sub", &topic, "--group", &group, "--until-end"];
    refused_words(22, &shop, &words, Exit::Refused, "Invalid/NameTooLong");
}
