//! Clients of Salesforce that others wrote, against the simulator's binary: the proof that it is not a straw man.
//!
//! The programs are in `tests/clients`. Their packages are installed once, below `.cache`. A missing Node or Python fails the
//! test with the line to run: a proof that is skipped is none.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use kafka_harness::{VirtualEnv, cache_dir, node_is_at_least, repository_root};
use serde_json::Value;

fn clients() -> PathBuf {
    repository_root().join("tests/clients")
}

/// The simulator as a process, killed when the test ends early.
struct Simulator {
    process: Child,
    line: String,
    told: Value,
    folder: tempfile::TempDir,
}

impl Simulator {
    fn start(tls: bool, users: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_salesforce-sim"));
        command
            .args(["--users", &users.to_string(), "--seed", "11", "--keepalive-ms", "500"])
            .arg("--jwt-private-key-out")
            .arg(folder.path().join("key.pem"))
            .stdout(Stdio::piped());
        if tls {
            command.arg("--tls-ca-out").arg(folder.path().join("ca.pem"));
        }
        let mut process = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let told = serde_json::from_str(&line).expect("one JSON line when it serves");
        Self {
            process,
            line: line.trim().to_owned(),
            told,
            folder,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Ends it as an operator would, and expects it to go cleanly.
    fn stop(mut self) {
        let ended = Command::new("kill")
            .args(["-TERM", &self.process.id().to_string()])
            .status()
            .unwrap();
        assert!(ended.success());
        assert!(self.process.wait().unwrap().success(), "a clean end on SIGTERM");
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        // Already gone after `stop`: then there is nothing to kill.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The folder with the installed packages and copies of the programs, made anew when a pin changes.
fn node_programs() -> PathBuf {
    assert!(
        node_is_at_least(20),
        "these tests need Node 20.18.1 or newer and npm on the path; run: scripts/setup.sh test"
    );
    let lock_text = fs::read_to_string(clients().join("package-lock.json")).unwrap();
    let folder = cache_dir().join(format!("node-clients-{:016x}", fingerprint(&lock_text)));
    fs::create_dir_all(&folder).unwrap();
    let lock = File::create(folder.join(".lock")).unwrap();
    lock.lock().unwrap();
    if !folder.join(".complete").exists() {
        for name in ["package.json", "package-lock.json", ".npmrc"] {
            fs::copy(clients().join(name), folder.join(name)).unwrap();
        }
        let installed = Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
            .current_dir(&folder)
            .status()
            .expect("npm is on the path; run: scripts/setup.sh test");
        assert!(installed.success(), "npm ci failed in {}", folder.display());
        File::create(folder.join(".complete")).unwrap();
    }
    for name in ["jsforce.mjs", "pubsub.mjs"] {
        fs::copy(clients().join(name), folder.join(name)).unwrap();
    }
    folder
}

/// FNV-1a: the folder's name must be the same for every build of this test.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The JSON line a program prints; its complaints are shown when it fails.
fn report_of(command: &mut Command) -> Value {
    let output = command.output().unwrap();
    let (said, complained) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "{command:?} ended with {}\n{said}\n{complained}",
        output.status
    );
    serde_json::from_str(said.lines().last().unwrap_or_default()).unwrap()
}

fn node(folder: &Path, simulator: &Simulator, program: &str) -> Command {
    let mut command = Command::new("node");
    command
        .arg(program)
        .arg(&simulator.line)
        .current_dir(folder)
        .env("NODE_EXTRA_CA_CERTS", simulator.file("ca.pem"));
    command
}

#[test]
fn jsforce_signs_in_queries_and_updates_with_and_without_tls() {
    let folder = node_programs();
    for tls in [false, true] {
        let simulator = Simulator::start(tls, 2500);
        assert_eq!(simulator.told["http"].as_str().unwrap().starts_with("https://"), tls);
        let report = report_of(&mut node(&folder, &simulator, "jsforce.mjs"));
        assert_eq!((&report["users"], &report["reportRows"]), (&2500.into(), &2000.into()));
        simulator.stop();
    }
}

#[test]
fn salesforce_pubsub_api_client_receives_and_decodes_the_change_event() {
    let folder = node_programs();
    let simulator = Simulator::start(true, 300);
    let by_secret = report_of(&mut node(&folder, &simulator, "pubsub.mjs"));
    assert!(
        by_secret["changed"]
            .as_array()
            .unwrap()
            .contains(&"Name.FirstName".into())
    );
    simulator.stop();
}

#[test]
fn salesforce_pubsub_api_client_signs_in_with_a_signed_assertion() {
    let folder = node_programs();
    let simulator = Simulator::start(true, 300);
    let key = simulator.file("key.pem");
    let report = report_of(node(&folder, &simulator, "pubsub.mjs").arg(key));
    assert!(report["updated"].as_str().unwrap().starts_with("005"));
    simulator.stop();
}

#[test]
fn simple_salesforce_signs_in_queries_and_updates_over_tls() {
    let environment = VirtualEnv::for_requirements("salesforce-clients", &clients().join("requirements.txt"));
    let simulator = Simulator::start(true, 2500);
    let report = report_of(
        Command::new(environment.program("python"))
            .arg(clients().join("simple_salesforce_client.py"))
            .arg(&simulator.line)
            .arg(simulator.file("ca.pem")),
    );
    assert_eq!(report["users"], 2500);
    simulator.stop();
}
