//! A Kafka broker of a test's own, through its whole life.

use busline_brokers::kafka::{Cluster, Options, Server, java};

/// Runs a tool of Kafka and gives what it printed.
fn tool(main: &str, arguments: &[&str]) -> String {
    let mut tool = java(&["-Xmx128m", "-XX:TieredStopAtLevel=1"], main).expect("it is installed");
    let output = tool.args(arguments).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{main}: {said} {}", String::from_utf8_lossy(&output.stderr));
    said
}

#[test]
fn a_broker_keeps_its_topics_over_a_kill() {
    let server = Server::start(&Options::default()).expect("a broker starts");
    assert_eq!(server.brokers().expect("it answers"), [1]);
    let topics = "org.apache.kafka.tools.TopicCommand";
    let bootstrap = server.bootstrap();
    tool(topics, &["--bootstrap-server", &bootstrap, "--create", "--topic", "orders", "--partitions", "3"]);
    server.kill().expect("it is killed");
    assert!(server.brokers().is_err());
    server.start_again().expect("it starts again");
    let listed = tool(topics, &["--bootstrap-server", &bootstrap, "--list"]);
    assert_eq!(listed.trim(), "orders");
    let folder = server.log().parent().expect("it has a folder").to_path_buf();
    drop(server);
    assert!(!folder.exists());
}

#[test]
fn three_brokers_are_one_cluster_and_outlive_one() {
    let cluster = Cluster::start(&Options::default()).expect("a cluster starts");
    let nodes = cluster.nodes();
    nodes[2].kill().expect("it is killed");
    assert!(nodes[..2].iter().all(|node| node.brokers().is_ok_and(|brokers| brokers.contains(&1))));
    nodes[2].start_again().expect("it starts again");
    cluster.wait_until_ready().expect("all are there");
}
