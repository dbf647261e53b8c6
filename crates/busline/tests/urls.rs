//! Bad URLs by their entry in the list of bad inputs: refused by name, nothing made, no secret shown.

use busline_conformance::assert_told;

/// Entry, URL and error. A `hunter2` in a URL stands for a secret.
const REFUSED: &[(u32, &str, &str)] = &[
    (66, "", "Invalid/UrlScheme"),
    (66, "hunter2", "Invalid/UrlScheme"),
    (66, "shop.db", "Invalid/UrlScheme"),
    (66, ":hunter2", "Invalid/UrlScheme"),
    (66, "http://shop:hunter2@localhost", "Invalid/UrlScheme"),
    (66, "SQLITE:hunter2.db", "Invalid/UrlScheme"),
    (66, "memory:hunter2", "Invalid/Url"),
    (66, "sqlite:", "Invalid/Url"),
    (66, "sqlite://hunter2/shop.db", "Invalid/Url"),
    (66, "sqlite:hunter2\nshop.db", "Invalid/Url"),
    (66, "sqlite:hunter2\0", "Invalid/Url"),
    (66, "nats://shop:hunter2\r\n@localhost", "Invalid/Url"),
    (66, "hunter2\u{1b}[31m:x", "Invalid/Url"),
    (66, "sqlite:shop.db?mode=hunter2", "Invalid/UnknownKey"),
    (66, "sqlite:shop.db?", "Invalid/UnknownKey"),
];

#[tokio::test]
async fn bad_urls_are_refused_by_name_and_show_no_secret() {
    for (entry, url, code) in REFUSED {
        let error = busline::connect(url).await.expect_err(url);
        assert_eq!(&error.code(), code, "{entry}: {url:?}: {error}");
        assert_told(&error.to_string(), code);
        let is_scheme = url.starts_with("hunter2\u{1b}");
        assert!(is_scheme || !format!("{error} {error:?}").contains("hunter2"), "{entry}: {error:?}");
    }
}

#[tokio::test]
async fn a_wrong_scheme_is_answered_with_those_there_are() {
    let text = busline::connect("redis://localhost").await.expect_err("no such backend").to_string();
    assert!(text.contains("'redis'") && text.contains("memory:") && text.contains("sqlite:PATH"), "{text}");
}

#[tokio::test]
async fn a_parameter_is_named_without_its_value() {
    let text = busline::connect("sqlite:shop.db?cache=hunter2&x=1").await.expect_err("no parameters").to_string();
    assert!(text.contains("'cache'") && !text.contains("hunter2"), "{text}");
}
