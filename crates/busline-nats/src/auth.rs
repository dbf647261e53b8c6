//! Credentials as they were loaded: what a connection presents.

use busline_core::{Error, Result};
use nkeys::KeyPair;

use crate::config::{Credentials, NatsConfig};
use crate::secret::{Secret, read_text};

/// What a client presents to the server.
#[derive(Debug, Clone)]
pub(crate) enum Auth {
    None,
    User(String, Secret),
    Token(Secret),
    Nkey(Secret),
    Jwt { jwt: Secret, seed: Secret },
}

impl Auth {
    /// Loads what the settings name; blocks for the time of reading small files.
    ///
    /// # Errors
    /// `NotFound/File`, `Denied/File`, `Invalid/UnsetVariable`, `Invalid/Credentials`.
    pub(crate) fn load(config: &NatsConfig) -> Result<Self> {
        Ok(match &config.credentials {
            Credentials::None => Self::None,
            Credentials::User { name, password } => Self::User(name.clone(), password.load()?),
            Credentials::Token(token) => Self::Token(token.load()?),
            Credentials::Nkey(seed) => Self::Nkey(checked_seed(seed.load()?)?),
            Credentials::File(path) => {
                from_credentials(&read_text(path)?).map_err(|error| error.at("read", path.display()))?
            }
        })
    }
}

/// The two decorated blocks of a credentials file.
fn from_credentials(text: &str) -> Result<Auth> {
    let block = |label: &str| {
        let begin = format!("-----BEGIN {label}-----");
        let (_, rest) = text.split_once(&begin)?;
        // The end has five or six dashes, as different tools write it.
        let (inner, _) = rest.split_once(&format!("END {label}-----"))?;
        Some(inner.trim().trim_end_matches('-').trim().to_owned()).filter(|inner| !inner.is_empty())
    };
    let jwt = block("NATS USER JWT").ok_or_else(|| bad("no user JWT in the file"))?;
    let seed = block("USER NKEY SEED").ok_or_else(|| bad("no seed in the file"))?;
    Ok(Auth::Jwt { jwt: Secret::new(jwt), seed: checked_seed(Secret::new(seed))? })
}

fn checked_seed(seed: Secret) -> Result<Secret> {
    key_pair(&seed)?;
    Ok(seed)
}

/// The key pair of a seed.
pub(crate) fn key_pair(seed: &Secret) -> Result<KeyPair> {
    // The library's own error may quote its input.
    KeyPair::from_seed(seed.reveal()).map_err(|_| bad("the seed is no NKey seed, or is cut short"))
}

fn bad(cause: &str) -> Error {
    Error::invalid("Credentials").cause(cause).next("write the file again with the tool that made it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credentials_file_gives_token_and_seed() {
        let pair = KeyPair::new_user();
        let seed = pair.seed().expect("a seed");
        let text = format!(
            "-----BEGIN NATS USER JWT-----\nabc.def.ghi\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        let Auth::Jwt { jwt, seed: found } = from_credentials(&text).expect("legal") else { panic!("a JWT") };
        assert_eq!((jwt.reveal(), found.reveal()), ("abc.def.ghi", seed.as_str()));
    }

    #[test]
    fn a_seed_that_was_cut_is_refused_and_not_shown() {
        let seed = KeyPair::new_user().seed().expect("a seed");
        let error = checked_seed(Secret::new(&seed[..20])).expect_err("cut");
        assert_eq!(error.code(), "Invalid/Credentials");
        assert!(!format!("{error:?}").contains(&seed[..20]));
        assert_eq!(from_credentials("hello").expect_err("nothing").code(), "Invalid/Credentials");
    }
}
