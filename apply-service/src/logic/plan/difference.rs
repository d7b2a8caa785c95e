//! Which attributes have to be written, against what is known of the account.

use serde_json::Value;
use usher_contract::StateHash;

use crate::logic::{
    account::AttributePath,
    link::Link,
    map::{Mapped, Wanted},
    matching::Seen,
    policy::Write,
    source::is_blank,
};

/// What the difference is taken against.
pub(super) enum Known<'a> {
    /// A new account: nothing to clear, write-once attributes included.
    Nothing,
    /// What was written before.
    Link(&'a Link),
    /// What an account shows.
    Account(&'a Seen),
}

/// What has to be written, and what holds already.
pub(super) struct Difference(
    pub(super) Vec<(AttributePath, Value)>,
    pub(super) Vec<(AttributePath, StateHash)>,
);

pub(super) fn difference(mapped: &Mapped<'_>, known: Known<'_>, wants: impl Fn(&AttributePath) -> bool) -> Difference {
    let mut difference = Difference(Vec::new(), Vec::new());
    let mut written = match known {
        Known::Link(link) => Some(link.written.walk()),
        Known::Nothing | Known::Account(_) => None,
    };
    for (path, wanted, write) in mapped.iter().filter(|(path, _, _)| wants(path)) {
        let value = match wanted {
            Wanted::Value(value) => value,
            Wanted::Clear => &Value::Null,
            Wanted::Leave | Wanted::Unknown(_) | Wanted::Pending(_) | Wanted::Skip | Wanted::Failed(_) => continue,
        };
        if write == Write::OnCreate && !matches!(known, Known::Nothing) {
            continue;
        }
        let holds = match known {
            Known::Nothing => value.is_null(),
            Known::Link(_) => written
                .as_mut()
                .and_then(|written| written.find(path))
                .is_some_and(|written| written.holds(hash(value))),
            Known::Account(account) => same(account.values.get(path), value),
        };
        if !holds {
            difference.0.push((path.clone(), value.clone()));
        } else if !matches!(known, Known::Link(_)) {
            difference.1.push((path.clone(), hash(value)));
        }
    }
    difference
}

/// Null, an empty list and absence all mean "unassigned" (RFC 7643 section 2.5).
fn same(shown: Option<&Value>, wanted: &Value) -> bool {
    match shown {
        None => is_blank(wanted),
        Some(shown) => shown == wanted || (is_blank(shown) && is_blank(wanted)),
    }
}

pub(super) fn hash(value: &Value) -> StateHash {
    StateHash::of_value(value)
}
