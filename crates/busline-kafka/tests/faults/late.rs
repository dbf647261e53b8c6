//! A group's coordinator that is found only after the caller has given up.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use busline_core::{Driver, ErrorKind, GroupName, Offset, Partition, Result, TopicName, TopicSpec};
use busline_kafka::{KafkaConfig, KafkaDriver};

use crate::broker;
use crate::broker::proxy::Proxy;

/// Says to the child that it is one, and where the broker is.
const CHILD: &str = "BUSLINE_FAULT_LATE";
const ROUNDS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(1);
/// Longest time until an answer comes once the coordinator can be found.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Longest life of the child.
const LIFE_MAX: Duration = Duration::from_secs(120);

/// The C library has ended the process here, so the asking is done by a child.
#[test]
fn a_coordinator_that_is_found_late_ends_no_process() {
    if let Ok(port) = std::env::var(CHILD) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let asked = async { tokio::time::timeout(LIFE_MAX, ask_in_vain(port.parse().expect("a port"))).await };
        let asked = runtime.block_on(asked);
        // Nothing that hangs in the library may keep this process.
        runtime.shutdown_background();
        return asked.expect("answers");
    }
    let status = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "late::a_coordinator_that_is_found_late_ends_no_process", "--nocapture"])
        .env(CHILD, broker::port().to_string())
        .stdin(Stdio::null())
        .status()
        .expect("a child");
    assert!(status.success(), "{status}");
}

/// Each question in each round: the first caller has given up when the coordinator can be found, later ones are answered.
async fn ask_in_vain(port: u16) {
    let proxy = Proxy::start(port).expect("a proxy");
    let patient = KafkaConfig::new([proxy.bootstrap()]);
    let impatient = KafkaConfig { patience: PATIENCE, ..patient.clone() };
    let driver = KafkaDriver::open(patient).await.expect("the broker answers");
    let topic: TopicName = format!("conformance-late-{:x}", std::process::id()).parse().expect("legal");
    driver.create_topic(&topic, &TopicSpec::default()).await.expect("made");
    close(&driver).await;
    let driver = KafkaDriver::open(impatient).await.expect("the broker answers");
    for question in [Question::Members, Question::Committed, Question::Move, Question::Delete] {
        for round in 0..ROUNDS {
            let group: GroupName = format!("{question:?}-{round}").parse().expect("legal");
            proxy.hide_coordinators(true);
            let late = async {
                let late = question.ask(&driver, &group, &topic).await;
                proxy.hide_coordinators(false);
                late
            };
            // It still waits when the first one is given up, and mostly is told in time.
            let later = async {
                tokio::time::sleep(PATIENCE / 2).await;
                question.ask(&driver, &group, &topic).await
            };
            let (late, _) = tokio::join!(late, later);
            let late = late.expect_err("nobody knew the coordinator");
            assert_eq!(late.code(), "Unavailable/NoAnswer", "{question:?}: {late}");
            answered(question, &driver, &group, &topic).await;
        }
    }
    close(&driver).await;
}

async fn close(driver: &KafkaDriver) {
    driver.close(tokio::time::Instant::now() + Duration::from_secs(10)).await.expect("closes");
}

async fn answered(question: Question, driver: &KafkaDriver, group: &GroupName, topic: &TopicName) {
    let began = Instant::now();
    while let Err(error) = question.ask(driver, group, topic).await {
        if error.kind() == ErrorKind::NotFound {
            return;
        }
        assert!(began.elapsed() < ANSWER_MAX, "{question:?}: {error}");
    }
}

/// What is asked of a group's coordinator.
#[derive(Debug, Clone, Copy)]
enum Question {
    Members,
    Committed,
    Move,
    Delete,
}

impl Question {
    async fn ask(self, driver: &KafkaDriver, group: &GroupName, topic: &TopicName) -> Result<()> {
        match self {
            Self::Members => driver.members(group, topic).await.map(drop),
            Self::Committed => driver.committed(group, topic).await.map(drop),
            Self::Move => driver.move_committed(group, topic, &[(Partition(0), Offset(0))]).await,
            Self::Delete => driver.delete_group(group, topic).await,
        }
    }
}
