//! Starts a process through the harness and waits to be killed: a test kills it and looks whether the process goes too.

use std::time::Duration;

use kafka_harness::{Process, ProcessSpec};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the test reads the process id")]
async fn main() {
    let process = Process::spawn(ProcessSpec::new("held", "sh").args(["-c", "echo up; exec sleep 1000"]));
    process.wait_for_line("up", Duration::from_secs(20)).await;
    println!("child {}", process.pid());
    std::future::pending::<()>().await;
}
