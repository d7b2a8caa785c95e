//! Whether a snapshot that was read to its end may prove absences. Only a *complete* one does.
//!
//! What a source must say about completeness is with the source: `report`, `bulk`, and the paging of queries.

/// A size further from the last complete one than this is not believed.
const CHANGE_MAX_PERCENT: u64 = 20;

/// Whether a snapshot that was read to its end may prove absences.
///
/// # Errors
/// In words, why not.
pub fn complete(rows: u64, last_complete: Option<u64>) -> Result<(), String> {
    match last_complete {
        _ if rows == 0 => Err(
            "it has no rows, which is never believed; look at its condition and at what the integration user may see, then run \
             `ingest-service reimport`"
                .to_owned(),
        ),
        Some(last) if rows.abs_diff(last) * 100 > last * CHANGE_MAX_PERCENT => Err(format!(
            "it has {rows} rows and the last complete one had {last}: more than {CHANGE_MAX_PERCENT} % apart; if that is right, run \
             `ingest-service reimport --accept-size`"
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_complete_only_when_its_size_is_plausible() {
        assert!(complete(0, None).is_err());
        assert!(complete(100, None).is_ok());
        assert!(complete(80, Some(100)).is_ok());
        assert!(complete(79, Some(100)).is_err());
        assert!(complete(120, Some(100)).is_ok());
        assert!(complete(121, Some(100)).is_err());
    }
}
