//! Durations in configuration: `500ms`, `30s`, `5m`, `2h`, `1h30m`. For `#[serde(with = "usher_runtime::duration")]`.

use std::{borrow::Cow, time::Duration};

use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, Serializer};

/// Writes a duration in the form that is read.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(duration: &Duration, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(&format_args!("{}", show(*duration)))
}

/// Reads a duration.
///
/// # Errors
/// With the accepted forms named.
pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    let text = Cow::<'de, str>::deserialize(d)?;
    parse(&text).ok_or_else(|| {
        serde::de::Error::custom(format!("{text:?} is not a duration; write 500ms, 30s, 5m, 2h or 1h30m"))
    })
}

/// Reads `30s` and the like.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    let signed: SignedDuration = text.parse().ok()?;
    Duration::try_from(signed).ok()
}

/// The shortest exact form.
#[must_use]
pub fn show(duration: Duration) -> String {
    let ms = duration.as_millis();
    match ms {
        0 => "0s".to_owned(),
        ms if ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
        ms if ms % 60_000 == 0 => format!("{}m", ms / 60_000),
        ms if ms % 1000 == 0 => format!("{}s", ms / 1000),
        ms => format!("{ms}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_back() {
        for text in ["500ms", "30s", "5m", "2h", "0s", "90s"] {
            assert_eq!(parse(&show(parse(text).unwrap())), parse(text), "{text}");
        }
        assert_eq!(parse("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(parse("soon"), None);
        assert_eq!(parse("-5s"), None);
    }
}
