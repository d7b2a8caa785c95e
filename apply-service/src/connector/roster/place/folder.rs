//! A folder: written beside, synced, renamed, the folder synced. What a crash leaves is the old list or the new one.
//!
//! Writers take turns by a lock (`flock`) on `.<file>.lock`; under it the content is compared with what was expected and the
//! lease is looked at. So an owner that slept and wakes finds its lease over, or another content. A process that is
//! stopped between that look and the rename holds the lock: its successor waits for it, finds another content afterwards
//! and writes its own list over it. On network folders all this is as good as their locks (NFS 4 has them, some FUSE
//! file systems do not).

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Answer, Gate, Place, PlaceError, Stored, Version, hash};

/// What is asked of the file system, in this order: tests look at the order and let steps fail.
pub(super) trait Disk: Send + Sync {
    /// Held until dropped.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send>>;
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// An empty file.
    fn create(&self, path: &Path) -> io::Result<Box<dyn Beside>>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Waits until what the folder holds is on the disk.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
}

/// A file that is being written.
pub(super) trait Beside {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Waits until it is on the disk.
    fn sync(&mut self) -> io::Result<()>;
}

impl Beside for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

/// Writes a whole file and waits until it is on the disk.
fn write_synced(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = disk.create(path)?;
    file.write(bytes)?;
    file.sync()
}

/// The file system.
struct RealDisk;

impl Disk for RealDisk {
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send>> {
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
        file.lock()?;
        Ok(Box::new(file))
    }
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn Beside>> {
        Ok(Box::new(File::create(path)?))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

/// See the module.
pub(in super::super) struct Folder {
    path: PathBuf,
    disk: Arc<dyn Disk>,
}

impl Folder {
    pub(in super::super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            disk: Arc::new(RealDisk),
        }
    }

    /// Files block: off the async workers.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Disk, &Path) -> Result<T, PlaceError> + Send + 'static,
    ) -> Result<T, PlaceError> {
        let (disk, path) = (Arc::clone(&self.disk), self.path.clone());
        tokio::task::spawn_blocking(move || work(&*disk, &path))
            .await
            .unwrap_or_else(|_| Err(PlaceError::failed("folder", "the thread that writes has ended")))
    }
}

fn of_content(bytes: &[u8]) -> Version {
    Version(hash(bytes))
}

/// The kind of error and the way out; paths are the operator's own.
fn failed(doing: &str, path: &Path, error: &io::Error) -> PlaceError {
    let hint = match error.kind() {
        io::ErrorKind::NotFound => "; the folder has to exist",
        io::ErrorKind::PermissionDenied => "; this process needs the right to write in the folder",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; there is no room left",
        _ => "",
    };
    PlaceError::failed("folder", format!("{doing} in {} failed: {error}{hint}", path.display()))
}

fn read_of(disk: &dyn Disk, folder: &Path, name: &str) -> Result<Option<Stored>, PlaceError> {
    match disk.read(&folder.join(name)) {
        Ok(bytes) => Ok(Some(Stored {
            version: of_content(&bytes),
            bytes,
        })),
        // A folder that is not there is not an empty one: a mount may be missing.
        Err(error) if error.kind() == io::ErrorKind::NotFound && folder.is_dir() => Ok(None),
        Err(error) => Err(failed("reading", folder, &error)),
    }
}

fn replace(
    disk: &dyn Disk,
    folder: &Path,
    name: &str,
    bytes: &[u8],
    expected: Option<&Version>,
    pass: impl Fn() -> Result<(), PlaceError>,
) -> Result<Version, PlaceError> {
    let _lock = disk
        .lock(&folder.join(format!(".{name}.lock")))
        .map_err(|error| failed("locking", folder, &error))?;
    // Nobody else has this name while we hold the lock; what a crash left is overwritten.
    let beside = folder.join(format!(".{name}.tmp"));
    let written = write_synced(disk, &beside, bytes).map_err(|error| failed("writing", folder, &error));
    let may = written
        .and_then(|()| read_of(disk, folder, name))
        .and_then(|there| {
            if there.as_ref().map(|stored| &stored.version) == expected {
                Ok(())
            } else {
                Err(PlaceError::Changed)
            }
        })
        .and_then(|()| pass());
    if let Err(error) = may {
        // Of no use to anybody; should it stay, the next write takes its name.
        let _ = disk.remove(&beside);
        return Err(error);
    }
    disk.rename(&beside, &folder.join(name))
        .map_err(|error| failed("renaming", folder, &error))?;
    disk.sync_folder(folder)
        .map_err(|error| failed("syncing the folder", folder, &error))?;
    Ok(of_content(bytes))
}

impl Place for Folder {
    fn version<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Version>> {
        Box::pin(async move { Ok(self.read(name).await?.map(|stored| stored.version)) })
    }

    fn read<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Stored>> {
        let name = name.to_owned();
        Box::pin(self.blocking(move |disk, folder| read_of(disk, folder, &name)))
    }

    fn replace<'a>(
        &'a self,
        name: &'a str,
        bytes: &'a [u8],
        expected: Option<&'a Version>,
        gate: &'a Gate,
    ) -> Answer<'a, Version> {
        let (name, bytes, expected) = (name.to_owned(), bytes.to_vec(), expected.cloned());
        Box::pin(async move {
            let gate = Gate::new(gate.lease.clone());
            let _closes = gate.closes_with_us();
            self.blocking({
                let gate = gate.clone();
                move |disk, folder| replace(disk, folder, &name, &bytes, expected.as_ref(), || gate.pass())
            })
            .await
        })
    }

    fn copy<'a>(&'a self, from: &'a str, to: &'a str) -> Answer<'a, ()> {
        let (from, to) = (from.to_owned(), to.to_owned());
        Box::pin(self.blocking(move |disk, folder| {
            let Some(stored) = read_of(disk, folder, &from)? else {
                return Ok(());
            };
            let beside = folder.join(format!(".{to}.tmp"));
            write_synced(disk, &beside, &stored.bytes)
                .and_then(|()| disk.rename(&beside, &folder.join(&to)))
                .map_err(|error| failed("keeping the previous file", folder, &error))
        }))
    }

    fn remove<'a>(&'a self, name: &'a str) -> Answer<'a, ()> {
        let name = name.to_owned();
        Box::pin(
            self.blocking(move |disk, folder| match disk.remove(&folder.join(&name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("removing", folder, &error)),
                _ => {
                    let _ = disk.remove(&folder.join(format!(".{name}.lock")));
                    Ok(())
                }
            }),
        )
    }

    fn words(&self) -> String {
        format!("folder {}", self.path.display())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Notes what is asked, and fails at one step.
    #[derive(Default, Clone)]
    struct Noted {
        steps: Arc<Mutex<Vec<String>>>,
        fails_at: Option<&'static str>,
        there: Option<Vec<u8>>,
    }

    impl Noted {
        fn note(&self, step: &str, path: &Path) -> io::Result<()> {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            self.steps.lock().unwrap().push(format!("{step} {name}"));
            if self.fails_at == Some(step) {
                return Err(io::Error::other("planned"));
            }
            Ok(())
        }
        fn steps(&self) -> Vec<String> {
            self.steps.lock().unwrap().clone()
        }
    }

    impl Disk for Noted {
        fn lock(&self, path: &Path) -> io::Result<Box<dyn Send>> {
            self.note("lock", path).map(|()| Box::new(()) as Box<dyn Send>)
        }
        fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
            self.note("read", path)?;
            self.there.clone().ok_or_else(|| io::ErrorKind::NotFound.into())
        }
        fn create(&self, path: &Path) -> io::Result<Box<dyn Beside>> {
            self.note("create", path)?;
            Ok(Box::new(NotedFile(self.clone(), path.to_owned())))
        }
        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            self.note("rename", from)?;
            self.note("to", to)
        }
        fn remove(&self, path: &Path) -> io::Result<()> {
            self.note("remove", path)
        }
        fn sync_folder(&self, path: &Path) -> io::Result<()> {
            self.note("sync folder", path)
        }
    }

    struct NotedFile(Noted, PathBuf);

    impl Beside for NotedFile {
        fn write(&mut self, _: &[u8]) -> io::Result<()> {
            self.0.note("write", &self.1)
        }
        fn sync(&mut self) -> io::Result<()> {
            self.0.note("sync", &self.1)
        }
    }

    fn run(disk: &Noted, expected: Option<&Version>, pass: Result<(), PlaceError>) -> Result<Version, PlaceError> {
        replace(disk, Path::new("/"), "a.csv", b"new", expected, || pass.clone())
    }

    #[test]
    fn the_disk_has_everything_before_the_name_and_the_name_before_we_say_so() {
        let disk = Noted::default();
        assert_eq!(run(&disk, None, Ok(())), Ok(of_content(b"new")));
        let order = [
            "lock .a.csv.lock",
            "create .a.csv.tmp",
            "write .a.csv.tmp",
            "sync .a.csv.tmp",
            "read a.csv",
            "rename .a.csv.tmp",
            "to a.csv",
            "sync folder ",
        ];
        assert_eq!(disk.steps(), order);
    }

    #[test]
    fn nothing_is_renamed_after_a_failure_without_a_lease_or_over_another_content() {
        let lost = (None, Ok(()));
        for (fails_at, there, expected, pass) in [
            (Some("lock"), None, lost.0, lost.1.clone()),
            (Some("create"), None, None, Ok(())),
            (Some("write"), None, None, Ok(())),
            (Some("sync"), None, None, Ok(())),
            (Some("read"), None, None, Ok(())),
            (None, Some(b"other".to_vec()), None, Ok(())),
            (None, Some(b"other".to_vec()), Some(of_content(b"old")), Ok(())),
            (None, None, Some(of_content(b"old")), Ok(())),
            (None, None, None, Err(PlaceError::LeaseOver)),
        ] {
            let disk = Noted {
                fails_at,
                there,
                ..Noted::default()
            };
            assert!(run(&disk, expected.as_ref(), pass).is_err(), "{fails_at:?}");
            assert!(
                !disk.steps().iter().any(|step| step.starts_with("rename")),
                "{:?}",
                disk.steps()
            );
        }
        let disk = Noted {
            fails_at: Some("sync folder"),
            ..Noted::default()
        };
        assert!(
            run(&disk, None, Ok(())).is_err(),
            "not confirmed before the folder is synced"
        );
    }

    #[tokio::test]
    async fn the_previous_list_is_on_the_disk_before_it_has_its_name() {
        let disk = Noted {
            there: Some(b"old".to_vec()),
            ..Noted::default()
        };
        let place = Folder {
            path: PathBuf::from("/"),
            disk: Arc::new(disk.clone()),
        };
        place.copy("a.csv", "b").await.unwrap();
        let order = [
            "read a.csv",
            "create .b.tmp",
            "write .b.tmp",
            "sync .b.tmp",
            "rename .b.tmp",
            "to b",
        ];
        assert_eq!(disk.steps(), order);
    }

    /// `/dev/null` takes everything that is written and nothing of `/proc` is on a disk: asked to sync them, Linux refuses
    /// (fsync(2): EINVAL). So whoever does not ask is told apart, without a look at system calls.
    #[test]
    fn the_file_system_is_asked_to_sync_file_and_folder() {
        let refused = |result: io::Result<()>| result.map_err(|error| error.kind()) == Err(io::ErrorKind::InvalidInput);
        assert!(RealDisk.create(Path::new("/dev/null")).unwrap().write(b"x").is_ok());
        assert!(refused(write_synced(&RealDisk, Path::new("/dev/null"), b"x")));
        assert!(refused(RealDisk.sync_folder(Path::new("/proc"))));
        let folder = tempfile::tempdir().unwrap();
        write_synced(&RealDisk, &folder.path().join("a"), b"x").unwrap();
        RealDisk.sync_folder(folder.path()).unwrap();
    }

    fn unlimited() -> Gate {
        Gate::new(Lease::unlimited())
    }

    use crate::connector::lease::Lease;

    #[tokio::test]
    async fn what_a_crash_left_beside_the_list_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let place = Folder::new(folder.path().to_owned());
        let first = place.replace("a.csv", b"one", None, &unlimited()).await.unwrap();
        // A crash between the file beside and the rename.
        fs::write(folder.path().join(".a.csv.tmp"), b"half a li").unwrap();
        assert_eq!(place.read("a.csv").await.unwrap().unwrap().bytes, b"one");
        place
            .replace("a.csv", b"two", Some(&first), &unlimited())
            .await
            .unwrap();
        assert_eq!(place.read("a.csv").await.unwrap().unwrap().bytes, b"two");
        assert!(!folder.path().join(".a.csv.tmp").exists());
        assert_eq!(
            place.replace("a.csv", b"three", Some(&first), &unlimited()).await,
            Err(PlaceError::Changed),
            "somebody who has not seen the second"
        );
        place.copy("a.csv", "a.csv.previous").await.unwrap();
        assert_eq!(fs::read(folder.path().join("a.csv.previous")).unwrap(), b"two");
        place.remove("a.csv").await.unwrap();
        place.remove("a.csv").await.unwrap();
        assert_eq!(place.version("a.csv").await, Ok(None));
    }

    #[tokio::test]
    async fn a_folder_that_is_missing_is_not_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let place = Folder::new(folder.path().join("not-mounted"));
        let Err(PlaceError::Failed(why)) = place.read("a.csv").await else {
            panic!("an empty folder");
        };
        assert!(why.reason.contains("has to exist"), "{why}");
        assert!(place.replace("a.csv", b"x", None, &unlimited()).await.is_err());
    }

    #[tokio::test]
    async fn an_owner_without_a_lease_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let place = Folder::new(folder.path().to_owned());
        let gate = Gate::new(Lease::new(Default::default()));
        assert_eq!(
            place.replace("a.csv", b"x", None, &gate).await,
            Err(PlaceError::LeaseOver)
        );
        assert_eq!(place.version("a.csv").await, Ok(None));
    }
}
