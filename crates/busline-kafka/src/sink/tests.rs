//! What a publisher says of each answer that a broker can give, and whether the log agrees.
//!
//! # Source
//! Promises P1, P2, P4 and P5; the mock of the C library, which stores nothing of a request that it refuses.

use std::time::Duration;

use busline_core::{Ack, Envelope, Positions, Result, decode, partition_of};
use bytes::Bytes;
use rdkafka::types::RDKafkaRespErr as Code;

use super::mocked::{self, Mocked, TOPIC};

const DEADLINE: Duration = Duration::from_secs(20);
const SOON: Duration = Duration::from_secs(10);
const EVENTS: u64 = 6;

/// How a publish ended, as a row of the table wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Acked, at this offset if it is known.
    Acked(Option<u64>),
    /// Certainly not stored, by kind and reason.
    Failed(&'static str),
    /// Perhaps stored.
    Open,
}

fn ending(outcome: &Result<Ack>) -> std::result::Result<Option<u64>, (bool, String)> {
    match outcome {
        Ok(ack) => Ok(ack.offset.map(|offset| offset.0)),
        Err(error) => Err((error.is_definite(), error.code())),
    }
}

/// How six envelopes of two keys are published.
#[derive(Debug, Clone, Copy)]
struct Way {
    partitions: u32,
    positions: Positions,
    deadline: Duration,
    /// Each is awaited before the next. The mock does not refuse the successors of a hole as brokers do, and the client
    /// takes the ack of a successor for that of everything before it.
    is_one_by_one: bool,
}

impl Default for Way {
    fn default() -> Self {
        Self { partitions: 1, positions: Positions::Any, deadline: DEADLINE, is_one_by_one: false }
    }
}

/// Publishes while the broker answers the first requests with these codes; gives the outcomes and the ids that stand in
/// the log then.
async fn publish(codes: &[Code], way: Way) -> (Vec<Result<Ack>>, Vec<String>) {
    let Way { partitions, positions, deadline, is_one_by_one } = way;
    let mocked = Mocked::start();
    let bus = mocked.bus(partitions, positions).await;
    let publisher = bus.publisher(TOPIC).deadline(deadline).open().await.expect("a publisher");
    mocked.refuse(codes);
    let envelopes = (0..EVENTS).map(|number| {
        let mut envelope = Envelope::new(format!("key-{}", number % 2), "Happened", number / 2 + 1);
        envelope.id = format!("id-{number}");
        envelope
    });
    let outcomes = if is_one_by_one {
        let mut outcomes = Vec::new();
        for envelope in envelopes {
            outcomes.push(publisher.publish_sync(envelope).await);
        }
        outcomes
    } else {
        publisher.publish_batch(envelopes.collect()).await.expect("outcomes")
    };
    mocked.refuse_no_more();
    publisher.close(SOON).await;
    bus.close(SOON).await.expect("closed");
    let bootstrap = mocked.bootstrap();
    let stored = tokio::task::spawn_blocking(move || mocked::stored(&bootstrap)).await.expect("read");
    (outcomes, stored.into_iter().map(id).collect())
}

fn id(body: Vec<u8>) -> String {
    decode(&Bytes::from(body), String::new).expect("an envelope").id
}

/// Acked is stored once and in order, failed is not stored, and nothing behind a record that is not acked is.
fn judge(outcomes: &[Result<Ack>], stored: &[String]) {
    let place = |id: &String| stored.iter().position(|found| found == id);
    let mut last: [Option<usize>; 2] = [None; 2];
    for (number, outcome) in outcomes.iter().enumerate() {
        let (id, key) = (format!("id-{number}"), number % 2);
        let count = stored.iter().filter(|found| **found == id).count();
        assert!(count <= 1, "{id} stands twice: {stored:?}");
        match outcome {
            Ok(_) => assert_eq!(count, 1, "{id} was acked: {stored:?}"),
            Err(error) if error.is_definite() => assert_eq!(count, 0, "{id} {error}: {stored:?}"),
            Err(_) => {}
        }
        let earlier = (0..number).filter(|earlier| earlier % 2 == key);
        for earlier in earlier.filter(|_| outcome.is_ok()) {
            assert!(outcomes[earlier].is_ok(), "{id} was acked behind {earlier}: {:?}", outcomes[earlier]);
        }
        if let Some(found) = place(&id) {
            assert!(last[key].is_none_or(|last| last < found), "{id} is out of order: {stored:?}");
            last[key] = Some(found);
        }
    }
}

async fn check(codes: &[Code], way: Way, expected: Ending) {
    let (outcomes, stored) = publish(codes, way).await;
    judge(&outcomes, &stored);
    check_first(codes, &outcomes, expected);
}

#[track_caller]
fn check_first(codes: &[Code], outcomes: &[Result<Ack>], expected: Ending) {
    let first = ending(&outcomes[0]);
    let is_it = match (&first, expected) {
        (Ok(offset), Ending::Acked(wanted)) => *offset == wanted,
        (Err((true, code)), Ending::Failed(wanted)) => code == wanted,
        (Err((false, _)), Ending::Open) => true,
        _ => false,
    };
    assert!(is_it, "{:?}…: {first:?} instead of {expected:?}", &codes[..1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_passes_is_sent_again_by_the_client_and_acked() {
    for code in [
        Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
        Code::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        Code::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        Code::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        Code::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        Code::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
        Code::RD_KAFKA_RESP_ERR__TRANSPORT,
    ] {
        check(&[code, code], Way { is_one_by_one: true, ..Way::default() }, Ending::Acked(Some(0))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_producer_id_is_asked_for_again() {
    for code in [Code::RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID, Code::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH] {
        check(&[code], Way { is_one_by_one: true, ..Way::default() }, Ending::Acked(Some(0))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_knew_already_is_acked_without_a_position() {
    let codes = [Code::RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER];
    // The log cannot agree: the mock says that it knows what it has never seen.
    let (outcomes, _) = publish(&codes, Way::default()).await;
    check_first(&codes, &outcomes, Ending::Acked(None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_required_position_that_is_not_found_is_not_invented() {
    let codes = [Code::RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER];
    let way = Way { positions: Positions::Required, deadline: Duration::from_secs(3), ..Way::default() };
    let (outcomes, _) = publish(&codes, way).await;
    check_first(&codes, &outcomes, Ending::Open);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_sequence_leaves_open_what_was_sent_with_it() {
    let codes = [Code::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER];
    check(&codes, Way { deadline: Duration::from_secs(4), ..Way::default() }, Ending::Open).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forbidden_has_failed() {
    check(&[Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED; 20], Way::default(), Ending::Failed("Denied/Topic"))
        .await;
    check(
        &[Code::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED; 20],
        Way::default(),
        Ending::Failed("Denied/Cluster"),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_refused_alone_too_has_failed() {
    for (code, expected) in [
        (Code::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, "TooLarge/Record"),
        (Code::RD_KAFKA_RESP_ERR_INVALID_RECORD, "Invalid/Record"),
        (Code::RD_KAFKA_RESP_ERR_INVALID_REQUIRED_ACKS, "Internal/Broker"),
    ] {
        check(&[code; 50], Way::default(), Ending::Failed(expected)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_neighbours_of_a_refused_record_are_sent_again_and_acked() {
    check(&[Code::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE], Way::default(), Ending::Acked(Some(0))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_clients_hands_at_the_deadline_is_open() {
    for code in [Code::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, Code::RD_KAFKA_RESP_ERR__TRANSPORT] {
        let codes = vec![code; 10_000];
        check(&codes, Way { deadline: Duration::from_secs(2), ..Way::default() }, Ending::Open).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_the_broker_has_not_was_never_written_to() {
    let way = Way { partitions: 8, deadline: Duration::from_secs(2), ..Way::default() };
    let (outcomes, stored) = publish(&[], way).await;
    judge(&outcomes, &stored);
    let outside = (0..EVENTS).zip(&outcomes).filter(|(number, _)| {
        let key = format!("key-{}", number % 2);
        partition_of(key.as_bytes(), way.partitions).0 > 0
    });
    let errors: Vec<_> = outside.map(|(_, outcome)| ending(outcome)).collect();
    assert!(!errors.is_empty(), "no key lies behind the first partition");
    assert!(errors.iter().all(|error| matches!(error, Err((true, _)))), "{errors:?}");
}
