//! NKeys and credentials files.

use busline_brokers::nats::{Options, Server};
use busline_core::{Clock, SystemClock};
use nkeys::KeyPair;

use crate::door::{Files, assert_works, denial, open, opens, refused};
use crate::tokens::{Operator, file};

fn start(options: &Options) -> Server {
    Server::start(options).unwrap_or_else(|error| panic!("{error}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seed_signs_what_the_server_asks() {
    let (known, stranger, files) = (KeyPair::new_user(), KeyPair::new_user(), Files::new());
    let config = format!("authorization {{ users: [ {{ nkey: {} }} ] }}", known.public_key());
    let server = start(&Options { config, ..Options::default() });
    let (seed, others) = (known.seed().expect("a seed"), stranger.seed().expect("a seed"));
    let url = |seed: &str| format!("nats://127.0.0.1:{}?nkey={}", server.port(), files.file("seed", seed));
    opens(&url(&seed), "keys", &[&seed]).await;
    let secrets = [&*seed, &others, &seed[..20]];
    assert_eq!(refused(&url(&others), &secrets).await.code(), "Denied/Credentials");
    assert_eq!(refused(&format!("nats://127.0.0.1:{}", server.port()), &secrets).await.code(), "Denied/Credentials");
    for damaged in [&seed[..20], "", "SUAHELLO"] {
        assert_eq!(refused(&url(damaged), &secrets).await.code(), "Invalid/Credentials");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credentials_file_opens_its_account() {
    let (operator, files, user) = (Operator::new(), Files::new(), KeyPair::new_user());
    let server = start(&operator.options(&[]));
    let url = |text: &str| format!("nats://127.0.0.1:{}?creds={}", server.port(), files.file("shop.creds", text));
    let good = operator.credentials(&user, None);
    let (seed, token) = (user.seed().expect("a seed"), good.lines().nth(1).expect("a token").to_owned());
    let secrets = [&*seed, &token];
    opens(&url(&good), "claims", &secrets).await;
    // Of an operator that the server does not trust; of the right one, with another user's seed.
    let strangers = KeyPair::new_user().seed().expect("a seed");
    for bad in [Operator::new().credentials(&user, None), file(&token, &strangers)] {
        let error = refused(&url(&bad), &[&seed, &token, &strangers]).await;
        assert_eq!(error.code(), "Denied/Credentials", "{error}");
    }
    let cut = &good[..good.len() / 2];
    assert_eq!(refused(&url(cut), &secrets).await.code(), "Invalid/Credentials");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_that_expire_are_denied_from_then_on() {
    let (operator, files, user) = (Operator::new(), Files::new(), KeyPair::new_user());
    let server = start(&operator.options(&[]));
    let expires = SystemClock.now().as_second() + 6;
    let text = operator.credentials(&user, Some(expires));
    let url = format!("nats://127.0.0.1:{}?creds={}", server.port(), files.file("shop.creds", &text));
    let seed = user.seed().expect("a seed");
    let bus = open(&url, &[&seed]).await;
    assert_works(&bus, "claims").await;
    let error = denial(&bus, &[&seed]).await;
    assert!(SystemClock.now().as_second() >= expires, "not before: {error}");
    bus.close(crate::door::SOON).await.expect("closes");
    assert_eq!(refused(&url, &[&seed]).await.code(), "Denied/Credentials");
}
