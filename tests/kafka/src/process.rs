//! One child process: started, signalled by its id, waited for, and never left behind.
//!
//! Scenario tests kill, stop and continue the real binaries through this type; the broker and the SCIM server use it too. Its
//! methods may be called from any thread and any runtime, because servers are shared by tests that have a runtime each.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tokio::sync::watch;

use crate::cache::{cache_dir, create_dir};
use crate::output::Output;
use crate::watcher::Watcher;

/// What to start. `name` appears in failure messages and in the name of the log file.
#[derive(Clone, Debug)]
pub struct ProcessSpec {
    name: String,
    program: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    directory: Option<PathBuf>,
    scratch: Option<PathBuf>,
}

impl ProcessSpec {
    pub fn new(name: &str, program: impl AsRef<OsStr>) -> ProcessSpec {
        ProcessSpec {
            name: name.to_owned(),
            program: program.as_ref().to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            directory: None,
            scratch: None,
        }
    }

    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> ProcessSpec {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    pub fn args(self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> ProcessSpec {
        arguments.into_iter().fold(self, ProcessSpec::arg)
    }

    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> ProcessSpec {
        self.environment
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    pub fn current_dir(mut self, directory: impl AsRef<Path>) -> ProcessSpec {
        self.directory = Some(directory.as_ref().to_owned());
        self
    }

    /// A folder to remove if the test process dies without cleaning up.
    pub fn scratch(mut self, folder: impl AsRef<Path>) -> ProcessSpec {
        self.scratch = Some(folder.as_ref().to_owned());
        self
    }
}

/// A running (or ended) child process. Dropping it kills and reaps it.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: u32,
    output: Output,
    child: Arc<Mutex<Option<Child>>>,
    ended: watch::Receiver<Option<ExitStatus>>,
    reaper: Option<JoinHandle<()>>,
    watcher: Option<Watcher>,
}

impl Process {
    /// Starts the program with its output captured to `<cache>/logs/<name>-<test pid>-<number>.log`.
    ///
    /// The log is removed when the process is dropped by a test that passed, and kept when the test panics.
    pub fn spawn(spec: ProcessSpec) -> Process {
        let output = Output::create(log_path(&spec.name));
        let mut command = Command::new(&spec.program);
        command
            .args(&spec.arguments)
            .envs(spec.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(directory) = &spec.directory {
            command.current_dir(directory);
        }
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {} ({}): {error}", spec.name, spec.program.display()));
        let pid = child.id();
        let watcher = Watcher::start(pid, spec.scratch.as_deref());
        output.capture(&spec.name, child.stdout.take().expect("stdout is piped"));
        output.capture(&spec.name, child.stderr.take().expect("stderr is piped"));
        let child = Arc::new(Mutex::new(Some(child)));
        let (sender, ended) = watch::channel(None);
        let reaper = std::thread::Builder::new()
            .name(format!("reaper {}", spec.name))
            .spawn({
                let child = Arc::clone(&child);
                move || {
                    let status = reap(pid, &child);
                    sender.send_replace(Some(status));
                }
            })
            .expect("the system can start one more thread");
        Process {
            name: spec.name,
            pid,
            output,
            child,
            ended,
            reaper: Some(reaper),
            watcher: Some(watcher),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Everything printed, and waiting for what will be.
    pub fn output(&self) -> &Output {
        &self.output
    }

    /// Kills at once, like a machine that loses power.
    pub fn sigkill(&self) {
        self.signal(Signal::KILL);
    }

    /// Asks for an orderly end.
    pub fn sigterm(&self) {
        self.signal(Signal::TERM);
    }

    /// Tells it to look at its configuration again.
    pub fn sighup(&self) {
        self.signal(Signal::HUP);
    }

    /// Freezes the process, like a long pause of a virtual machine. Every thread of it stands still when this returns: the
    /// signal stops one, which stops the others when it gets to run, and a busy machine may take its time over that.
    pub fn sigstop(&self) {
        self.signal(Signal::STOP);
        let child = self.child.lock().expect("no holder of this lock panics");
        // Without reaping, and with an end that came first.
        let options = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let interrupted = || {
            matches!(
                waitid(WaitId::Pid(process_id(self.pid)), options),
                Err(rustix::io::Errno::INTR)
            )
        };
        while child.is_some() && interrupted() {}
    }

    /// Wakes a frozen process.
    pub fn sigcont(&self) {
        self.signal(Signal::CONT);
    }

    /// The exit status if the process has ended.
    pub fn status(&self) -> Option<ExitStatus> {
        *self.ended.borrow()
    }

    /// Waits for the end; panics with the last lines if that takes longer than `timeout`.
    pub async fn wait(&self, timeout: Duration) -> ExitStatus {
        let mut ended = self.ended.clone();
        let Ok(Ok(status)) = tokio::time::timeout(timeout, ended.wait_for(Option::is_some)).await else {
            panic!("{} did not end within {timeout:?}{}", self.name, self.story());
        };
        let status = status.expect("waited for it to be there");
        // A grandchild may keep the pipe open: complete output is worth a moment, not more.
        self.output.closed(Duration::from_secs(2)).await;
        status
    }

    /// Waits for a line with `part` in it, printed now or earlier, and returns it. Panics with the last lines if it does not come.
    pub async fn wait_for_line(&self, part: &str, timeout: Duration) -> Arc<str> {
        let wanted = |line: &str| line.contains(part);
        match self.output.wait_for(0, wanted, timeout).await {
            Some(line) => line,
            None => panic!(
                "{} did not print {part:?} within {timeout:?}{}",
                self.name,
                self.story()
            ),
        }
    }

    /// As [`Process::wait_for_line`], looking only at lines after `mark` (from [`Output::mark`]) that `wanted` accepts.
    pub async fn wait_for_line_after(&self, mark: usize, wanted: impl Fn(&str) -> bool, timeout: Duration) -> Arc<str> {
        match self.output.wait_for(mark, wanted, timeout).await {
            Some(line) => line,
            None => panic!(
                "{} did not print the wanted line within {timeout:?}{}",
                self.name,
                self.story()
            ),
        }
    }

    /// The end of the log and where the rest is, for failure messages.
    pub fn story(&self) -> String {
        let state = match self.status() {
            Some(status) => format!("ended with {status}"),
            None => "still running".to_owned(),
        };
        format!(
            " ({state}); log: {}\n{}",
            self.output.path().display(),
            self.output.tail(30)
        )
    }

    /// Sends a signal unless the process has been reaped: its id may belong to somebody else by then.
    fn signal(&self, signal: Signal) {
        let child = self.child.lock().expect("no holder of this lock panics");
        if child.is_some() {
            // The only possible error is that it ended just now, which is no error for any caller.
            let _ = kill_process(process_id(self.pid), signal);
        }
    }
}

impl Drop for Process {
    #[expect(clippy::print_stderr, reason = "the captured output of a failed test")]
    fn drop(&mut self) {
        self.sigkill();
        if let Some(reaper) = self.reaper.take() {
            let _ = reaper.join();
        }
        drop(self.watcher.take());
        if std::thread::panicking() {
            // What the process saw, beside the failure of the test that started it.
            eprintln!("{}{}", self.name, self.story());
        } else {
            let _ = std::fs::remove_file(self.output.path());
        }
    }
}

/// Waits for the end *without* reaping, then reaps under the lock, so that no signal can reach a reused process id.
fn reap(pid: u32, child: &Mutex<Option<Child>>) -> ExitStatus {
    loop {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        match waitid(WaitId::Pid(process_id(pid)), options) {
            Err(rustix::io::Errno::INTR) => {}
            _ => break,
        }
    }
    let mut child = child.lock().expect("no holder of this lock panics");
    let status = child.as_mut().map(Child::wait);
    *child = None;
    match status {
        Some(Ok(status)) => status,
        other => panic!("process {pid} could not be waited for: {other:?}"),
    }
}

fn process_id(pid: u32) -> Pid {
    i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .expect("a child's process id is a positive 32-bit number")
}

fn log_path(name: &str) -> PathBuf {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let folder = cache_dir().join("logs");
    create_dir(&folder);
    static TIDIED: Once = Once::new();
    TIDIED.call_once(|| remove_old_logs(&folder));
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    folder.join(format!("{name}-{}-{number}.log", std::process::id()))
}

/// Logs of killed or failed tests stay for a day, to be read; then they are in the way.
fn remove_old_logs(folder: &Path) {
    const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let age = modified.ok().and_then(|modified| modified.elapsed().ok());
        if age.is_some_and(|age| age > KEPT) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
