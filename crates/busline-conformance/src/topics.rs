//! T1 and T2: names are checked once, and topics come to exist only as was said.

use std::time::Duration;

use busline_core::{Provision, Retention, TopicName, TopicSpec};

use crate::envelopes::{accept, acked, envelope, outcome, refused};
use crate::harness::Harness;
use crate::stage::{Stage, fresh_topic};

/// Bad names are refused with their reason before anything reaches the backend; the next publish works.
pub async fn bad_names_are_refused_with_their_reason(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    for (entry, code, name) in bad_names() {
        let of_topic = refused(stage.bus.publisher(&name).open().await, code);
        let of_group = stage.bus.subscribe(&stage.topic, &name).handle(|_| std::future::ready(Ok(()))).await;
        for error in [of_topic, refused(of_group, code)] {
            crate::assert_told(&error.to_string(), code);
            let character = name.chars().find(|character| !character.is_ascii());
            let shown = character.is_none_or(|it| error.to_string().contains(&it.escape_unicode().to_string()));
            assert!(shown, "{entry}: what is not ASCII is shown as an escape: {error}");
        }
    }
    assert!(stage.driver().topics().await.expect("topics").is_empty() || harness_is_shared(&stage).await);
    acked(accept(&stage.publisher().await, envelope("k", 1))).await;
    stage.close().await;
}

/// Whether other cases use the same backend, so that there are topics that this one did not make.
async fn harness_is_shared(stage: &Stage) -> bool {
    let topics = stage.driver().topics().await.expect("topics");
    topics.iter().all(|topic| topic.name.as_str().starts_with("conformance-"))
}

/// Each with its entry in the list of bad inputs.
fn bad_names() -> impl Iterator<Item = (u32, &'static str, String)> {
    let short = [
        (1, "Invalid/EmptyName", ""),
        (2, "Invalid/NameCharacter", " "),
        (3, "Invalid/NameCharacter", "a b"),
        (4, "Invalid/NameCharacter", "\ta"),
        (4, "Invalid/NameCharacter", "a\tb"),
        (4, "Invalid/NameCharacter", "a\t"),
        (5, "Invalid/NameCharacter", "a\r\nPUB x 0"),
        (6, "Invalid/NameCharacter", "a\0b"),
        (7, "Invalid/NameCharacter", "*"),
        (8, "Invalid/NameCharacter", ">"),
        (9, "Invalid/NameCharacter", "a.*"),
        (10, "Invalid/NameCharacter", "a.>"),
        (11, "Invalid/EmptyToken", ".a"),
        (12, "Invalid/EmptyToken", "a."),
        (13, "Invalid/EmptyToken", "a..b"),
        (14, "Invalid/NameCharacter", "$SYS.x"),
        (14, "Invalid/NameCharacter", "$JS.API.STREAM.DELETE.S"),
        (14, "Invalid/ReservedName", "_INBOX.x"),
        (14, "Invalid/ReservedName", "_INBOX"),
        (15, "Invalid/ReservedName", "__consumer_offsets"),
        (15, "Invalid/ReservedName", "__parked.a..g"),
        (15, "Invalid/ReservedName", "__x"),
        (16, "Invalid/EmptyToken", "."),
        (16, "Invalid/EmptyToken", ".."),
        (17, "Invalid/NameCharacter", "../../etc/passwd"),
        (18, "Invalid/NameCharacter", "/abs"),
        (19, "Invalid/NameCharacter", "a/../b"),
        (20, "Invalid/NameCharacter", "a\\b"),
        (21, "Invalid/EmptyToken", "con."),
        (21, "Invalid/NameCharacter", "con "),
        (27, "Invalid/NameCharacter", "e\u{301}"),
        (27, "Invalid/NameCharacter", "\u{e9}"),
        (27, "Invalid/NameCharacter", "\u{202e}"),
        (27, "Invalid/NameCharacter", "\u{200b}"),
        (27, "Invalid/NameCharacter", "日本"),
        (27, "Invalid/NameCharacter", "한국"),
        (27, "Invalid/NameCharacter", "🙂"),
        (28, "Invalid/NameCharacter", "\u{fffd}"),
        (30, "Invalid/EmptyToken", "t1...t2"),
    ];
    let long = [(22, 201), (22, 250), (23, 5_000)];
    let long = long.map(|(entry, length)| (entry, "Invalid/NameTooLong", "x".repeat(length)));
    short.into_iter().map(|(entry, code, name)| (entry, code, name.to_string())).chain(long)
}

/// Names of every legal shape are topics of their own, those that differ only in case among them.
pub async fn legal_names_are_topics_of_their_own(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    let base = fresh_topic();
    let long = format!("{base}{}", "x".repeat(200 - base.len()));
    let names = [format!("{base}.a-b.c9"), format!("{base}-Orders"), format!("{base}-orders"), long];
    for (place, name) in names.iter().enumerate() {
        let publisher = stage.bus.publisher(name).open().await.expect("a legal name");
        for version in 0..=place as u64 {
            acked(accept(&publisher, envelope("k", version + 1))).await;
        }
    }
    for (place, name) in names.iter().enumerate() {
        let name = TopicName::new(name).expect("legal");
        let stored = crate::stored::Stored::read(&**stage.driver(), &name).await;
        assert_eq!(stored.len(), place + 1, "{name} holds what was published to it and nothing else");
    }
    let listed: Vec<_> = stage.driver().topics().await.expect("topics").into_iter().map(|info| info.name).collect();
    assert!(listed.is_sorted(), "topics are listed by name: {listed:?}");
    assert!(names.iter().all(|name| listed.iter().any(|listed| listed.as_str() == name)), "each is listed: {listed:?}");
    stage.close().await;
}

/// A name that metrics cannot tell from an existing one is refused.
pub async fn names_that_collide_are_refused(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    let base = fresh_topic();
    for (first, second) in [(format!("{base}.a"), format!("{base}_a")), (format!("{base}_b"), format!("{base}.b"))] {
        let publisher = stage.bus.publisher(&first).open().await.expect("the first of two");
        refused(stage.bus.publisher(&second).open().await, "AlreadyExists/CollidingName");
        acked(accept(&publisher, envelope("k", 1))).await;
    }
    stage.close().await;
}

/// Create-only makes a missing topic from its spec and takes an existing one as it is; skip and validate make none.
pub async fn a_missing_topic_is_made_only_when_told(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    let spec = TopicSpec { partitions: 3, ..TopicSpec::default() };
    refused(stage.builder().provision(Provision::Skip).open().await, "NotFound/Topic");
    refused(stage.builder().provision(Provision::Validate(spec.clone())).open().await, "NotFound/Topic");
    refused(stage.driver().topic(&stage.name()).await, "NotFound/Topic");

    let made = stage.builder().provision(Provision::CreateOnly(spec.clone())).open().await.expect("made");
    assert_eq!(made.topic().spec, spec, "made from its spec");
    let other = Provision::CreateOnly(TopicSpec { partitions: 5, ..TopicSpec::default() });
    let found = stage.builder().provision(other).open().await.expect("found");
    assert_eq!(found.topic(), made.topic(), "an existing topic is taken as it is");
    stage.builder().provision(Provision::Skip).open().await.expect("it exists");
    stage.builder().provision(Provision::Validate(spec)).open().await.expect("it is as wanted");
    refused(stage.driver().create_topic(&stage.name(), &TopicSpec::default()).await, "AlreadyExists/Topic");
    stage.close().await;
}

/// The default makes a missing topic of 4 partitions, without a limit of retention, in one copy.
pub async fn the_default_topic_has_four_partitions_and_no_retention(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    let info = stage.publisher().await.topic().clone();
    assert_eq!(info.spec, TopicSpec { partitions: 4, replicas: 1, retention: Retention::default(), streams: 1 });
    stage.close().await;
}

/// Validate names every field that differs, with both values.
pub async fn mismatches_are_listed_field_by_field(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    drop(stage.publisher().await);
    let retention = Retention { records_max: Some(1_000_000), ..Retention::default() };
    let wanted = TopicSpec { partitions: 8, replicas: 3, retention, streams: 1 };
    let error = refused(stage.builder().provision(Provision::Validate(wanted)).open().await, "Invalid/TopicMismatch");
    let text = error.to_string();
    for field in
        ["partitions: is 4, wanted 8", "replicas: is 1, wanted 3", "retention: is none, wanted 1000000 records"]
    {
        assert!(text.contains(field), "the error lists '{field}': {text}");
    }
    stage.close().await;
}

/// Create-or-update changes what may change, and never the partition count.
pub async fn an_update_never_changes_the_partition_count(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    let publisher = stage.publisher().await;
    acked(accept(&publisher, envelope("k", 1))).await;
    let before = publisher.topic().clone();
    let more = TopicSpec { partitions: 8, ..TopicSpec::default() };
    refused(stage.builder().provision(Provision::CreateOrUpdate(more)).open().await, "Invalid/PartitionCount");
    assert_eq!(stage.driver().topic(&stage.name()).await.expect("exists"), before, "a refused update changes nothing");

    let retention = Retention { age_max: Some(Duration::from_secs(86_400)), ..Retention::default() };
    let longer = TopicSpec { retention, ..TopicSpec::default() };
    match stage.builder().provision(Provision::CreateOrUpdate(longer.clone())).open().await {
        Ok(updated) => {
            assert_eq!(updated.topic().spec, longer, "what was asked for, or Unsupported");
            let found = stage.driver().topic(&stage.name()).await.expect("exists");
            assert_eq!(&found, updated.topic());
            assert_eq!(found.incarnation, before.incarnation, "a changed topic is the same topic");
        }
        Err(error) => assert_eq!(error.kind(), busline_core::ErrorKind::Unsupported, "{error}"),
    }
    assert_eq!(stage.stored().await.len(), 1, "an update keeps the records");
    stage.close().await;
}

/// A spec out of its range is refused with the field and the range.
pub async fn a_spec_out_of_range_is_refused(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    for partitions in [0, 1_025, u32::MAX] {
        let spec = TopicSpec { partitions, ..TopicSpec::default() };
        refused(stage.builder().provision(Provision::CreateOnly(spec)).open().await, "Invalid/Range");
    }
    let spec = TopicSpec { replicas: 0, ..TopicSpec::default() };
    refused(stage.builder().provision(Provision::CreateOnly(spec)).open().await, "Invalid/Range");
    stage.close().await;
}

/// A topic that was deleted is gone; one made again under its name is another one, and its old publisher is refused.
pub async fn a_topic_made_again_is_another_one(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    let publisher = stage.builder().on_failure(drop).open().await.expect("opens");
    acked(accept(&publisher, envelope("k", 1))).await;
    let name = stage.name();
    let before = publisher.topic().clone();
    stage.driver().delete_topic(&name).await.expect("deleted");
    refused(stage.driver().topic(&name).await, "NotFound/Topic");
    refused(stage.driver().delete_topic(&name).await, "NotFound/Topic");
    let error = outcome(accept(&publisher, envelope("k", 2))).await.expect_err("its topic is gone");
    assert_eq!(error.code(), "NotFound/Topic", "{error}");
    assert!(error.is_definite(), "nothing can be stored in a topic that does not exist: {error}");

    let again = stage.publisher().await;
    assert_ne!(again.topic().incarnation, before.incarnation, "a new topic has an incarnation of its own");
    assert_eq!(stage.stored().await.len(), 0, "a new topic is empty");
    let error = outcome(accept(&publisher, envelope("k", 3))).await.expect_err("its topic is gone for good");
    assert!(error.is_definite(), "a publisher of the old topic must not write to the new one: {error}");
    acked(accept(&again, envelope("k", 1))).await;
    assert_eq!(stage.stored().await.len(), 1);
    stage.close().await;
}
