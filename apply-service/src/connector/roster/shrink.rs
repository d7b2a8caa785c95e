//! The last check before a write: a list must not have lost more than the guard allows. Written apart from the guard of the
//! lane, and from what the lane believes: it looks at the file that is there.
//!
//! What an operation took out has passed the guard already (or an operator has released it) and is no loss. What remains is
//! what nobody decided: links that were lost, a file that others keep, a place that is another one's.

use std::collections::BTreeSet;

/// The file that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Before {
    /// What its rows are told apart by; `None` when it does not have our columns.
    pub(super) keys: Option<BTreeSet<String>>,
    /// How many rows.
    pub(super) rows: usize,
}

/// More rows would be gone than may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shrunk {
    /// Gone without a decision.
    pub(super) lost: u64,
    /// In the file that is there.
    pub(super) before: u64,
    /// What may go.
    pub(super) limit: u64,
}

/// Whether the new list may take the place of the file. `limit` is that of inferred removals for so many rows; `None`: the
/// guard is off. `allowed` is what operators have allowed on top.
pub(super) fn judge(
    before: &Before,
    after: &BTreeSet<String>,
    explained: &BTreeSet<String>,
    limit: Option<u64>,
    allowed: u64,
) -> Result<(), Shrunk> {
    let Some(limit) = limit else { return Ok(()) };
    let lost = match &before.keys {
        Some(keys) => keys
            .iter()
            .filter(|key| !after.contains(*key) && !explained.contains(*key))
            .count(),
        None => before.rows.saturating_sub(after.len()),
    };
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let limit = limit.saturating_add(allowed);
    if count(lost) > limit {
        return Err(Shrunk {
            lost: count(lost),
            before: count(before.rows),
            limit,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(from: usize, to: usize) -> BTreeSet<String> {
        (from..to).map(|n| format!("u{n}")).collect()
    }

    fn before(from: usize, to: usize) -> Before {
        Before {
            keys: Some(keys(from, to)),
            rows: to - from,
        }
    }

    #[test]
    fn what_nobody_decided_may_not_exceed_the_limit() {
        let nothing = BTreeSet::new();
        for (before, after, explained, limit, allowed, fits) in [
            (before(0, 100), keys(0, 100), &nothing, Some(5), 0, true),
            (before(0, 100), keys(5, 100), &nothing, Some(5), 0, true),
            (before(0, 100), keys(6, 100), &nothing, Some(5), 0, false),
            (before(0, 100), keys(6, 100), &nothing, Some(5), 1, true),
            (before(0, 100), keys(6, 100), &keys(0, 6), Some(5), 0, true),
            // Others in their place are no comfort.
            (before(0, 100), keys(100, 200), &nothing, Some(5), 0, false),
            (before(0, 100), nothing.clone(), &nothing, Some(5), 0, false),
            (before(0, 100), nothing.clone(), &nothing, None, 0, true),
            (
                Before { keys: None, rows: 100 },
                keys(0, 95),
                &nothing,
                Some(5),
                0,
                true,
            ),
            (
                Before { keys: None, rows: 100 },
                keys(0, 94),
                &nothing,
                Some(5),
                0,
                false,
            ),
        ] {
            assert_eq!(
                judge(&before, &after, explained, limit, allowed).is_ok(),
                fits,
                "{before:?} {limit:?} {allowed}"
            );
        }
        let shrunk = judge(&before(0, 100), &nothing, &nothing, Some(5), 3).unwrap_err();
        assert_eq!((shrunk.lost, shrunk.before, shrunk.limit), (100, 100, 8));
    }
}
