//! The durable home of a refresh token: a file of the operator's, replaced as a whole.
//!
//! Guarantees: readers see the old content or the new one; what `save` has returned from survives a crash of process or
//! machine; only the owner may read it; one process at a time renews. The file holds one JSON object; a bare token, as
//! somebody may have put there by hand, is read as well.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use usher_runtime::secret::Secret;

/// Between two looks whether another process has finished its renewal.
const LOCK_EVERY: Duration = Duration::from_millis(50);

/// What the file holds.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) refresh: Secret,
    /// When it ends, when the application said so.
    pub(crate) expires: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    refresh_token: String,
    written_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
}

/// A file with a refresh token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenFile {
    path: PathBuf,
}

/// Held while a renewal is under way; given back when dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _file: Option<File>,
}

impl TokenFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What it holds; `None` when it is not there yet.
    ///
    /// # Errors
    /// It cannot be read, or holds something else.
    pub(crate) fn read(&self) -> io::Result<Option<Held>> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let text = text.trim();
        if let Ok(content) = serde_json::from_str::<Content>(text) {
            return Ok(Some(Held {
                refresh: Secret::new(content.refresh_token),
                expires: content.expires_at,
            }));
        }
        if text.is_empty() || text.starts_with('{') || text.contains(char::is_whitespace) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it holds no refresh token"));
        }
        Ok(Some(Held {
            refresh: Secret::new(text),
            expires: None,
        }))
    }

    /// Replaces the content. When this returns, the new token is what a start after a crash finds.
    ///
    /// # Errors
    /// The old content is still there then.
    pub(crate) fn save(&self, held: &Held, now: Timestamp) -> io::Result<()> {
        let content = Content {
            refresh_token: held.refresh.expose().to_owned(),
            written_at: now,
            expires_at: held.expires,
        };
        // A link leads to the file that is meant: it stays a link.
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let beside = beside(&path, "new")?;
        let written = write_private(&beside, &serde_json::to_vec(&content)?)
            .and_then(|()| fs::rename(&beside, &path))
            .and_then(|()| sync_folder(&path));
        if written.is_err() {
            let _ = fs::remove_file(&beside);
        }
        written
    }

    /// Whether a new token could be saved, found out by trying beside the file.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check_writable(&self) -> io::Result<()> {
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let beside = beside(&path, &format!("try-{:016x}", rand::random::<u64>()))?;
        write_private(&beside, b"")?;
        fs::remove_file(&beside)
    }

    /// Waits until no other process renews by this file: two that renew at once would make each other's token worthless.
    ///
    /// # Errors
    /// The lock cannot be made, or it was not free in time.
    pub(crate) async fn turn(&self, within: Duration) -> io::Result<Turn> {
        let path = beside(&self.path, "lock")?;
        let file = OpenOptions::new().create(true).write(true).truncate(false).open(path)?;
        let deadline = tokio::time::Instant::now() + within;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Turn { _file: Some(file) }),
                Err(fs::TryLockError::WouldBlock) if tokio::time::Instant::now() >= deadline => {
                    return Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        "another process is renewing the token and does not finish",
                    ));
                }
                Err(fs::TryLockError::WouldBlock) => tokio::time::sleep(LOCK_EVERY).await,
                Err(fs::TryLockError::Error(error)) => return Err(error),
            }
        }
    }

    /// For files that are only read: nobody can be in the way.
    pub(crate) fn no_turn() -> Turn {
        Turn { _file: None }
    }
}

/// `.name.ending` in the same folder, so that a rename stays within one file system.
fn beside(path: &Path, ending: &str) -> io::Result<PathBuf> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it is no file"))?;
    Ok(path.with_file_name(format!(".{}.{ending}", name.to_string_lossy())))
}

fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    // A file that a crash has left behind keeps its mode when it is opened again.
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    file.write_all(content)?;
    file.sync_all()
}

/// A rename is durable once its folder is.
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn held(refresh: &str) -> Held {
        Held {
            refresh: Secret::new(refresh),
            expires: None,
        }
    }

    fn text(read: io::Result<Option<Held>>) -> Option<String> {
        read.unwrap().map(|held| held.refresh.expose().to_owned())
    }

    #[test]
    fn a_saved_token_is_read_back_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::new(folder.path().join("token"));
        assert_eq!(text(file.read()), None);
        let expires = "2027-01-02T03:04:05Z".parse().ok();
        let first = Held { expires, ..held("one") };
        file.save(&first, Timestamp::UNIX_EPOCH).unwrap();
        assert!(file.read().unwrap() == Some(first));
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
        file.save(&held("two"), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(text(file.read()).as_deref(), Some("two"));
        assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "nothing is left behind"
        );
    }

    #[test]
    fn a_bare_token_is_read_and_rubbish_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::new(folder.path().join("token"));
        fs::write(file.path(), "5Aep861.bare\n").unwrap();
        assert_eq!(text(file.read()).as_deref(), Some("5Aep861.bare"));
        for rubbish in ["", " \n", "{\"access_token\": \"s3cret\"}", "two words", "{"] {
            fs::write(file.path(), rubbish).unwrap();
            let error = file.read().err().unwrap();
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn a_link_stays_a_link_and_a_missing_folder_is_no_home() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::write(&real, "one").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let file = TokenFile::new(link.clone());
        file.check_writable().unwrap();
        file.save(&held("two"), Timestamp::UNIX_EPOCH).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(text(TokenFile::new(real).read()).as_deref(), Some("two"));
        let nowhere = TokenFile::new(folder.path().join("no/such/token"));
        assert!(nowhere.check_writable().is_err());
        assert!(nowhere.save(&held("x"), Timestamp::UNIX_EPOCH).is_err());
    }

    #[tokio::test]
    async fn one_at_a_time_renews() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::new(folder.path().join("token"));
        let turn = file.turn(Duration::from_secs(5)).await.unwrap();
        let error = file.turn(Duration::ZERO).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(turn);
        file.turn(Duration::ZERO).await.unwrap();
    }
}
