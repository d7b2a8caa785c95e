//! Building the copy: cargo's programs, and which mutants keep it from compiling.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::Value;
use tidy::mutants::{Killer, List};

use super::{
    copy::{Place, copy},
    say, words,
};

/// Package and target -> the program with the tests.
pub(crate) type Programs = BTreeMap<(String, String), PathBuf>;

/// Builds the copy until it compiles. Gives the programs, and the mutants that had to be left out.
pub(crate) fn build(
    place: &Place,
    list: &List,
    killers: &BTreeSet<Killer>,
) -> Result<(Programs, BTreeSet<String>), String> {
    let mut broken = BTreeSet::new();
    loop {
        let lines = copy(place, list, &broken, None)?;
        let (programs, errors) = compile(place, killers)?;
        if errors.is_empty() {
            return Ok((programs, broken));
        }
        let blamed: BTreeSet<String> = lines
            .iter()
            .filter(|((file, _), (from, to))| {
                errors
                    .iter()
                    .any(|error| error.file == *file && (*from..=*to).contains(&error.line))
            })
            .map(|((_, id), _)| id.clone())
            .collect();
        for error in &errors {
            say(&error.words);
        }
        if blamed.is_empty() {
            return Err("the copy does not compile, and no mutant is the reason".to_owned());
        }
        say(&format!("left out: {blamed:?}"));
        broken.extend(blamed);
    }
}

/// A complaint of the compiler.
pub(crate) struct Complaint {
    file: String,
    line: usize,
    words: String,
}

fn cargo(place: &Place, arguments: &[String]) -> Result<Vec<Value>, String> {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--message-format", "json"])
        .current_dir(place.tree())
        .env("CARGO_TARGET_DIR", place.folder.join("build"))
        .stderr(Stdio::inherit())
        .output()
        .map_err(words("cargo"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let messages: Vec<Value> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let complains = messages.iter().any(|message| message["message"]["level"] == "error");
    if output.status.success() || complains {
        Ok(messages)
    } else {
        Err("cargo failed; see above".to_owned())
    }
}

/// Programs with these tests, or what the compiler says.
pub(crate) fn compile(place: &Place, killers: &BTreeSet<Killer>) -> Result<(Programs, Vec<Complaint>), String> {
    // With all packages, so that dependencies are built as everywhere else.
    let mut arguments: Vec<String> = ["test", "--no-run", "--workspace", "--lib"].map(str::to_owned).to_vec();
    let suites: BTreeSet<&str> = killers.iter().map(|killer| killer.target.as_str()).collect();
    for suite in suites.iter().filter(|suite| **suite != "lib") {
        arguments.extend(["--test".to_owned(), (*suite).to_owned()]);
    }
    let mut messages = cargo(place, &arguments)?;
    // Tests of several programs start the services' own.
    if killers.iter().any(|killer| killer.package == "scenarios") {
        messages.extend(cargo(place, &["build", "--workspace", "--bins"].map(str::to_owned))?);
    }
    let mut complaints = Vec::new();
    let mut programs = Programs::new();
    for message in &messages {
        let inner = &message["message"];
        if message["reason"] == "compiler-message" && inner["level"] == "error" {
            for span in inner["spans"].as_array().into_iter().flatten() {
                complaints.push(Complaint {
                    file: span["file_name"].as_str().unwrap_or_default().to_owned(),
                    line: span["line_start"]
                        .as_u64()
                        .and_then(|line| line.try_into().ok())
                        .unwrap_or(0),
                    words: inner["rendered"].as_str().unwrap_or_default().to_owned(),
                });
            }
        }
        if let (Some(program), Some(manifest)) = (message["executable"].as_str(), message["manifest_path"].as_str())
            && message["profile"]["test"] == true
        {
            let kind = message["target"]["kind"][0].as_str().unwrap_or_default();
            let name = message["target"]["name"].as_str().unwrap_or_default();
            let target = if kind == "lib" { "lib" } else { name };
            let package = fs::read_to_string(manifest).ok().and_then(|text| {
                let line = text.lines().find_map(|line| line.strip_prefix("name = "))?;
                Some(line.trim_matches('"').to_owned())
            });
            programs.insert((package.unwrap_or_default(), target.to_owned()), program.into());
        }
    }
    Ok((programs, complaints))
}
