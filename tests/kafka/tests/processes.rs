//! Processes, their output, and the promise that none outlives its test.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use kafka_harness::{Process, ProcessSpec, Scim2Options, Scim2Server};

const TIMEOUT: Duration = Duration::from_secs(20);

fn shell(script: &str) -> Process {
    Process::spawn(ProcessSpec::new("shell", "sh").args(["-c", script]))
}

fn folder_of(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}"))
}

#[tokio::test]
async fn a_line_is_found_whether_it_was_printed_before_or_is_printed_later() {
    let process = shell("echo first; read -r _ < /dev/null; echo second >&2; exit 3");
    process.wait_for_line("second", TIMEOUT).await;
    assert_eq!(&*process.wait_for_line("fir", TIMEOUT).await, "first");
    assert_eq!(process.wait(TIMEOUT).await.code(), Some(3));
    let log = std::fs::read_to_string(process.output().path()).unwrap();
    assert!(log.contains("first\n") && log.contains("second\n"), "{log}");
}

#[tokio::test]
async fn a_mark_hides_what_was_printed_before_it() {
    let process = shell("echo same; echo same; echo end");
    process.wait(TIMEOUT).await;
    let mark = process.output().mark();
    let found = process.output().wait_for(mark, |line| line == "same", TIMEOUT).await;
    assert_eq!(found, None);
}

#[tokio::test]
async fn a_killed_process_reports_the_signal_and_a_frozen_one_can_be_woken() {
    use std::os::unix::process::ExitStatusExt;
    let process = shell("echo up; exec sleep 1000");
    process.wait_for_line("up", TIMEOUT).await;
    process.sigstop();
    #[cfg(target_os = "linux")]
    for task in std::fs::read_dir(format!("/proc/{}/task", process.pid())).unwrap() {
        let state = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap();
        assert!(state.contains(") T "), "a thread of a stopped process: {state}");
    }
    process.sigcont();
    process.sigkill();
    assert_eq!(process.wait(TIMEOUT).await.signal(), Some(9));
    // Signals to an ended process go nowhere.
    process.sigkill();
}

#[tokio::test]
async fn a_dropped_process_is_gone() {
    let process = shell("echo up; exec sleep 1000");
    process.wait_for_line("up", TIMEOUT).await;
    let folder = folder_of(process.pid());
    assert!(folder.exists());
    drop(process);
    assert!(!folder.exists());
}

#[tokio::test]
async fn a_process_dies_with_a_killed_test() {
    let helper = Process::spawn(ProcessSpec::new("helper", env!("CARGO_BIN_EXE_hold-a-process")));
    let line = helper
        .wait_for_line_after(0, |line| line.contains("child "), TIMEOUT)
        .await;
    let pid: u32 = line.split("child ").nth(1).unwrap().trim().parse().unwrap();
    assert!(folder_of(pid).exists());

    helper.sigkill();
    helper.wait(TIMEOUT).await;

    // `tail --pid` ends when that process is gone.
    let gone = Command::new("timeout")
        .args(["20", "tail", "-f", "/dev/null", "--pid", &pid.to_string()])
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(gone.success(), "process {pid} outlived the killed test");
}

#[tokio::test]
async fn the_third_party_scim_server_serves_and_checks_its_token() {
    let options = Scim2Options {
        bearer_token: Some("s3cret".to_owned()),
        ..Scim2Options::default()
    };
    let server = Scim2Server::start(options).await;
    let address = server
        .base_url()
        .trim_start_matches("http://")
        .trim_end_matches("/v2")
        .to_owned();
    for (token, expected) in [("s3cret", "200"), ("wrong", "401")] {
        let request = format!("GET /v2/Users HTTP/1.0\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n");
        let answer = exchange(&address, &request).await;
        let status = answer.split(' ').nth(1).unwrap();
        assert_eq!(status, expected, "{answer}");
    }
}

async fn exchange(address: &str, request: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address)
        .await
        .expect("the server listens");
    stream.write_all(request.as_bytes()).await.expect("the server reads");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .await
        .expect("the server answers in text");
    answer
}
