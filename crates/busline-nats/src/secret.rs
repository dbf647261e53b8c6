//! A text that is never printed.

use std::fmt;
use std::path::{Path, PathBuf};

use busline_core::{Error, ErrorKind, Result, escaped};

/// A password, token, key or credentials text. `Debug` shows that it is there, never what it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Reads a secret from a file; spaces and line ends around it are cut.
    ///
    /// # Errors
    /// `NotFound/File`, `Denied/File`, `TooLarge/File`, `Invalid/FileEncoding`.
    pub fn from_file(path: &Path) -> Result<Self> {
        Ok(Self(read_text(path)?.trim().into()))
    }

    /// Takes a secret from the environment.
    ///
    /// # Errors
    /// `Invalid/UnsetVariable`.
    pub fn from_variable(name: &str) -> Result<Self> {
        match std::env::var(name) {
            Ok(text) if !text.is_empty() => Ok(Self(text)),
            _ => Err(Error::invalid("UnsetVariable")
                .cause(format!("the environment variable {} is not set", escaped(name)))
                .next("set it, or name another one")),
        }
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Largest file with a secret or a certificate, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The text of a small file.
///
/// # Errors
/// `NotFound/File`, `Denied/File`, `TooLarge/File`, `Invalid/FileEncoding`.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    let shown = path.display().to_string();
    let at = |error: Error| error.at("read", &shown);
    let found = std::fs::metadata(path).map_err(|error| at(no_file(error)))?;
    if !found.is_file() {
        return Err(at(Error::new(ErrorKind::Denied, "File").cause("not a regular file").next("name a file")));
    }
    if found.len() > FILE_BYTES_MAX {
        return Err(at(Error::new(ErrorKind::TooLarge, "File")
            .cause(format!("{} bytes where {FILE_BYTES_MAX} are allowed", found.len()))
            .next("name the file that holds the secret or certificate")));
    }
    let bytes = std::fs::read(path).map_err(|error| at(no_file(error)))?;
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0')).ok_or_else(|| {
        at(Error::invalid("FileEncoding").cause("the file is not UTF-8 text").next("name a text file, such as PEM"))
    })
}

fn no_file(error: std::io::Error) -> Error {
    let (kind, next) = match error.kind() {
        std::io::ErrorKind::NotFound => (ErrorKind::NotFound, "correct the path"),
        _ => (ErrorKind::Denied, "grant access to the file"),
    };
    Error::new(kind, "File").because(error).next(next)
}

/// Where a secret comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// The text itself, from a program that has read it already.
    Text(Secret),
    /// A file.
    File(PathBuf),
    /// A variable of the environment.
    Variable(String),
}

impl SecretSource {
    /// Fetches the secret.
    ///
    /// # Errors
    /// Those of [`Secret::from_file`] and [`Secret::from_variable`].
    pub fn load(&self) -> Result<Secret> {
        match self {
            Self::Text(secret) => Ok(secret.clone()),
            Self::File(path) => Secret::from_file(path),
            Self::Variable(name) => Secret::from_variable(name),
        }
    }
}
