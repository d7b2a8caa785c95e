//! The files of the repository, and what each of them must and must not say.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use crate::{Violation, purity};

/// Folders that hold nothing of ours: built, downloaded, installed, or the version control's own.
const FOREIGN: &[&str] = &["target", ".cache", ".git", "node_modules", "__pycache__"];

/// Every file below `root`, as paths from there, sorted.
///
/// # Errors
/// When a folder cannot be read.
pub fn all(root: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder))? {
            let entry = entry?;
            let (name, kind) = (entry.file_name(), entry.file_type()?);
            let path = folder.join(&name);
            // In a further working tree `.git` is a file.
            if FOREIGN.iter().any(|foreign| name == *foreign) {
                continue;
            }
            if kind.is_file() {
                found.push(path);
            } else if kind.is_dir() {
                folders.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Whether a file belongs to the code that decides.
#[must_use]
pub fn is_pure(path: &Path) -> bool {
    let text = path.to_string_lossy();
    let in_logic =
        path.iter().any(|part| part == "logic" || part == "logic.rs") && path.iter().any(|part| part == "src");
    let is_code = path.extension().is_some_and(|extension| extension == "rs");
    is_code
        && (text.starts_with("shared/contract/src/")
            || text.starts_with("shared/filter/src/")
            || text.starts_with("shared/packed/src/")
            || in_logic
            || text == "apply-service/src/connector/http/oauth.rs"
            || text == "apply-service/src/connector/scim.rs"
            || text.starts_with("apply-service/src/connector/scim/")
            || text == "apply-service/src/connector/answer.rs"
            || text == "apply-service/src/connector/rest.rs"
            || text.starts_with("apply-service/src/connector/rest/"))
}

/// The files and folders of modules that `file` declares under `#[cfg(test)]`.
///
/// # Errors
/// When the text cannot be read as Rust.
pub fn of_tests(file: &Path, text: &str) -> Result<BTreeSet<PathBuf>, String> {
    let folder = file.parent().unwrap_or(Path::new(""));
    let stem = file.file_stem().unwrap_or_default();
    let below = if ["lib", "main", "mod"].iter().any(|own| stem == *own) {
        folder.to_owned()
    } else {
        folder.join(stem)
    };
    let mut places = BTreeSet::new();
    for module in purity::test_modules(&file.to_string_lossy(), text)? {
        match module.path {
            Some(path) => {
                places.insert(folder.join(path));
            }
            None => {
                places.insert(below.join(format!("{}.rs", module.name)));
                places.insert(below.join(module.name));
            }
        }
    }
    Ok(places)
}

/// A Rust file begins with what it is for.
#[must_use]
pub fn opening(place: &str, text: &str) -> Option<Violation> {
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    (!first.starts_with("//!")).then(|| {
        Violation::new(
            place,
            1,
            "a file begins with `//!`: what it is for, and what it leaves out",
        )
    })
}

/// The folder that the repository happens to lie in means nothing elsewhere.
#[must_use]
pub fn foreign_places(place: &str, text: &str) -> Vec<Violation> {
    // Put together, or this file would be one of them.
    let workplace = ["/wo", "rk/"].concat();
    let lines = text.lines().enumerate().filter(|(_, line)| line.contains(&workplace));
    lines
        .map(|(number, _)| Violation::new(place, number + 1, format!("names {workplace}, which is nowhere else")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_that_decides_is_known_by_its_place() {
        for pure in [
            "shared/contract/src/user.rs",
            "shared/filter/src/check.rs",
            "shared/packed/src/pack.rs",
            "ingest-service/src/logic.rs",
            "ingest-service/src/logic/writer/batch.rs",
            "apply-service/src/connector/scim.rs",
            "apply-service/src/connector/scim/patch.rs",
        ] {
            assert!(is_pure(Path::new(pure)), "{pure}");
        }
        for shell in [
            "shared/contract/tests/wire.rs",
            "shared/runtime/src/clock.rs",
            "apply-service/src/connector/http.rs",
            "apply-service/src/owner.rs",
            "tests/logic/README.md",
        ] {
            assert!(!is_pure(Path::new(shell)), "{shell}");
        }
    }

    #[test]
    fn the_files_of_test_modules_are_found_beside_and_below() {
        let places = |file: &str, text: &str| {
            let places = of_tests(Path::new(file), text).unwrap();
            places
                .into_iter()
                .map(|place| place.to_string_lossy().into_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            places("src/logic/lane.rs", "#[cfg(test)] mod tests;"),
            ["src/logic/lane/tests", "src/logic/lane/tests.rs"]
        );
        assert_eq!(places("src/lib.rs", "#[cfg(test)] mod t;"), ["src/t", "src/t.rs"]);
        assert_eq!(
            places("src/logic/a.rs", "#[cfg(test)] #[path = \"a_tests.rs\"] mod tests;"),
            ["src/logic/a_tests.rs"]
        );
        assert!(places("src/logic/a.rs", "mod tests;").is_empty());
    }

    #[test]
    fn a_file_without_an_opening_is_caught() {
        assert!(opening("x.rs", "\n//! What it is for.\n").is_none());
        for planted in ["use std::fmt;\n//! Late.\n", "// Not for the reader.\n", ""] {
            assert!(opening("x.rs", planted).is_some(), "{planted:?}");
        }
    }

    #[test]
    fn a_place_outside_is_caught_with_its_line() {
        let planted = format!("a\nsee /wo{}notes.md\n", "rk/");
        assert_eq!(foreign_places("x.md", &planted)[0].line, 2);
        assert!(foreign_places("x.yml", "see .github/workflows and a framework/part").is_empty());
    }
}
