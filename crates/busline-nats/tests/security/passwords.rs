//! User and password, and tokens.

use busline_brokers::nats::{Options, Server};

use crate::door::{Files, opens, refused};

fn server(config: &str) -> Server {
    Server::start(&Options { config: config.into(), ..Options::default() }).unwrap_or_else(|error| panic!("{error}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn user_and_password_from_the_url_or_a_file() {
    let server = server("authorization { user: shop, password: \"pw%4711/:@\" }");
    let (port, files) = (server.port(), Files::new());
    let secrets = ["pw%4711/:@", "pw%254711"];
    let file = files.file("password", "pw%4711/:@\n");
    opens(&format!("nats://shop:pw%254711%2F%3A%40@127.0.0.1:{port}"), "inline", &secrets).await;
    opens(&format!("nats://127.0.0.1:{port}?user=shop&password_file={file}"), "file", &secrets).await;
    let wrong = files.file("wrong", "pw-of-yesterday");
    for url in [
        format!("nats://127.0.0.1:{port}"),
        format!("nats://shop:pw-of-yesterday@127.0.0.1:{port}"),
        format!("nats://shop2:pw%254711%2F%3A%40@127.0.0.1:{port}"),
        format!("nats://127.0.0.1:{port}?user=shop&password_file={wrong}"),
    ] {
        let error = refused(&url, &[secrets[0], secrets[1], "pw-of-yesterday"]).await;
        assert_eq!(error.code(), "Denied/Credentials", "{error}");
    }
    let error = refused(&format!("nats://127.0.0.1:{port}?user=shop&password_file={file}.gone"), &secrets).await;
    assert_eq!(error.code(), "NotFound/File", "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_from_the_url_or_a_file() {
    let server = server("authorization { token: \"tok-0815\" }");
    let (port, files) = (server.port(), Files::new());
    opens(&format!("nats://tok-0815@127.0.0.1:{port}"), "inline", &["tok-0815"]).await;
    let file = files.file("token", "tok-0815\n");
    opens(&format!("nats://127.0.0.1:{port}?token_file={file}"), "file", &["tok-0815"]).await;
    for url in [format!("nats://tok-0816@127.0.0.1:{port}"), format!("nats://127.0.0.1:{port}")] {
        let error = refused(&url, &["tok-0815", "tok-0816"]).await;
        assert_eq!(error.code(), "Denied/Credentials", "{error}");
    }
}
