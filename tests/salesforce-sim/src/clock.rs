//! The org's clock (with a settable skew) and the vendor's spellings of dates and times.
//!
//! REST answers write `2026-01-02T03:04:05.000+0000`: an offset without a colon, which strict RFC 3339 parsers refuse
//! (REST API guide, "Valid Date and DateTime Formats"). Leaves out time zones of people: the org runs in UTC.

use jiff::{Timestamp, civil::Date, tz::TimeZone};

pub(crate) const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Milliseconds since 1970, moved by `skew_ms`.
#[expect(clippy::disallowed_methods, reason = "the one place where the org's clock is read")]
pub(crate) fn now_ms(skew_ms: i64) -> i64 {
    Timestamp::now().as_millisecond() + skew_ms
}

/// Records carry whole seconds although the bus stamps commits in milliseconds.
pub(crate) fn whole_seconds(ms: i64) -> i64 {
    ms.div_euclid(1000) * 1000
}

fn timestamp(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// `2026-01-02T03:04:05.000+0000`
pub(crate) fn rest_datetime(ms: i64) -> String {
    format!(
        "{}.{:03}+0000",
        timestamp(ms).strftime("%Y-%m-%dT%H:%M:%S"),
        ms.rem_euclid(1000)
    )
}

/// `Fri, 02 Jan 2026 03:04:05 GMT`, as HTTP has it (RFC 9110 section 5.6.7).
pub(crate) fn http_date(ms: i64) -> String {
    timestamp(ms).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// `2026-01-02T03:04:05Z`, the form of report cells.
pub(crate) fn report_datetime(ms: i64) -> String {
    timestamp(ms).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `2026-01-02T03:04:05.000Z`, the form of Bulk API results.
pub(crate) fn bulk_datetime(ms: i64) -> String {
    format!(
        "{}.{:03}Z",
        timestamp(ms).strftime("%Y-%m-%dT%H:%M:%S"),
        ms.rem_euclid(1000)
    )
}

/// `2026-01-02`
pub(crate) fn iso_date(ms: i64) -> String {
    timestamp(ms).strftime("%Y-%m-%d").to_string()
}

/// Reads a datetime with `Z`, `+00:00` or `+0000`.
pub(crate) fn parse_datetime(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let bare_offset = bytes.len() > 5
        && matches!(bytes[bytes.len() - 5], b'+' | b'-')
        && bytes[bytes.len() - 4..].iter().all(u8::is_ascii_digit)
        && text.contains('T');
    let parsed = if bare_offset {
        let (head, minutes) = text.split_at(text.len() - 2);
        format!("{head}:{minutes}").parse::<Timestamp>()
    } else {
        text.parse::<Timestamp>()
    };
    parsed.ok().map(Timestamp::as_millisecond)
}

/// Reads `2026-01-02` as midnight UTC.
pub(crate) fn parse_date(text: &str) -> Option<i64> {
    if text.len() != 10 {
        return None;
    }
    let date: Date = text.parse().ok()?;
    Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_datetime_has_an_offset_without_a_colon() {
        let ms = parse_datetime("2026-01-02T03:04:05Z").expect("valid");
        assert_eq!(rest_datetime(ms), "2026-01-02T03:04:05.000+0000");
        assert_eq!(iso_date(ms), "2026-01-02");
    }

    #[test]
    fn datetimes_are_read_in_all_three_offset_forms() {
        let expected = parse_datetime("2026-01-02T03:04:05.000Z");
        assert!(expected.is_some());
        assert_eq!(parse_datetime("2026-01-02T03:04:05.000+0000"), expected);
        assert_eq!(parse_datetime("2026-01-02T04:04:05+01:00"), expected);
        assert_eq!(parse_datetime("2026-01-02"), None);
    }
}
