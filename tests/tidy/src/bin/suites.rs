//! `make broker`: runs the programs of the `tests/` folders, several at a time.
//!
//! cargo runs one program after the other, and most of them hold one or two tests that wait for leases and sessions. Here
//! the next program begins when one ends, those with the most tests first, so that no long one is left over at the end.
//! Each runs its own tests one after the other. What a program says is printed whole when it ends.

use std::{
    cmp::Reverse,
    io::{self, Write},
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
    sync::{Mutex, PoisonError},
    time::Instant,
};

use clap::Parser;
use serde_json::Value;

/// Runs the programs of the `tests/` folders, several at a time.
#[derive(Debug, Parser)]
struct Arguments {
    /// Programs that run at a time.
    #[arg(long, default_value_t = 3)]
    jobs: usize,
    /// Only these files, such as takeover,polls.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

/// The program of one file of tests.
struct Suite {
    /// Its file name without ending.
    name: String,
    program: PathBuf,
    /// The folder of its package: cargo starts tests there.
    folder: PathBuf,
    /// How many tests it holds.
    tests: usize,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match suites(&arguments.only).and_then(|suites| run(suites, arguments.jobs)) {
        Ok(failed) if failed.is_empty() => ExitCode::SUCCESS,
        Ok(failed) => {
            say(format!("failed: {}\n", failed.join(", ")).as_bytes());
            ExitCode::FAILURE
        }
        Err(why) => {
            say(format!("{why}\n").as_bytes());
            ExitCode::FAILURE
        }
    }
}

/// Builds all programs and counts the tests of the wanted ones; those with the most first.
fn suites(only: &[String]) -> Result<Vec<Suite>, String> {
    let output = Command::new(env!("CARGO"))
        .args(["test", "--no-run", "--workspace", "--test", "*"])
        .args(["--message-format", "json-render-diagnostics"])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    if !output.status.success() {
        return Err("the tests do not compile; see above".to_owned());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut suites = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter_map(|message| suite(&message))
        .filter(|suite| only.is_empty() || only.contains(&suite.name))
        .map(counted)
        .collect::<Result<Vec<Suite>, String>>()?;
    if suites.is_empty() {
        return Err("there is no such program of tests".to_owned());
    }
    suites.sort_by_key(|suite| Reverse(suite.tests));
    Ok(suites)
}

/// The suite that a message of cargo names, if it does.
fn suite(message: &Value) -> Option<Suite> {
    let program = PathBuf::from(message["executable"].as_str()?);
    if message["target"]["kind"][0] != "test" {
        return None;
    }
    let mut folder = PathBuf::from(message["manifest_path"].as_str()?);
    folder.pop();
    let name = message["target"]["name"].as_str()?.to_owned();
    Some(Suite {
        name,
        program,
        folder,
        tests: 0,
    })
}

fn counted(mut suite: Suite) -> Result<Suite, String> {
    let output = Command::new(&suite.program)
        .args(["--list", "--format", "terse"])
        .current_dir(&suite.folder)
        .output()
        .map_err(|error| format!("{}: {error}", suite.name))?;
    if !output.status.success() {
        return Err(format!("{} does not list its tests", suite.name));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    suite.tests = text.lines().filter(|line| line.ends_with(": test")).count();
    Ok(suite)
}

/// Runs them, `jobs` at a time; the names of those that failed.
fn run(suites: Vec<Suite>, jobs: usize) -> Result<Vec<String>, String> {
    let queue = Mutex::new(suites.into_iter());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let failed = Mutex::new(Vec::new());
    let work = || {
        while let Some(suite) = next() {
            if !passes(&suite) {
                failed.lock().unwrap_or_else(PoisonError::into_inner).push(suite.name);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(work);
        }
    });
    failed.into_inner().map_err(|_| "a runner panicked".to_owned())
}

/// Whether all its tests pass. Says what it said.
#[expect(
    clippy::disallowed_methods,
    reason = "for the reader alone; nothing is decided by it"
)]
fn passes(suite: &Suite) -> bool {
    let began = Instant::now();
    let output = Command::new(&suite.program)
        .arg("--test-threads=1")
        .current_dir(&suite.folder)
        .env("CARGO_MANIFEST_DIR", &suite.folder)
        .output();
    let seconds = began.elapsed().as_secs();
    let output = match output {
        Ok(output) => output,
        Err(error) => {
            say(format!("{}: {error}\n", suite.name).as_bytes());
            return false;
        }
    };
    let mut text = format!("\n{} ({seconds} s)", suite.name).into_bytes();
    text.extend(&output.stdout);
    text.extend(&output.stderr);
    say(&text);
    output.status.success()
}

/// One piece, so that programs do not speak into each other.
fn say(text: &[u8]) {
    let mut out = io::stdout().lock();
    // Nobody to tell when the terminal is gone; the exit code says it.
    let _ = out.write_all(text).and_then(|()| out.flush());
}
