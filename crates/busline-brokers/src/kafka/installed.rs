//! The broker's Java archives, from Maven, and programs that run in them.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Error, install, tool};

/// The version of the broker and of its tools, as in `pom.xml`.
pub const CURRENT: &str = "4.2.2";

const POM: &str = include_str!("pom.xml");
const LOGGING: &str = include_str!("log4j2.properties");

const MISSING_MAVEN: &str = "a Kafka broker is installed with Maven, which is not here: install maven";
pub(super) const MISSING_JAVA: &str =
    "a Kafka broker needs Java 17 or later, which is not here: install openjdk-17-jre-headless";

/// A Java program of the installed Kafka, as `org.apache.kafka.tools.TopicCommand`, ready for its arguments.
///
/// The broker's own command line tools are such programs. `options` are Java's own, as `-Xmx128m`.
///
/// # Errors
/// Java or Maven is missing, or the archives cannot be had.
pub fn java(options: &[&str], main: &str) -> Result<Command, Error> {
    let mut java = Command::new(java_program());
    java.args(arguments(&folder()?, options, main));
    Ok(java)
}

/// What stands between `java` and the arguments of the program.
pub(super) fn arguments(installed: &Path, options: &[&str], main: &str) -> Vec<OsString> {
    let mut logging = OsString::from("-Dlog4j2.configurationFile=");
    logging.push(installed.join("log4j2.properties"));
    let mut arguments: Vec<OsString> = options.iter().map(OsString::from).collect();
    arguments.extend([logging, "-cp".into(), installed.join("libs").join("*").into_os_string(), main.into()]);
    arguments
}

/// `$JAVA_HOME/bin/java`, else `java` of the path.
pub(super) fn java_program() -> PathBuf {
    let home = std::env::var_os("JAVA_HOME").filter(|home| !home.is_empty());
    home.map_or_else(|| "java".into(), |home| Path::new(&home).join("bin").join("java"))
}

/// The folder with `libs` and the settings of the log, installed if need be.
pub(super) fn folder() -> Result<PathBuf, Error> {
    install::once(&format!("kafka-{CURRENT}"), |into| {
        tool::run(Command::new(java_program()).arg("-version"), MISSING_JAVA)?;
        download(into)
    })
}

fn download(into: &Path) -> Result<(), Error> {
    let write = |name: &str, text: &str| {
        let file = into.join(name);
        fs::write(&file, text).map_err(Error::about("write", &file))
    };
    write("pom.xml", POM)?;
    write("log4j2.properties", LOGGING)?;
    let mut maven = Command::new("mvn");
    maven.args(["-B", "-q", "dependency:copy-dependencies", "-DoutputDirectory=libs"]).current_dir(into);
    tool::run(&mut maven, MISSING_MAVEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pom_names_the_version() {
        assert!(POM.contains(&format!("<kafka.version>{CURRENT}</kafka.version>")));
    }
}
