//! The copy of the repository: every file as it is, with all mutants in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use tidy::{
    files,
    mutants::{Change, List, Mutant, switched, switched_data},
};

use super::words;

/// Where everything is.
pub(crate) struct Place {
    /// The repository.
    pub(crate) root: PathBuf,
    /// What is ours below the target folder.
    pub(crate) folder: PathBuf,
}

impl Place {
    /// The copy.
    pub(crate) fn tree(&self) -> PathBuf {
        self.folder.join("tree")
    }
    /// What came of each mutant.
    pub(crate) fn results(&self) -> PathBuf {
        self.folder.join("results.json")
    }
}

/// File and mutant -> the lines of the copy on which it stands.
pub(crate) type Lines = BTreeMap<(String, String), (usize, usize)>;

/// The repository as it is here, with the mutants in it. Files that have not changed stay untouched, for cargo's sake.
/// Of those that are built by themselves, `alone` is put in.
pub(crate) fn copy(
    place: &Place,
    list: &List,
    broken: &BTreeSet<String>,
    alone: Option<&str>,
) -> Result<Lines, String> {
    let tree = place.tree();
    let paths = files::all(&place.root).map_err(words("the repository"))?;
    let mut changed = BTreeMap::new();
    let mut lines = Lines::new();
    let named = list.named().into_iter();
    let mut named: Vec<(String, &Mutant)> = named.filter(|(id, _)| !broken.contains(id)).collect();
    let own = named.iter().find(|(id, _)| alone == Some(id)).cloned();
    named.retain(|(_, mutant)| !mutant.alone);
    let read = |file: &str| fs::read_to_string(place.root.join(file)).map_err(words(file));
    let sources: BTreeSet<&str> = named.iter().map(|(_, mutant)| mutant.file.as_str()).collect();
    for file in sources.iter().filter(|file| file.ends_with(".rs")) {
        let text = read(file)?;
        let mut changes = Vec::new();
        for (id, mutant) in named.iter().filter(|(_, mutant)| mutant.file == **file) {
            changes.push(Change {
                id: id.clone(),
                range: mutant.place(&text).map_err(|why| format!("{id}: in {file} {why}"))?,
                replace: mutant.replace.clone(),
            });
        }
        let (text, at) = switched(&text, &changes).map_err(|why| format!("{file}: {why}"))?;
        lines.extend(at.into_iter().map(|(id, at)| (((*file).to_owned(), id), at)));
        changed.insert(PathBuf::from(file), text);
    }
    for data in &list.data {
        let mut switches = Vec::new();
        for (id, mutant) in named.iter().filter(|(_, mutant)| mutant.file.starts_with(&data.folder)) {
            let text = read(&mutant.file)?;
            let range = mutant
                .place(&text)
                .map_err(|why| format!("{id}: in {} {why}", mutant.file))?;
            let mutated = format!("{}{}{}", &text[..range.start], mutant.replace, &text[range.end..]);
            let beside = place.folder.join("data").join(id);
            write(&beside, mutated.as_bytes())?;
            let plain = tree.join(&mutant.file).display().to_string();
            switches.push((id.clone(), plain, beside.display().to_string()));
        }
        let text = match changed.remove(Path::new(&data.file)) {
            Some(text) => text,
            None => read(&data.file)?,
        };
        if text.matches(&data.find).count() != 1 {
            return Err(format!("{}: `{}` does not stand there once", data.file, data.find));
        }
        let text = text.replace(&data.find, &switched_data(&data.find, &switches));
        changed.insert(PathBuf::from(&data.file), text);
    }
    if let Some((id, mutant)) = own {
        let text = match changed.remove(Path::new(&mutant.file)) {
            Some(text) => text,
            None => read(&mutant.file)?,
        };
        let range = mutant
            .place(&text)
            .map_err(|why| format!("{id}: in {} {why}", mutant.file))?;
        let text = format!("{}{}{}", &text[..range.start], mutant.replace, &text[range.end..]);
        changed.insert(PathBuf::from(&mutant.file), text);
    }
    for path in &paths {
        let bytes = match changed.remove(path) {
            Some(text) => text.into_bytes(),
            None => fs::read(place.root.join(path)).map_err(words(&path.to_string_lossy()))?,
        };
        write(&tree.join(path), &bytes)?;
    }
    if let Some(missing) = changed.keys().next() {
        return Err(format!("there is no {}", missing.display()));
    }
    for path in files::all(&tree).map_err(words("the copy"))? {
        if !paths.contains(&path) {
            fs::remove_file(tree.join(path)).map_err(words("the copy"))?;
        }
    }
    // What tests have downloaded: Kafka, Python environments.
    let (cache, link) = (place.root.join(".cache"), tree.join(".cache"));
    if cache.exists() && !link.exists() {
        std::os::unix::fs::symlink(cache, link).map_err(words(".cache"))?;
    }
    Ok(lines)
}

/// Writes a file that is not so already.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    if fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(words(&folder.to_string_lossy()))?;
    }
    fs::write(path, bytes).map_err(words(&path.to_string_lossy()))
}
