//! Where a list lies: what every kind of place can do.
//!
//! | Place | Takes effect as a whole by | A second writer is noticed by |
//! |---|---|---|
//! | folder | a file beside it, synced, renamed over it; the folder synced | the content, compared under a lock |
//! | S3, Google Cloud Storage, Azure | one PUT, which is all or nothing | a conditional PUT |
//! | WebDAV | a file beside it, MOVEd over it | the ETag, just before the MOVE, and the content, right after it |

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use std::time::Instant;

use futures::future::BoxFuture;
use sha2::{Digest, Sha256};

use super::book::refusal;
use crate::connector::{Refusal, lease::Lease};

mod ambient;
mod carrier;
pub(super) mod folder;
pub(super) mod objects;
pub(super) mod webdav;

/// What a file was when it was read, opaque.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version(pub(super) String);

/// A hash of content.
pub(super) fn hash(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) bytes: Vec<u8>,
    pub(super) version: Version,
}

/// Why a place did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PlaceError {
    /// The file is not what it was: somebody else has written, or taken it away.
    Changed,
    /// The owner may not write any more.
    LeaseOver,
    /// It does not work; whether something was done is not known.
    Failed(Refusal),
}

impl PlaceError {
    pub(super) fn failed(code: &str, reason: impl AsRef<str>) -> Self {
        Self::Failed(refusal(code, reason.as_ref()))
    }
}

pub(super) type Answer<'a, T> = BoxFuture<'a, Result<T, PlaceError>>;

/// Asked right before the step that takes effect, wherever that is.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    pub(super) lease: Lease,
    dropped: Arc<AtomicBool>,
}

impl Gate {
    pub(super) fn new(lease: Lease) -> Self {
        Self {
            lease,
            dropped: Arc::default(),
        }
    }

    /// Whether the step may be taken.
    pub(super) fn pass(&self) -> Result<(), PlaceError> {
        let open = !self.dropped.load(Ordering::SeqCst) && self.lease.may_start_write(now());
        if open { Ok(()) } else { Err(PlaceError::LeaseOver) }
    }

    /// Closes the gate when the value goes: work on another thread outlives the future that waits for it.
    pub(super) fn closes_with_us(&self) -> Closes {
        Closes(Arc::clone(&self.dropped))
    }
}

/// See [`Gate::closes_with_us`].
pub(super) struct Closes(Arc<AtomicBool>);

impl Drop for Closes {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The clock of leases; tests can stop it.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// One folder, bucket or server. Names are names of files in it.
pub(super) trait Place: Send + Sync {
    /// What the file is now; `None` when there is none.
    fn version<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Version>>;
    /// The file.
    fn read<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Stored>>;
    /// Puts a file in the place of what was `expected`, all or nothing, when the gate is open.
    fn replace<'a>(
        &'a self,
        name: &'a str,
        bytes: &'a [u8],
        expected: Option<&'a Version>,
        gate: &'a Gate,
    ) -> Answer<'a, Version>;
    /// Copies a file over another; nothing when there is none.
    fn copy<'a>(&'a self, from: &'a str, to: &'a str) -> Answer<'a, ()>;
    /// Removes a file, which may be gone already.
    fn remove<'a>(&'a self, name: &'a str) -> Answer<'a, ()>;
    /// What it is, for people.
    fn words(&self) -> String;
}
