//! Nothing in the tree points at the machine it was written on: no absolute paths of it, no registry but the public one.

use super::tree::{File, Finding, Tree};

/// Folders of a machine. Put together, so that this file does not hold them itself.
const FOLDERS: [&str; 4] =
    [concat!("/wo", "rk/"), concat!("/ho", "me/"), concat!("/tmp", "/wt"), concat!("/ro", "ot/")];

/// What chooses another registry, in the files of cargo, pip, npm and Go.
const REGISTRIES: [&str; 7] = [
    concat!("replace", "-with"),
    concat!("[source", "."),
    concat!("[registries", "."),
    concat!("sparse", "+"),
    concat!("index", "-url"),
    concat!("registry", "=http"),
    concat!("GO", "PROXY"),
];

/// The one source of packages from outside a lock file may name.
const CRATES_IO: &str = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    tree.files().flat_map(|file| paths(file).chain(registries(file)).chain(sources(file))).collect()
}

fn paths(file: &File) -> impl Iterator<Item = Finding> {
    FOLDERS.iter().flat_map(move |folder| {
        let places = file.text.match_indices(folder).map(|(at, _)| at).filter(|at| begins_path(&file.text[..*at]));
        places.map(move |at| file.finding(at, format!("`{folder}` is a path of one machine")))
    })
}

/// Whether a path that follows is absolute: no name and no other part of a path stands in front of it.
fn begins_path(before: &str) -> bool {
    !before.ends_with(|last: char| last.is_alphanumeric() || "._-~/}".contains(last))
}

fn registries(file: &File) -> impl Iterator<Item = Finding> {
    REGISTRIES.iter().flat_map(move |word| {
        let places = file.text.match_indices(word);
        places
            .map(move |(at, _)| file.finding(at, format!("`{word}` chooses a registry; that is the machine's matter")))
    })
}

fn sources(file: &File) -> impl Iterator<Item = Finding> {
    let lock = file.path.ends_with("Cargo.lock");
    let lines = file.text.split_inclusive('\n').scan(0, |end, line| {
        let at = *end;
        *end += line.len();
        Some((at, line.trim()))
    });
    let foreign = lines.filter(move |(_, line)| lock && line.starts_with("source = ") && *line != CRATES_IO);
    foreign.map(|(at, line)| file.finding(at, format!("`{line}` is not crates.io")))
}

#[cfg(test)]
mod tests {
    use super::super::tree::places;
    use super::*;

    #[test]
    fn paths_of_a_machine_are_found() {
        let [work, home, worktree, root] = FOLDERS;
        let text = format!("\"{work}a\"\n{home}b\n({worktree}c)\n https://example.com{work}d\n..{root}\n$A{home}");
        assert_eq!(places(check, &[("a.md", &text)]), ["a.md:1", "a.md:2", "a.md:3"]);
    }

    #[test]
    fn other_registries_are_found() {
        for word in REGISTRIES {
            assert_eq!(places(check, &[("a.toml", &format!("b\n{word}"))]), ["a.toml:2"]);
        }
        let lock = format!("{CRATES_IO}\nsource = \"registry+https://example.com/index\"\n");
        assert_eq!(places(check, &[("Cargo.lock", &lock)]), ["Cargo.lock:2"]);
    }
}
