//! This repository held against the rules.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::{Violation, dependencies, documents, files, mission, mutants, purity};

fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors()
        .nth(2)
        .expect("tidy lies two folders below the root")
        .to_owned()
}

/// Path and text of every text file.
fn texts() -> Vec<(PathBuf, String)> {
    let root = root();
    let paths = files::all(&root).expect("the repository can be read");
    // What is no UTF-8 is no text of ours.
    paths
        .into_iter()
        .filter_map(|path| fs::read_to_string(root.join(&path)).ok().map(|text| (path, text)))
        .collect()
}

fn rust_files() -> Vec<(PathBuf, String)> {
    texts()
        .into_iter()
        .filter(|(path, _)| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

fn members() -> Vec<dependencies::Member> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata gives JSON");
    dependencies::members(&metadata)
}

fn assert_none(violations: &[Violation]) {
    let lines: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(violations.is_empty(), "\n{}\n", lines.join("\n"));
}

#[test]
fn what_decides_is_pure() {
    let pure: Vec<_> = rust_files()
        .into_iter()
        .filter(|(path, _)| files::is_pure(path))
        .collect();
    let tests: Vec<PathBuf> = pure
        .iter()
        .flat_map(|(path, text)| files::of_tests(path, text).expect("readable"))
        .collect();
    let pure: Vec<_> = pure
        .into_iter()
        .filter(|(path, _)| !tests.iter().any(|test| path.starts_with(test)))
        .collect();
    for part in [
        "shared/contract/src",
        "shared/filter/src",
        "shared/packed/src",
        "ingest-service/src/logic",
        "apply-service/src/logic",
        "apply-service/src/connector/scim",
        "apply-service/src/connector/rest",
    ] {
        assert!(
            pure.iter().filter(|(path, _)| path.starts_with(part)).count() > 4,
            "nothing was looked at in {part}"
        );
    }
    let found = pure
        .iter()
        .flat_map(|(path, text)| purity::violations(&path.to_string_lossy(), text).expect("readable"));
    assert_none(&found.collect::<Vec<_>>());
}

#[test]
fn dependencies_point_one_way() {
    let members = members();
    assert!(members.len() > 5, "{members:#?}");
    assert_none(&dependencies::violations(&members));
}

#[test]
fn every_file_says_what_it_is_for() {
    let files = rust_files();
    assert!(files.len() > 100);
    let found = files
        .iter()
        .filter_map(|(path, text)| files::opening(&path.to_string_lossy(), text));
    assert_none(&found.collect::<Vec<_>>());
}

#[test]
fn no_file_names_a_place_outside_the_repository() {
    let texts = texts();
    let found = texts
        .iter()
        .flat_map(|(path, text)| files::foreign_places(&path.to_string_lossy(), text));
    assert_none(&found.collect::<Vec<_>>());
}

#[test]
fn links_of_documents_lead_somewhere() {
    let root = root();
    let text_of = |path: &Path| {
        let path = root.join(path);
        if path.is_dir() {
            Some(String::new())
        } else {
            fs::read_to_string(path).ok()
        }
    };
    let texts = texts();
    let documents: Vec<_> = texts
        .iter()
        .filter(|(path, _)| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    for needed in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        assert!(
            documents.iter().any(|(path, _)| path == Path::new(needed)),
            "{needed} is missing"
        );
    }
    let found = documents
        .iter()
        .flat_map(|(path, text)| documents::broken_links(&path.to_string_lossy(), text, &text_of));
    assert_none(&found.collect::<Vec<_>>());
}

#[test]
fn documents_name_files_that_exist() {
    let root = root();
    let mut found = Vec::new();
    for document in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = fs::read_to_string(root.join(document)).expect("readable");
        found.extend(documents::missing_paths(document, &text, &|path| {
            root.join(path).exists()
        }));
    }
    assert_none(&found);
}

#[test]
fn every_dependency_has_its_line_in_the_architecture() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("readable");
    let names = dependencies::foreign(&members());
    assert!(names.len() > 20);
    assert_none(&documents::unexplained("ARCHITECTURE.md", &text, &names));
}

fn tests() -> BTreeSet<String> {
    let files = rust_files();
    files.iter().flat_map(|(_, text)| mission::tests_in(text)).collect()
}

#[test]
fn the_mission_names_tests_that_exist() {
    let root = root();
    let text = fs::read_to_string(root.join("tests/mission.md")).expect("readable");
    assert_none(&mission::violations("tests/mission.md", &text, &tests(), &|path| {
        root.join(path).exists()
    }));
}

#[test]
fn every_row_of_the_mission_has_a_mutant_that_is_caught_and_still_has_its_place() {
    let root = root();
    let read = |path: &Path| fs::read_to_string(root.join(path)).ok();
    let list = read(Path::new(mutants::LIST)).expect("readable");
    let list = mutants::List::read(&list).unwrap_or_else(|why| panic!("{}: {why}", mutants::LIST));
    let table = read(Path::new("tests/mission.md")).expect("readable");
    assert_none(&mutants::violations(&list, &mission::rows(&table).0, &tests(), &read));
}

#[test]
fn documents_name_tests_that_exist() {
    let (root, tests) = (root(), tests());
    let mut found = Vec::new();
    for (document, least) in [("docs/scim.md", 40), ("tests/mission.md", 100)] {
        let text = fs::read_to_string(root.join(document)).expect("readable");
        assert!(
            documents::named_tests(&text).len() > least,
            "nothing was looked at in {document}"
        );
        found.extend(documents::missing_tests(document, &text, &tests));
    }
    assert_none(&found);
}
