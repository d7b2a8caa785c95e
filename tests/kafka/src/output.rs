//! What a process printed: kept in a file for people and in memory for tests that wait for a line.
//!
//! Lines are pushed by a reader thread per stream and waiters are woken by a channel, so waiting needs no polling.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;

/// The captured standard output and standard error of one process, in order of arrival.
#[derive(Clone, Debug)]
pub struct Output {
    path: PathBuf,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    written: Mutex<Written>,
    /// Number of lines so far; `usize::MAX` is never used for it. Closed streams are counted in `open`.
    lines: watch::Sender<usize>,
    open: watch::Sender<usize>,
}

#[derive(Debug)]
struct Written {
    file: File,
    lines: Vec<Arc<str>>,
}

impl Output {
    pub(crate) fn create(path: PathBuf) -> Output {
        let file = File::create(&path).unwrap_or_else(|error| panic!("cannot create {}: {error}", path.display()));
        let shared = Shared {
            written: Mutex::new(Written {
                file,
                lines: Vec::new(),
            }),
            lines: watch::Sender::new(0),
            open: watch::Sender::new(0),
        };
        Output {
            path,
            shared: Arc::new(shared),
        }
    }

    /// Copies `stream` to the file and to memory until it ends.
    pub(crate) fn capture(&self, name: &str, stream: impl Read + Send + 'static) {
        let shared = Arc::clone(&self.shared);
        shared.open.send_modify(|open| *open += 1);
        std::thread::Builder::new()
            .name(format!("output {name}"))
            .spawn(move || {
                let mut reader = BufReader::new(stream);
                let mut line = Vec::new();
                while matches!(reader.read_until(b'\n', &mut line), Ok(read) if read > 0) {
                    shared.push(&line);
                    line.clear();
                }
                shared.open.send_modify(|open| *open -= 1);
            })
            .expect("the system can start one more thread");
    }

    /// The file that holds everything printed.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every line printed so far.
    pub fn lines(&self) -> Vec<Arc<str>> {
        self.shared.written().lines.clone()
    }

    /// How many lines there are; give it to [`Output::wait_for`] to look only at what comes later.
    pub fn mark(&self) -> usize {
        self.shared.written().lines.len()
    }

    /// Waits for a line at or after `mark` that `wanted` accepts. `None` when the time is up, or when the process closed its
    /// output without having printed one.
    pub async fn wait_for(&self, mark: usize, wanted: impl Fn(&str) -> bool, timeout: Duration) -> Option<Arc<str>> {
        let search = async {
            let mut lines = self.shared.lines.subscribe();
            let mut open = self.shared.open.subscribe();
            let mut next = mark;
            loop {
                // Order matters: a stream that closes after this read has pushed its last line before.
                let closed = *open.borrow_and_update() == 0;
                lines.borrow_and_update();
                {
                    let written = self.shared.written();
                    let fresh = written.lines.get(next..).unwrap_or_default();
                    if let Some(line) = fresh.iter().find(|line| wanted(line)) {
                        return Some(Arc::clone(line));
                    }
                    next = next.max(written.lines.len());
                }
                if closed {
                    return None;
                }
                tokio::select! {
                    _ = lines.changed() => {}
                    _ = open.changed() => {}
                }
            }
        };
        tokio::time::timeout(timeout, search).await.ok().flatten()
    }

    /// Waits until every stream has ended, so that nothing printed is missing.
    pub(crate) async fn closed(&self, timeout: Duration) {
        let mut open = self.shared.open.subscribe();
        let _ = tokio::time::timeout(timeout, open.wait_for(|open| *open == 0)).await;
    }

    /// The last `count` lines as one text, for failure messages.
    pub fn tail(&self, count: usize) -> String {
        let lines = self.lines();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }
}

impl Shared {
    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().expect("no reader panics while it holds the lock")
    }

    fn push(&self, line: &[u8]) {
        let mut written = self.written();
        // A full disk must not end the capture: the memory copy still serves the test.
        let _ = written.file.write_all(line);
        let text = String::from_utf8_lossy(line);
        written.lines.push(Arc::from(text.trim_end_matches(['\r', '\n'])));
        let count = written.lines.len();
        drop(written);
        self.lines.send_replace(count);
    }
}
