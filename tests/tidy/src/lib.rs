//! Rules about the repository itself, as tests: `cargo test -p tidy`.
//!
//! | Rule | In |
//! |---|---|
//! | What decides is pure: no runtime, client, files, environment, network, clock, randomness | `purity` |
//! | Dependencies point one way: services, runtime, contract; the proof shares no code with the proven | `dependencies` |
//! | Every file says what it is for, and none names a place outside the repository | `files` |
//! | Documents name paths and tests that exist, and every dependency has its line | `documents` |
//! | Every row of the mission names a test and a file that exist, or what it waits for | `mission` |
//! | Every row has a mutant that its test catches, and each mutant still has its place | `mutants` |
//!
//! Each rule is a function over texts, tested on planted violations; `repository` holds this repository against them.
//! Left out: what the compiler, clippy and cargo-deny check already.

pub mod dependencies;
pub mod documents;
pub mod files;
pub mod mission;
pub mod mutants;
pub mod purity;
#[cfg(test)]
mod repository;

use std::fmt;

/// Something that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// File, from the root of the repository.
    pub place: String,
    /// Counted from 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

impl Violation {
    /// A violation at a place.
    #[must_use]
    pub fn new(place: &str, line: usize, what: impl Into<String>) -> Self {
        Self {
            place: place.to_owned(),
            line,
            what: what.into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.place, self.what),
            line => write!(f, "{}:{line}: {}", self.place, self.what),
        }
    }
}
