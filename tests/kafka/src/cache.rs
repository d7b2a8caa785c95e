//! The cache folder of downloaded things, and making each of them exactly once.
//!
//! Test binaries run side by side, also in separate processes, so "is it there?" is answered under a file lock. A thing counts
//! as made only when its marker file exists: a run that was killed half way starts over.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The root of the repository that this crate was built in.
pub fn repository_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .expect("this crate sits two folders below the root")
        .to_path_buf()
}

/// Where downloads, virtual environments and logs of tests live: `<repository>/.cache`, ignored by git.
pub fn cache_dir() -> PathBuf {
    let dir = repository_root().join(".cache");
    create_dir(&dir);
    dir
}

pub(crate) fn create_dir(dir: &Path) {
    if let Err(error) = fs::create_dir_all(dir) {
        panic!("cannot create {}: {error}", dir.display());
    }
}

/// Returns `<cache>/<name>`, calling `make` on an empty folder first if nobody has made it yet.
///
/// Blocks while another process makes the same thing. The lock is released by the operating system when its holder dies, so a
/// killed run cannot block the next one.
pub(crate) fn made_once(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let dir = cache_dir().join(name);
    let marker = dir.join(".complete");
    if marker.exists() {
        return dir;
    }
    let lock_path = cache_dir().join(format!("{name}.lock"));
    let lock =
        File::create(&lock_path).unwrap_or_else(|error| panic!("cannot create {}: {error}", lock_path.display()));
    lock.lock()
        .unwrap_or_else(|error| panic!("cannot lock {}: {error}", lock_path.display()));
    if !marker.exists() {
        // Whatever is here belongs to a run that did not finish.
        let _ = fs::remove_dir_all(&dir);
        create_dir(&dir);
        make(&dir);
        File::create(&marker).unwrap_or_else(|error| panic!("cannot create {}: {error}", marker.display()));
    }
    dir
}
