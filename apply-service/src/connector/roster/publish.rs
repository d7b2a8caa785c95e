//! One write of a list: look at what is there, check what would be lost, keep the previous file, put the new one.

use std::collections::BTreeSet;

use super::{
    columns::Read,
    config::RosterConfig,
    place::{Gate, Place, PlaceError, Version, hash},
    render::{Rendered, key_column, key_of, read},
    shrink::{Before, Shrunk, judge},
};

/// How often a file that others changed meanwhile is looked at again within one write.
const LOOKS: u32 = 3;

/// The file at the place, as it was last seen or written by us.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Known {
    /// `None`: there is no file.
    version: Option<Version>,
    hash: String,
    before: Before,
    /// The previous file is this very one: a write that failed after keeping it must not push the others out.
    kept: bool,
}

impl Known {
    fn nothing() -> Self {
        let before = Before {
            keys: Some(BTreeSet::new()),
            rows: 0,
        };
        Self {
            version: None,
            hash: String::new(),
            before,
            kept: false,
        }
    }

    /// What the file is.
    pub(super) fn version(&self) -> Option<&Version> {
        self.version.as_ref()
    }

    /// How many rows it has; `None` without a file.
    pub(super) fn rows(&self) -> Option<usize> {
        self.version.as_ref().map(|_| self.before.rows)
    }

    /// Whether there is a file without our columns.
    pub(super) fn is_foreign(&self) -> bool {
        self.version.is_some() && self.before.keys.is_none()
    }

    /// Whether it holds these bytes.
    pub(super) fn holds(&self, bytes: &[u8]) -> bool {
        self.version.is_some() && self.hash == hash(bytes)
    }
}

/// How a write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Published {
    /// The list is at the place.
    Written,
    /// It was there already, or there is nothing to say: an empty list where there is no file.
    Unchanged,
}

/// Why nothing was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unpublished {
    /// The last check.
    Shrunk(Shrunk),
    /// The place.
    Place(PlaceError),
}

impl From<PlaceError> for Unpublished {
    fn from(error: PlaceError) -> Self {
        Self::Place(error)
    }
}

/// What the last check allows.
pub(super) struct Limits<'a> {
    /// Rows that may go without a decision, of so many; `None`: the guard is off.
    pub(super) limit: &'a (dyn Fn(usize) -> Option<u64> + Sync),
    /// On top of that, by operators.
    pub(super) allowed: u64,
    /// Keys of rows that a decision has taken out or renamed.
    pub(super) explained: &'a BTreeSet<String>,
}

/// Looks at the file that is there.
pub(super) async fn look(place: &dyn Place, config: &RosterConfig) -> Result<(Known, Vec<Read>), PlaceError> {
    let Some(stored) = place.read(&config.file).await? else {
        return Ok((Known::nothing(), vec![]));
    };
    let contents = read(&stored.bytes, config);
    let key = config
        .columns
        .get(key_column(config))
        .map(|column| column.name.as_str())
        .unwrap_or_default();
    let keys = contents
        .read
        .as_ref()
        .map(|rows| rows.iter().filter_map(|row| row.get(key)).map(key_of).collect());
    let known = Known {
        version: Some(stored.version),
        hash: hash(&stored.bytes),
        before: Before {
            keys,
            rows: contents.rows,
        },
        kept: false,
    };
    Ok((known, contents.read.unwrap_or_default()))
}

/// Writes the list unless it is there already. `known` is what the place held last; it follows what happens.
///
/// Guarantees: the file is replaced as a whole or not at all; only when its content differs; never by a list that has lost
/// more than `limits`; never over a file that was not looked at.
pub(super) async fn publish(
    place: &dyn Place,
    config: &RosterConfig,
    list: &Rendered,
    limits: &Limits<'_>,
    known: &mut Option<Known>,
    gate: &Gate,
) -> Result<Published, Unpublished> {
    for _ in 0..LOOKS {
        let there = match known.take() {
            Some(there) if there.version == place.version(&config.file).await? => there,
            _ => look(place, config).await?.0,
        };
        let there = known.insert(there);
        if there.holds(&list.bytes) || (there.version.is_none() && list.rows == 0) {
            return Ok(Published::Unchanged);
        }
        let limit = (limits.limit)(there.before.rows);
        judge(&there.before, &list.keys, limits.explained, limit, limits.allowed).map_err(Unpublished::Shrunk)?;
        gate.pass()?;
        keep_previous(place, config, there).await?;
        match place
            .replace(&config.file, &list.bytes, there.version.as_ref(), gate)
            .await
        {
            Ok(version) => {
                *known = Some(Known {
                    version: Some(version),
                    hash: hash(&list.bytes),
                    before: Before {
                        keys: Some(list.keys.clone()),
                        rows: list.rows,
                    },
                    kept: false,
                });
                return Ok(Published::Written);
            }
            Err(PlaceError::Changed) => *known = None,
            // What happened is not known: it is looked at again before the next write. Without a lease nothing happened.
            Err(error) => {
                if error != PlaceError::LeaseOver {
                    *known = None;
                }
                return Err(error.into());
            }
        }
    }
    Err(PlaceError::failed(
        "roster-contended",
        "somebody else writes the same file again and again; two writers fight over it",
    )
    .into())
}

fn previous(config: &RosterConfig, number: u32) -> String {
    match number {
        1 => format!("{}.previous", config.file),
        number => format!("{}.previous.{number}", config.file),
    }
}

/// The file that is about to be replaced becomes `.previous`, that one `.previous.2`, and so on.
async fn keep_previous(place: &dyn Place, config: &RosterConfig, there: &mut Known) -> Result<(), PlaceError> {
    if config.previous == 0 || there.version.is_none() || there.kept {
        return Ok(());
    }
    let newest = previous(config, 1);
    let already = place
        .read(&newest)
        .await?
        .is_some_and(|kept| hash(&kept.bytes) == there.hash);
    if !already {
        for number in (1..config.previous).rev() {
            place
                .copy(&previous(config, number), &previous(config, number + 1))
                .await?;
        }
        place.copy(&config.file, &newest).await?;
    }
    there.kept = true;
    Ok(())
}
