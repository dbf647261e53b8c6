//! An operator with accounts and users, as the server's own tools make them: signed claims.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use busline_brokers::nats::Options;
use nkeys::KeyPair;
use serde_json::{Value, json};

/// When everything was issued, in seconds since 1970. A revocation names a later time.
const ISSUED: i64 = 1_700_000_000;

/// An operator with a system account and one for the shop.
pub(crate) struct Operator {
    operator: KeyPair,
    system: KeyPair,
    shop: KeyPair,
}

impl Operator {
    pub(crate) fn new() -> Self {
        Self { operator: KeyPair::new_operator(), system: KeyPair::new_account(), shop: KeyPair::new_account() }
    }

    /// Settings of a server that trusts this operator; users with these public keys are revoked.
    pub(crate) fn options(&self, revoked: &[String]) -> Options {
        let operator = claims(&self.operator, &self.operator.public_key(), json!({ "type": "operator" }), None);
        let system = claims(&self.operator, &self.system.public_key(), account(false, &[]), None);
        let shop = claims(&self.operator, &self.shop.public_key(), account(true, revoked), None);
        let (system_key, shop_key) = (self.system.public_key(), self.shop.public_key());
        let config = format!(
            "operator: {operator}\nsystem_account: {system_key}\nresolver: MEMORY\n\
             resolver_preload: {{ {system_key}: \"{system}\", {shop_key}: \"{shop}\" }}\n"
        );
        Options { config, ..Options::default() }
    }

    /// A credentials file of a user of the shop, which may end at a second since 1970.
    pub(crate) fn credentials(&self, user: &KeyPair, expires: Option<i64>) -> String {
        let rights = json!({ "type": "user", "subs": -1, "data": -1, "payload": -1 });
        let token = claims(&self.shop, &user.public_key(), rights, expires);
        file(&token, &user.seed().expect("a seed"))
    }
}

/// A credentials file as `nsc` writes it.
pub(crate) fn file(token: &str, seed: &str) -> String {
    format!(
        "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
         ************************* IMPORTANT *************************\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
}

fn account(jetstream: bool, revoked: &[String]) -> Value {
    let storage = if jetstream { -1 } else { 0 };
    let limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
        "mem_storage": storage, "disk_storage": storage, "streams": storage, "consumer": storage,
    });
    let mut account = json!({ "type": "account", "limits": limits });
    if !revoked.is_empty() {
        let times: serde_json::Map<_, _> = revoked.iter().map(|key| (key.clone(), json!(ISSUED + 1))).collect();
        account["revocations"] = Value::Object(times);
    }
    account
}

/// Claims about `subject`, signed by `issuer`.
fn claims(issuer: &KeyPair, subject: &str, mut what: Value, expires: Option<i64>) -> String {
    what["version"] = json!(2);
    let name = &subject[..8];
    let mut claims = json!({
        "jti": name, "iat": ISSUED, "iss": issuer.public_key(), "name": name, "sub": subject, "nats": what,
    });
    if let Some(expires) = expires {
        claims["exp"] = json!(expires);
    }
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&json!({ "typ": "JWT", "alg": "ed25519-nkey" })), part(&claims));
    let signature = issuer.sign(signed.as_bytes()).expect("it signs");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}
