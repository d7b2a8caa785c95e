//! Kills a process when the test process is gone, however that one ended.
//!
//! The test holds the write end of a pipe, a small shell reads it. When the test process dies the kernel closes the pipe, the
//! shell sees the end of input, kills the process and removes its folder.
//!
//! Why not `PR_SET_PDEATHSIG`: it fires when the *thread* that started the child ends, and every test function has a thread of
//! its own, so a server shared by tests would die with the first of them.

use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A guard process; dropping it calls it off.
#[derive(Debug)]
pub(crate) struct Watcher(Child);

// Signals that a terminal sends to the whole group must not end the guard before the process that it guards.
const SCRIPT: &str = r#"trap '' INT TERM HUP
while read -r _; do :; done
kill -KILL "$1" 2>/dev/null
if [ -n "$2" ]; then rm -rf -- "$2"; fi"#;

impl Watcher {
    /// Guards process `pid`; `folder`, if given, is removed after the kill.
    pub(crate) fn start(pid: u32, folder: Option<&Path>) -> Watcher {
        let child = Command::new("sh")
            .args(["-c", SCRIPT, "watcher"])
            .arg(pid.to_string())
            .arg(folder.map(Path::as_os_str).unwrap_or_default())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start `sh`: {error}"));
        Watcher(child)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // Kill before the pipe closes, else the guard would do its work.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
