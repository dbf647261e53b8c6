//! `busline topic`, `doctor`, `completions` and `man`, and what is refused before a command runs.

use crate::harness::Shop;
use serde_json::json;

#[test]
fn topics_are_created_shown_listed_and_deleted() {
    let shop = Shop::new();
    assert_eq!(shop.run("topic list").stdout, "");
    assert!(!shop.path("busline.db").exists(), "listing makes no file");
    let made = shop.run("topic create orders --partitions 2");
    assert_eq!(
        (made.code, made.stdout.as_str()),
        (Some(0), "orders  2 partitions, 1 replicas, retention none\n"),
        "{}",
        made.stderr
    );
    assert_eq!(shop.run("topic create a.b --json").json()[0]["partitions"], 4);
    assert_eq!(shop.run("pub orders --key a --type T").code, Some(0));
    assert_eq!(
        shop.run("topic list").stdout,
        "a.b  4 partitions, 1 replicas, retention none\norders  2 partitions, 1 replicas, retention none\n"
    );
    let contents = shop.run("topic show orders --json").json().remove(0)["contents"].clone();
    assert_eq!(contents, json!([{"partition": 0, "start": 0, "end": 1}, {"partition": 1, "start": 0, "end": 0}]));
    assert_eq!(
        shop.run("topic delete orders --dry-run").stdout,
        "would delete orders\n  partition 0  offsets 0 to 1\n  partition 1  offsets 0 to 0 (empty)\n"
    );
    assert_eq!(shop.run("topic show orders").code, Some(0), "a dry run deletes nothing");
    assert_eq!(shop.run("topic delete orders --json").json()[0]["deleted"], true);
    let gone = shop.run("topic show orders");
    assert_eq!(gone.code, Some(1));
    assert!(gone.stderr.contains("NotFound/Topic"), "{}", gone.stderr);
}

#[test]
fn limits_of_retention_are_set_shown_and_kept() {
    let shop = Shop::new();
    let made =
        shop.run("topic create clicks --partitions 1 --retain-age 3600 --retain-bytes 1000000 --retain-records 3");
    let shown = "clicks  1 partitions, 1 replicas, retention age 3600s, 1000000 bytes, 3 records\n";
    assert_eq!((made.code, made.stdout.as_str()), (Some(0), shown), "{}", made.stderr);
    let limits = |line: &str| {
        let topic = shop.run(line).json().remove(0);
        ["retain_age_ms", "retain_bytes", "retain_records"].map(|limit| topic[limit].clone())
    };
    assert_eq!(limits("topic show clicks --json"), [json!(3_600_000), json!(1_000_000), json!(3)]);
    assert_eq!(limits("topic create all --json"), [json!(null), json!(null), json!(null)]);
    for number in 0..5 {
        assert_eq!(shop.run("pub clicks --key a --type T").code, Some(0));
        if number == 0 {
            let read = shop.run("sub clicks --group slow --count 1");
            assert_eq!(read.code, Some(0), "{}", read.stderr);
        }
    }
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let group = loop {
        let topic = shop.run("topic show clicks --json").json().remove(0);
        if topic["contents"] == json!([{"partition": 0, "start": 2, "end": 5}]) {
            break topic["groups"][0].clone();
        }
        assert!(std::time::Instant::now() < end, "{topic}");
    };
    assert_eq!((&group["lag"], &group["deleted_unread"]), (&json!(3), &json!(1)));
    let headline = "slow  topic clicks  0 members  lag 3  deleted unread 1";
    for line in ["group show slow", "topic show clicks"] {
        let ran = shop.run(line);
        assert!(ran.stdout.contains(headline), "{line}: {}", ran.stdout);
    }
    let read = shop.run("sub clicks --group slow --until-end");
    assert!(read.stderr.contains("clicks/0: offset 1 is missing\n"), "{}", read.stderr);
    let doctor = shop.run("doctor");
    let loss = "group slow on clicks: 1 records were deleted before it had finished them";
    assert!(doctor.code == Some(0) && doctor.stdout.contains(loss), "{}", doctor.stdout);
}

#[test]
fn a_topic_is_changed_where_it_can_be() {
    let shop = Shop::new();
    assert_eq!(shop.run("topic create clicks --partitions 1 --retain-age 3600").code, Some(0));
    for _ in 0..5 {
        assert_eq!(shop.run("pub clicks --key a --type T").code, Some(0));
    }
    let change = "topic update clicks --retain-age none --retain-records 3 --partitions 1";
    let text = "retention: is age 3600s, wanted 3 records";
    let dry = shop.run(&format!("{change} --dry-run"));
    assert_eq!((dry.code, dry.stdout), (Some(0), format!("would update clicks\n  {text}\n")), "{}", dry.stderr);
    assert_eq!(shop.run("topic show clicks --json").json()[0]["retain_age_ms"], 3_600_000, "a dry run changes nothing");
    let changed = shop.run(&format!("{change} --json")).json().remove(0);
    assert_eq!((&changed["updated"], &changed["changes"]), (&json!(true), &json!([text])));
    assert_eq!((&changed["retain_age_ms"], &changed["retain_records"]), (&json!(null), &json!(3)));
    let again = shop.run(change);
    assert_eq!((again.code, again.stdout.as_str()), (Some(0), "nothing to change: clicks\n"));
    // What the new limit says is done by whoever has the bus open.
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while shop.run("topic show clicks --json").json()[0]["contents"][0]["start"] != 2 {
        assert!(std::time::Instant::now() < end, "{}", shop.run("topic show clicks").stdout);
    }
}

#[test]
fn topics_that_cannot_be_are_named() {
    let shop = Shop::new();
    assert_eq!(shop.run("topic create a_b").code, Some(0));
    for (line, code) in [
        ("topic create a_b", "AlreadyExists/Topic"),
        ("topic create a.b", "AlreadyExists/CollidingName"),
        ("topic create x --partitions 0", "Invalid/Range"),
        ("topic create x --partitions 1025", "Invalid/Range"),
        ("topic create x --retain-records 0", "Invalid/Range"),
        ("topic create __x", "Invalid/ReservedName"),
        ("topic delete x", "NotFound/Topic"),
        ("topic update x --retain-records 1", "NotFound/Topic"),
        ("topic update a_b --partitions 8", "Invalid/PartitionCount"),
        ("topic update a_b --partitions 8 --dry-run", "Invalid/PartitionCount"),
        ("topic update a_b --replicas 3", "Unsupported/Replicas"),
        ("topic update a_b --replicas 0", "Invalid/Range"),
        ("topic update a_b --retain-age 0.00001", "Invalid/Range"),
    ] {
        let ran = shop.run(line);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{line}");
        assert!(ran.stderr.contains(code), "{line}: {}", ran.stderr);
    }
}

#[test]
fn wrong_usage_is_2_and_names_the_nearest() {
    let shop = Shop::new();
    for (line, says) in [
        ("pub orders --flie x", "usage: Invalid/UnknownFlag: no flag '--flie'; did you mean --file?"),
        ("subb orders", "usage: Invalid/UnknownCommand: no command 'subb'; did you mean sub?"),
        ("sub orders --count 1 --count 2", "usage: Invalid/RepeatedFlag: --count <N> is given twice; give it once"),
        ("--json sub orders --json", "usage: Invalid/RepeatedFlag: --json is given twice; give it once"),
        ("sub", "usage: Invalid/MissingArgument: <TOPIC> is missing; give it, as --help shows"),
        (
            "pub orders",
            "usage: Invalid/MissingArgument: --file <FILE> or --key <KEY> is missing; give it, as --help shows",
        ),
        ("sub orders --count -1", "usage: Invalid/Value: '-1' for --count <N>; use a whole number"),
        ("sub orders --count many", "usage: Invalid/Value: 'many' for --count <N>; use a whole number"),
        (
            "pub orders --file x --key k --type T",
            "usage: Invalid/Contradiction: --file <FILE> does not go with --key <KEY>, --type <TYPE>; leave one of them out",
        ),
    ] {
        let ran = shop.run(line);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{line}");
        assert_eq!(ran.stderr, format!("busline: {says}\n"), "{line}");
    }
}

#[test]
fn flags_for_all_commands_stand_on_either_side() {
    let shop = Shop::new();
    for line in ["--bus sqlite:x.db --json topic create a", "topic create b --bus sqlite:x.db --json"] {
        assert_eq!(shop.run(line).json()[0]["partitions"], 4, "{line}");
    }
    let empty = shop.command("topic list").env("BUSLINE_URL", "").output().expect("runs");
    assert_eq!(empty.status.code(), Some(0), "empty counts as not set: {}", String::from_utf8_lossy(&empty.stderr));
    let listed = shop.command("topic list").env("BUSLINE_URL", "sqlite:x.db").output().expect("runs");
    assert_eq!(String::from_utf8_lossy(&listed.stdout).lines().count(), 2);
}

#[test]
fn a_bad_url_is_named_and_its_secret_is_not_shown() {
    let shop = Shop::new();
    let kafka = if cfg!(feature = "kafka") { "Invalid/Url" } else { "Unsupported/Feature" };
    for (url, code) in [
        ("nats://shop:hunter2@localhost:1", "Unavailable/Server"),
        ("kafka://shop:hunter2@localhost", kafka),
        ("http://shop:hunter2@localhost", "Invalid/UrlScheme"),
        ("hunter2", "Invalid/UrlScheme"),
        ("sqlite://hunter2@x.db", "Invalid/Url"),
        ("sqlite:no/folder/x.db", "NotFound/Folder"),
        ("sqlite:.", "Invalid/"),
    ] {
        for line in ["topic list", "sub orders", "pub orders --key k --type T"] {
            let ran = shop.command(line).env("BUSLINE_URL", url).output().expect("runs");
            let stderr = String::from_utf8_lossy(&ran.stderr);
            assert_eq!(ran.status.code(), Some(1), "{url} {line}");
            assert!(stderr.contains(code) && !stderr.contains("hunter2"), "{url}: {stderr}");
        }
        for line in ["doctor", "--help"] {
            let ran = shop.command(line).env("BUSLINE_URL", url).output().expect("runs");
            let text = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
            assert!(!text.contains("hunter2") || url.starts_with("sqlite"), "{url} {line}: {text}");
        }
    }
    let ran = shop.run("topic list --bus nats://shop:hunter2@localhost");
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("Invalid/SecretInArguments") && !ran.stderr.contains("hunter2"), "{}", ran.stderr);
}

#[test]
fn what_is_no_file_of_ours_is_refused_by_name() {
    let shop = Shop::new();
    shop.file("text", "no database at all, but long enough to be read as one ".repeat(100));
    std::os::unix::fs::symlink(shop.path("text"), shop.path("link")).expect("link");
    std::fs::create_dir(shop.path("folder")).expect("folder");
    for (name, code) in
        [("text", "Invalid/NotABuslineFile"), ("link", "Denied/Symlink"), ("folder", "Invalid/NotARegularFile")]
    {
        for command in ["topic list", "doctor"] {
            let ran = shop.run(&format!("{command} --bus sqlite:{name}"));
            assert_eq!(ran.code, Some(1), "{name}");
            assert!(format!("{}{}", ran.stdout, ran.stderr).contains(code), "{name}: {}{}", ran.stdout, ran.stderr);
        }
    }
}

#[test]
fn doctor_reports_checks_capabilities_and_limits() {
    let shop = Shop::new();
    let early = shop.run("doctor --json").json().remove(0);
    assert_eq!((&early["healthy"], &early["capabilities"]), (&json!(true), &json!(null)));
    assert!(!shop.path("busline.db").exists(), "doctor makes no file");
    assert_eq!(shop.run("pub orders --key k --type T").code, Some(0));
    let report = shop.run("doctor --json").json().remove(0);
    assert_eq!((&report["bus"], &report["healthy"]), (&json!("sqlite:busline.db"), &json!(true)));
    assert_eq!(report["capabilities"]["backend"], "sqlite");
    let limits = report["limits"].as_array().expect("limits");
    assert!(limits.iter().all(|limit| limit["unit"].is_string() && limit.get("default").is_some()));
    assert!(
        limits.contains(
            &json!({"of": "publisher", "name": "window_envelopes_max", "default": 8192, "unit": "envelopes"})
        )
    );
    let named = |of: &str, name: &str| limits.iter().any(|limit| limit["of"] == of && limit["name"] == name);
    for (of, name) in [
        ("group", "parked_keys_max"),
        ("parked replay", "concurrency"),
        ("parked replay", "rate"),
        ("parked replay", "handler_timeout"),
        #[cfg(feature = "nats")]
        ("nats", "servers_max"),
        #[cfg(feature = "kafka")]
        ("kafka", "patience"),
    ] {
        assert!(named(of, name), "{of} {name}: {limits:?}");
    }
    let text = shop.run("doctor").stdout;
    assert!(text.contains("  ok    topic            orders: 1 offsets\n"), "{text}");
}

#[test]
fn help_manual_and_completions_come_from_one_table() {
    let shop = Shop::new();
    for (line, part) in [
        ("man", ".TH busline 1"),
        ("man topic create", "busline\\-topic\\-create"),
        ("completions bash", "_busline()"),
        ("completions zsh", "#compdef busline"),
        ("--version", "busline 0."),
    ] {
        let ran = shop.run(line);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{line}");
        assert!(ran.stdout.contains(part), "{line}: {}", ran.stdout);
    }
    assert_eq!(shop.run("man nothing").code, Some(1));
    let none = shop.run("");
    assert_eq!((none.code, none.stdout.as_str()), (Some(2), ""));
}

#[test]
fn bench_tells_its_own_default_of_the_bus() {
    let shop = Shop::new();
    for line in ["bench --help", "bench -h", "man bench"] {
        let text = shop.run(line).stdout.replace("\\-", "-");
        assert!(text.contains("a temporary SQLite file for each run"), "{line}: {text}");
        assert!(!text.contains("sqlite:busline.db"), "{line}: {text}");
    }
    assert!(shop.run("topic list --help").stdout.contains("[default: sqlite:busline.db]"));
}

#[test]
fn the_help_is_the_manual() {
    let shop = Shop::new();
    for (name, line) in [
        ("busline", "--help"),
        ("pub", "pub --help"),
        ("sub", "sub --help"),
        ("topic", "topic --help"),
        ("topic_create", "topic create --help"),
        ("topic_update", "topic update --help"),
        ("doctor", "doctor --help"),
        ("canary", "canary --help"),
    ] {
        let ran = shop.run(line);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{line}");
        insta::assert_snapshot!(name, ran.stdout);
    }
}
