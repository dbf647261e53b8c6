//! Where the reports of a benchmark go, checked before anything is measured: so no run is made in vain.

use std::io;
use std::path::{Path, PathBuf};

use busline::{Error, ErrorKind, Result};

use crate::args::Bench;

/// The files that were asked for. Nothing stands there yet, and no two are one.
pub(super) struct ReportFiles {
    pub(super) json: Option<PathBuf>,
    pub(super) markdown: Option<PathBuf>,
    pub(super) html: Option<PathBuf>,
}

impl ReportFiles {
    /// # Errors
    /// `AlreadyExists/File`, `Denied/Symlink`, `Denied/Folder`, `Invalid/Path` or `NotFound/Folder` for a path where no
    /// file can be made; `Invalid/Contradiction` for two reports in one file, or one in the file of a bus.
    pub(super) fn of(args: &Bench, buses: &[String]) -> Result<Self> {
        let asked = [("--json", &args.file), ("--markdown", &args.markdown), ("--html", &args.html)];
        let asked = asked.into_iter().filter_map(|(flag, file)| Some((flag, file.as_deref()?)));
        let bus_files = buses.iter().filter_map(|url| url.strip_prefix("sqlite:"));
        let mut taken: Vec<(&str, PathBuf)> = bus_files.map(|file| ("--bus", place_of(Path::new(file)))).collect();
        for (flag, file) in asked {
            check(file).map_err(|error| error.at("write", file.display()))?;
            let place = place_of(file);
            if let Some((other, _)) = taken.iter().find(|(_, other)| *other == place) {
                return Err(Error::invalid("Contradiction")
                    .cause(format!("{other} and {flag} name one file"))
                    .next("give each a file of its own")
                    .at("write", file.display()));
            }
            taken.push((flag, place));
        }
        Ok(Self { json: args.file.clone(), markdown: args.markdown.clone(), html: args.html.clone() })
    }
}

/// Whether a file can be made there, in a folder that is there.
fn check(file: &Path) -> Result<()> {
    match file.symlink_metadata() {
        Ok(found) if found.is_symlink() => {
            return Err(Error::new(ErrorKind::Denied, "Symlink")
                .cause("the path is a symbolic link, which may lead anywhere")
                .next("name the file itself"));
        }
        Ok(found) if found.is_dir() => return Err(is_folder()),
        Ok(_) => {
            return Err(Error::new(ErrorKind::AlreadyExists, "File")
                .cause("the result file exists")
                .next("name another file, or delete it"));
        }
        Err(_) if !folder_of(file).is_dir() => {
            return Err(Error::new(ErrorKind::NotFound, "Folder")
                .cause(format!("no folder {}", folder_of(file).display()))
                .next("create the folder, or correct the path"));
        }
        Err(_) if names_folder(file) => return Err(is_folder()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Error::invalid("Path").because(error).next("name another file"));
        }
        Err(_) => {}
    }
    busline_bench::check_result_file(file).map_err(|error| {
        Error::new(ErrorKind::Denied, "Folder")
            .because(error)
            .next("name a file in a folder where files can be made, or grant access to this one")
    })
}

fn is_folder() -> Error {
    Error::invalid("Path").cause("it is a folder").next("name a file in it")
}

/// Whether the path can only be a folder's, such as `results/`, even if nothing stands there.
fn names_folder(file: &Path) -> bool {
    let bytes = file.as_os_str().as_encoded_bytes();
    bytes.ends_with(b"/") || bytes.ends_with(b"/.") || file.file_name().is_none()
}

/// The place of a file that need not be there, however its path is written.
fn place_of(file: &Path) -> PathBuf {
    let folder = folder_of(file).canonicalize().unwrap_or_else(|_| folder_of(file).to_path_buf());
    folder.join(file.file_name().unwrap_or_default())
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
