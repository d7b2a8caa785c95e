//! A single-node Apache Kafka (KRaft: broker and controller in one process) for tests.
//!
//! Guarantees: a fresh data folder per [`Kafka::start`]; the same folder and ports across [`Kafka::restart`]; no process left
//! behind. With `KAFKA_BOOTSTRAP_SERVERS` set, tests run against that cluster and cannot stop it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::distribution::Distribution;
use crate::machine;
use crate::ports::free_port_pair;
use crate::process::{Process, ProcessSpec};

/// The environment variable that names an existing cluster.
const BOOTSTRAP_VARIABLE: &str = "KAFKA_BOOTSTRAP_SERVERS";

/// A start takes about 3 s on an idle two-core machine; a busy one may need many times that.
const START_TIMEOUT: Duration = Duration::from_secs(90);

/// How often other ports are tried when somebody else took the drawn ones.
const START_ATTEMPTS: u32 = 3;

/// The line that a started server prints last.
const STARTED: &str = "Kafka Server started";

/// Stopping, restarting or pausing is impossible: the cluster is not ours.
#[derive(Debug, thiserror::Error)]
#[error("the cluster named by KAFKA_BOOTSTRAP_SERVERS cannot be stopped, restarted or paused by a test")]
pub struct ExternalCluster;

/// A Kafka that tests may use.
#[derive(Debug)]
pub struct Kafka {
    bootstrap: String,
    /// `None` for an existing cluster.
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    distribution: Distribution,
    settings: PathBuf,
    // Declared before the folder: the process must be gone before its files are.
    process: Mutex<Option<Process>>,
    folder: TempDir,
}

impl Kafka {
    /// Starts a broker of its own, or takes the cluster named in the environment.
    pub async fn start() -> Kafka {
        #[expect(clippy::disallowed_methods, reason = "the documented switch to an existing cluster")]
        let external = std::env::var(BOOTSTRAP_VARIABLE);
        if let Ok(bootstrap) = external
            && !bootstrap.is_empty()
        {
            return Kafka { bootstrap, own: None };
        }
        let distribution = blocking(Distribution::obtain).await;
        let mut failures = String::new();
        for _ in 0..START_ATTEMPTS {
            match Self::start_on_free_ports(distribution.clone()).await {
                Ok(kafka) => return kafka,
                Err(failure) => failures = failure,
            }
        }
        panic!("Apache Kafka did not start{failures}");
    }

    /// One broker for all tests of this process; give each test its own [`Kafka::unique_prefix`].
    ///
    /// A test that stops or pauses the broker disturbs the others: it should call [`Kafka::start`].
    pub async fn shared() -> Arc<Kafka> {
        static SHARED: OnceCell<Arc<Kafka>> = OnceCell::const_new();
        // Never dropped: its watcher ends the broker when this process ends.
        Arc::clone(SHARED.get_or_init(async || Arc::new(Kafka::start().await)).await)
    }

    async fn start_on_free_ports(distribution: Distribution) -> Result<Kafka, String> {
        let folder = tempfile::Builder::new()
            .prefix("usher-kafka-")
            .tempdir()
            .unwrap_or_else(|error| panic!("cannot create a temporary folder: {error}"));
        let (port, controller_port) = free_port_pair();
        let settings = folder.path().join("server.properties");
        let text = settings_text(port, controller_port, &folder.path().join("data"));
        fs::write(&settings, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", settings.display()));
        let own = Own {
            distribution,
            settings,
            process: Mutex::new(None),
            folder,
        };
        let format = own.format_command();
        blocking(move || {
            let mut command = format;
            machine::run(&mut command, "format Kafka's storage");
        })
        .await;
        let kafka = Kafka {
            bootstrap: format!("127.0.0.1:{port}"),
            own: Some(own),
        };
        kafka.run().await.map(|()| kafka)
    }

    /// Starts the process on the folder and ports that are there, and waits until it answers.
    async fn run(&self) -> Result<(), String> {
        let own = self.own.as_ref().expect("callers have checked that it is ours");
        let process = own.spawn();
        let line = process.output().wait_for(
            0,
            |line| line.contains(STARTED) || line.contains("Exiting Kafka"),
            START_TIMEOUT,
        );
        match line.await {
            Some(line) if line.contains(STARTED) => {}
            _ => return Err(process.story()),
        }
        let story = process.story();
        *own.process() = Some(process);
        let bootstrap = self.bootstrap.clone();
        blocking(move || wait_for_metadata(&bootstrap))
            .await
            .map_err(|error| format!(": {error}{story}"))
    }

    /// Host and port for clients.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Whether the cluster was named by the environment.
    pub fn is_external(&self) -> bool {
        self.own.is_none()
    }

    /// The broker's process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        let own = self.own.as_ref()?;
        own.process().as_ref().map(Process::pid)
    }

    /// Kills the broker and waits until it is gone. Its data stays. Stopping a stopped broker does nothing.
    pub async fn stop(&self) -> Result<(), ExternalCluster> {
        let own = self.own.as_ref().ok_or(ExternalCluster)?;
        let process = own.process().take();
        // Dropping kills and reaps; both block for a moment.
        blocking(move || drop(process)).await;
        Ok(())
    }

    /// Stops the broker if it runs, and starts it again with the same data on the same port.
    pub async fn restart(&self) -> Result<(), ExternalCluster> {
        self.stop().await?;
        if let Err(failure) = self.run().await {
            panic!("Apache Kafka did not start again{failure}");
        }
        Ok(())
    }

    /// Freezes the broker: connections stay open and nothing is answered.
    pub fn pause(&self) -> Result<(), ExternalCluster> {
        self.with_process(Process::sigstop)
    }

    /// Wakes a frozen broker.
    pub fn resume(&self) -> Result<(), ExternalCluster> {
        self.with_process(Process::sigcont)
    }

    /// A topic prefix that no other test uses, also not on a cluster that outlives the test.
    pub fn unique_prefix(&self) -> String {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = tempfile::Builder::new().prefix("").rand_bytes(8).tempdir();
        let random = folder
            .ok()
            .and_then(|folder| {
                folder
                    .path()
                    .file_name()
                    .map(|name| name.to_string_lossy().into_owned())
            })
            .expect("the temporary folder can be written");
        format!("t{}-{number}-{random}.", std::process::id())
    }

    fn with_process(&self, act: impl FnOnce(&Process)) -> Result<(), ExternalCluster> {
        let own = self.own.as_ref().ok_or(ExternalCluster)?;
        if let Some(process) = own.process().as_ref() {
            act(process);
        }
        Ok(())
    }
}

impl Own {
    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().expect("no holder of this lock panics")
    }

    fn spawn(&self) -> Process {
        Process::spawn(
            ProcessSpec::new("kafka", "java")
                .args(JVM_OPTIONS)
                .arg("-Xmx768m")
                .arg(format!(
                    "-Dlog4j2.configurationFile={}",
                    self.distribution.log_settings().display()
                ))
                .arg("-cp")
                .arg(self.distribution.class_path())
                .arg("kafka.Kafka")
                .arg(&self.settings)
                .scratch(self.folder.path()),
        )
    }

    fn format_command(&self) -> Command {
        let mut command = Command::new("java");
        command
            .args(JVM_OPTIONS)
            .arg("-cp")
            .arg(self.distribution.class_path())
            .args(["kafka.tools.StorageTool", "format"])
            // Any 16 bytes in base64: a cluster id tells clusters apart, and there is only this one.
            .args(["--cluster-id", "dXNoZXItdGVzdC1jbHVzdA"])
            .arg("--config")
            .arg(&self.settings);
        command
    }
}

/// A broker that lives for a minute starts faster with the simple collector and compiler.
const JVM_OPTIONS: [&str; 3] = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"];

fn settings_text(port: u16, controller_port: u16, data: &std::path::Path) -> String {
    let data = data.display();
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
# One node holds everything.
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# Few partitions: each costs a folder and a moment at first use.
offsets.topic.num.partitions=3
transaction.state.log.num.partitions=3
# A group's first member need not wait for others.
group.initial.rebalance.delay.ms=0
# A killed broker may register again only when its old session has run out; the default is 9 s.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
# Tests of take-over use short sessions.
group.min.session.timeout.ms=1000
# A misspelt topic must be an error.
auto.create.topics.enable=false
# Tests of compaction set this per topic; the cleaner looks often.
log.cleaner.backoff.ms=500
log.cleaner.dedupe.buffer.size=16777216
"
    )
}

/// Blocks until the broker answers a metadata request; the client retries the connection by itself.
fn wait_for_metadata(bootstrap: &str) -> Result<(), rdkafka::error::KafkaError> {
    let client: BaseConsumer = ClientConfig::new().set("bootstrap.servers", bootstrap).create()?;
    client.fetch_metadata(None, START_TIMEOUT).map(|_| ())
}

/// Runs blocking work off the async threads; a panic inside becomes the caller's panic.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(payload) => std::panic::resume_unwind(payload),
            Err(error) => panic!("blocking work was cancelled: {error}"),
        },
    }
}
