//! The third-party SCIM library SCIM-SDK (Java) as a test target: strict about values, versions by the content of an account.
//!
//! Maven fetches the library and a compiler that a plain Java runtime can run; together about 10 MB.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::broker::blocking;
use crate::cache::{made_once, repository_root};
use crate::machine;
use crate::process::{Process, ProcessSpec};
use crate::scimmy::announced;

const PACKAGES: &str = "default-jre-headless maven";

/// A running server; dropping it stops it.
#[derive(Debug)]
pub struct ScimSdk {
    process: Process,
    base_url: String,
}

impl ScimSdk {
    pub async fn start(bearer_token: &str) -> ScimSdk {
        let folder = blocking(obtain).await;
        let class_path = format!("{0}/lib/*:{0}/out", folder.display());
        let process = Process::spawn(
            ProcessSpec::new("scim-sdk", "java")
                .args(["-Xmx256m", "-cp", &class_path, "Server"])
                .arg(bearer_token),
        );
        let base_url = announced(&process).await;
        ScimSdk { process, base_url }
    }

    /// For example `http://127.0.0.1:21080/scim/v2`, without a slash at the end.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// The process, to freeze it.
    pub fn process(&self) -> &Process {
        &self.process
    }
}

fn obtain() -> PathBuf {
    machine::require("java", "-version", PACKAGES);
    let source = repository_root().join("tests/scim-sdk");
    let mut hasher = DefaultHasher::new();
    for file in ["pom.xml", "Server.java"] {
        let text = fs::read_to_string(source.join(file))
            .unwrap_or_else(|error| panic!("cannot read {file} in {}: {error}", source.display()));
        text.hash(&mut hasher);
    }
    made_once(&format!("scim-sdk-{:016x}", hasher.finish()), |folder| {
        build(&source, folder);
    })
}

fn build(source: &Path, folder: &Path) {
    machine::require("mvn", "--version", PACKAGES);
    machine::run(
        Command::new("mvn")
            .args(["--batch-mode", "--quiet", "--file"])
            .arg(source.join("pom.xml"))
            .arg("org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies")
            .arg("-DincludeScope=runtime")
            .arg(format!("-DoutputDirectory={}", folder.join("lib").display())),
        "fetch SCIM-SDK with Maven",
    );
    machine::run(
        Command::new("java")
            .arg("-cp")
            .arg(format!("{}/lib/*", folder.display()))
            .args(["org.eclipse.jdt.internal.compiler.batch.Main", "-17", "-nowarn", "-d"])
            .arg(folder.join("out"))
            .arg(source.join("Server.java"))
            .arg("-classpath")
            .arg(class_path(&folder.join("lib"))),
        "compile the SCIM-SDK server",
    );
}

/// All jars: this compiler does not know the star.
fn class_path(folder: &Path) -> String {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("cannot read {}: {error}", folder.display()));
    let jars: Vec<String> = entries
        .flatten()
        .map(|entry| entry.path().display().to_string())
        .collect();
    jars.join(":")
}
