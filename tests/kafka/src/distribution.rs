//! An unmodified Apache Kafka, fetched once from Maven Central.
//!
//! Maven resolves the server and its runtime dependencies into `<cache>/kafka-<version>-<recipe>/lib`; the broker is started from these jars,
//! without the vendor's start scripts. Left out on purpose: choosing the newest version by itself. A pinned version gives the same
//! test tomorrow.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache::made_once;
use crate::machine;

/// The newest 4.x whose parts all resolved when this was written; 4.4.0 names a `kafka-tools-api` that could not be found.
pub const KAFKA_VERSION: &str = "4.3.1";

/// Binds the server's log calls to the log4j that it brings, which its own pom leaves to the distribution archive.
const LOG4J_VERSION: &str = "2.25.4";

/// Raise it when the list of artifacts or the log settings change, so that an older cache is not taken for the new one.
const RECIPE: u32 = 1;

const PACKAGES: &str = "default-jre-headless maven";

/// The folder of jars and log settings.
#[derive(Clone, Debug)]
pub(crate) struct Distribution {
    folder: PathBuf,
}

impl Distribution {
    /// Fetches it unless it is there. Blocks; the first call on a machine downloads about 45 MB.
    pub(crate) fn obtain() -> Distribution {
        machine::require("java", "-version", PACKAGES);
        let folder = made_once(&format!("kafka-{KAFKA_VERSION}-{RECIPE}"), fetch);
        Distribution { folder }
    }

    pub(crate) fn class_path(&self) -> String {
        // The star is for Java, which lists the folder itself; no shell sees it.
        format!("{}/*", self.folder.join("lib").display())
    }

    pub(crate) fn log_settings(&self) -> PathBuf {
        self.folder.join("log4j2.xml")
    }
}

fn fetch(folder: &Path) {
    machine::require("mvn", "--version", PACKAGES);
    let pom = folder.join("pom.xml");
    write(&pom, &pom_text());
    write(&folder.join("log4j2.xml"), LOG_SETTINGS);
    machine::run(
        Command::new("mvn")
            .args(["--batch-mode", "--quiet", "--file"])
            .arg(&pom)
            .arg("org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies")
            .arg("-DincludeScope=runtime")
            .arg(format!("-DoutputDirectory={}", folder.join("lib").display())),
        "fetch Apache Kafka with Maven",
    );
}

fn pom_text() -> String {
    format!(
        r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>dev.usher</groupId>
  <artifactId>kafka-for-tests</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>{KAFKA_VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId>
      <artifactId>log4j-slf4j-impl</artifactId>
      <version>{LOG4J_VERSION}</version>
    </dependency>
  </dependencies>
</project>
"#
    )
}

const LOG_SETTINGS: &str = r#"<Configuration status="WARN">
  <Appenders>
    <Console name="out" target="SYSTEM_OUT">
      <PatternLayout pattern="%d{HH:mm:ss.SSS} %-5p %c{1.} %m%n"/>
    </Console>
  </Appenders>
  <Loggers>
    <!-- Printing every setting twice at each start helps nobody. -->
    <Logger name="org.apache.kafka.common.config.AbstractConfig" level="WARN"/>
    <Logger name="kafka.server.KafkaConfig" level="WARN"/>
    <Root level="INFO"><AppenderRef ref="out"/></Root>
  </Loggers>
</Configuration>
"#;

fn write(path: &Path, text: &str) {
    if let Err(error) = fs::write(path, text) {
        panic!("cannot write {}: {error}", path.display());
    }
}
