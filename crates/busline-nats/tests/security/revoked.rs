//! Credentials that are taken back while they are in use, by a reload of the server's settings.

use std::time::Duration;

use busline_brokers::nats::{Options, Server};
use busline_core::{Bus, Envelope, HealthState, PublisherSettings};
use nkeys::KeyPair;
use tokio::time::{Instant, sleep};

use crate::door::{Files, SOON, assert_one_line, assert_works, denial, open, refused};
use crate::listener::assert_never_said;
use crate::tokens::Operator;

/// What opens a server, and settings of it without and with that.
struct Case {
    granted: Options,
    revoked: Options,
    /// Behind the address.
    query: String,
    secrets: Vec<String>,
}

fn config(text: String) -> Options {
    Options { config: text, ..Options::default() }
}

fn password() -> Case {
    let users = |names: &str| config(format!("authorization {{ users: [ {{ user: other, password: o }}{names} ] }}"));
    Case {
        granted: users(", { user: shop, password: revoked-4711 }"),
        revoked: users(""),
        query: "?user=shop&password_file=FILE".into(),
        secrets: vec!["revoked-4711".into()],
    }
}

fn nkey() -> Case {
    let (user, other) = (KeyPair::new_user(), KeyPair::new_user());
    let users = |keys: &[&KeyPair]| {
        let keys: Vec<String> = keys.iter().map(|key| format!("{{ nkey: {} }}", key.public_key())).collect();
        config(format!("authorization {{ users: [ {} ] }}", keys.join(", ")))
    };
    Case {
        granted: users(&[&user, &other]),
        revoked: users(&[&other]),
        query: "?nkey=FILE".into(),
        secrets: vec![user.seed().expect("a seed")],
    }
}

fn claims() -> Case {
    let (operator, user) = (Operator::new(), KeyPair::new_user());
    Case {
        granted: operator.options(&[]),
        revoked: operator.options(&[user.public_key()]),
        query: "?creds=FILE".into(),
        secrets: vec![operator.credentials(&user, None), user.seed().expect("a seed")],
    }
}

async fn assert_nothing_opens(bus: &Bus, topic: &str, secrets: &[&str]) {
    let opened = bus.publisher(topic).on_failure(drop).open().await;
    let error = opened.expect_err("nothing can be opened any more");
    assert_one_line(&error, secrets);
    assert_eq!(error.code(), "Denied/Credentials", "{error}");
}

async fn take_back(case: Case) {
    let files = Files::new();
    let server = Server::start(&case.granted).unwrap_or_else(|error| panic!("{error}"));
    let secrets: Vec<&str> = case.secrets.iter().map(String::as_str).collect();
    let file = files.file("secret", &case.secrets[0]);
    let url = format!("nats://127.0.0.1:{}{}", server.port(), case.query.replace("FILE", &file));
    let bus = open(&url, &secrets).await;
    assert_works(&bus, "before").await;
    let settings = PublisherSettings { deadline: Duration::from_secs(2), ..PublisherSettings::default() };
    let publisher = bus.publisher("before").settings(settings).on_failure(drop).open().await.expect("opens");
    let event = || Envelope::new("k", "Happened", 2).json(&2).expect("json");
    publisher.publish_sync(event()).await.expect("acked");

    server.configure(&case.revoked).expect("written");
    server.reload().expect("read");
    assert_eq!(denial(&bus, &secrets).await.code(), "Denied/Credentials");
    assert_eq!(refused(&url, &secrets).await.code(), "Denied/Credentials");
    let error = publisher.publish_sync(event()).await.expect_err("nobody stores it");
    assert_one_line(&error, &secrets);
    assert_eq!(error.code(), "Timeout/Deadline", "{error}");
    assert!(error.to_string().contains("refuses the credentials"), "{error}");
    assert_nothing_opens(&bus, "before", &secrets).await;
    let health = bus.health().await;
    assert_ne!(health.state, HealthState::Healthy, "{health:?}");
    assert!(format!("{health:?}").contains("refuses the credentials"), "{health:?}");

    // Granted again, everything goes on by itself.
    server.configure(&case.granted).expect("written");
    server.reload().expect("read");
    let end = Instant::now() + SOON;
    while publisher.publish_sync(event()).await.is_err() {
        assert!(Instant::now() < end, "publishing goes on");
        sleep(Duration::from_millis(50)).await;
    }
    while bus.driver().probe().await.is_err() {
        assert!(Instant::now() < end, "the bus is there again");
        sleep(Duration::from_millis(50)).await;
    }
    assert_works(&bus, "before").await;
    bus.close(SOON).await.expect("closes");
    assert_never_said(&secrets);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_password_is_named_and_comes_back() {
    take_back(password()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_nkey_is_named_and_comes_back() {
    take_back(nkey()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoked_claims_are_named_and_come_back() {
    take_back(claims()).await;
}
