//! JSON bodies read without losing a digit: whole numbers beyond 2^53 become text, as in our own messages.
//!
//! An id that a target writes as a number may exceed what a double, or even 64 bits, can hold. The parser of the
//! workspace keeps neither, so such numbers are put between quotes before it sees them.

use serde_json::Value;

/// The largest whole number that every reader of JSON keeps (RFC 8259 section 6).
const EXACT_MAX: u64 = 1 << 53;

/// Reads a body; `None` when it is no JSON.
pub(crate) fn parse(body: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(body).ok()?;
    match quoted(text.trim_start_matches('\u{feff}')) {
        Some(quoted) => serde_json::from_str(&quoted).ok(),
        None => serde_json::from_str(text.trim_start_matches('\u{feff}')).ok(),
    }
}

/// The text with large whole numbers between quotes; `None` when there are none.
fn quoted(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let (mut written, mut kept, mut at) = (String::new(), 0, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = end_of_text(bytes, at + 1),
            b'-' | b'0'..=b'9' => {
                let start = at;
                while at < bytes.len() && matches!(bytes[at], b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9') {
                    at += 1;
                }
                let number = &text[start..at];
                let digits = number.strip_prefix('-').unwrap_or(number);
                let whole = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
                if whole && digits.parse::<u64>().map_or(true, |number| number > EXACT_MAX) {
                    written.push_str(&text[kept..start]);
                    written.push('"');
                    written.push_str(number);
                    written.push('"');
                    kept = at;
                }
            }
            _ => at += 1,
        }
    }
    (kept > 0).then(|| written + &text[kept..])
}

/// Behind the quote that ends a text.
fn end_of_text(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn large_numbers_survive_as_text() {
        for (text, expected) in [
            ("9007199254740992", json!(9_007_199_254_740_992_u64)),
            ("9007199254740993", json!("9007199254740993")),
            (
                r#"{"id": -123456789012345678901234567890, "n": 1.5e300}"#,
                json!({"id": "-123456789012345678901234567890", "n": 1.5e300}),
            ),
            (
                r#"["a \" 99999999999999999999", 7]"#,
                json!(["a \" 99999999999999999999", 7]),
            ),
            ("\u{feff}[99999999999999999999]", json!(["99999999999999999999"])),
        ] {
            assert_eq!(parse(text.as_bytes()), Some(expected), "{text}");
        }
        for text in ["", "<html>", "{", "99999999999999999999x", "\"", "\"\\"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn everything_else_is_read_as_ever(text in "\\PC{0,20}", number in -1_000_000_i64..1_000_000, id in any::<u128>()) {
            let value = json!({"t": text, "n": [number, true, null]});
            prop_assert_eq!(parse(value.to_string().as_bytes()), Some(value));
            let read = parse(format!("{{\"id\":{id}}}").as_bytes()).unwrap();
            prop_assert_eq!(super::super::template::plain(&read["id"]), id.to_string());
        }
    }
}
