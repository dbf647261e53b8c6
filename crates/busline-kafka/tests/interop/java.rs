//! The console programs that Kafka brings along.

use std::io::Write;
use std::process::Stdio;

use busline_brokers::kafka::java;

use crate::broker;

/// A heap for a few records, and what starts soonest.
const OPTIONS: [&str; 3] = ["-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"];

/// Stands between key and value; in no key and no value of these tests.
const BETWEEN: char = '|';

/// A record as the console consumer shows it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) partition: u32,
    pub(crate) key: String,
    pub(crate) value: String,
}

/// The topic's first `count` records.
pub(crate) fn console_consumer(topic: &str, count: usize) -> Vec<Shown> {
    let (bootstrap, count) = (broker::bootstrap(), count.to_string());
    let separator = format!("key.separator={BETWEEN}");
    let mut consumer = java(&OPTIONS, "org.apache.kafka.tools.consumer.ConsoleConsumer").expect("it is installed");
    consumer.args(["--bootstrap-server", &bootstrap, "--topic", topic, "--from-beginning"]);
    // Without its own end it would wait for ever for a record that is not there.
    consumer.args(["--max-messages", &count, "--timeout-ms", "60000"]);
    for property in ["print.partition=true", "print.key=true", &separator] {
        consumer.args(["--formatter-property", property]);
    }
    let output = consumer.stderr(Stdio::piped()).output().expect("it starts");
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success(), "{said} {}", String::from_utf8_lossy(&output.stderr));
    said.lines().map(shown).collect()
}

fn shown(line: &str) -> Shown {
    let mut parts = line.splitn(3, BETWEEN);
    let mut next = || parts.next().unwrap_or_else(|| panic!("partition, key and value: {line}"));
    let partition = next().strip_prefix("Partition:").and_then(|number| number.parse().ok()).expect("a partition");
    Shown { partition, key: next().into(), value: next().into() }
}

/// Sends keys and values in this order, idempotent and with all acks as is the default of Java's client.
pub(crate) fn console_producer<'a>(topic: &str, records: impl IntoIterator<Item = (&'a str, &'a str)>) {
    let bootstrap = broker::bootstrap();
    let separator = format!("key.separator={BETWEEN}");
    let mut producer = java(&OPTIONS, "org.apache.kafka.tools.ConsoleProducer").expect("it is installed");
    producer.args(["--bootstrap-server", &bootstrap, "--topic", topic]);
    for property in ["parse.key=true", &separator] {
        producer.args(["--reader-property", property]);
    }
    producer.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut producer = producer.spawn().expect("it starts");
    let mut lines = producer.stdin.take().expect("a pipe");
    for (key, value) in records {
        writeln!(lines, "{key}{BETWEEN}{value}").expect("it reads");
    }
    drop(lines);
    let output = producer.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    // Records that fail are a line of its log and no status.
    assert!(output.status.success() && !said.contains("ERROR"), "{said}");
}
