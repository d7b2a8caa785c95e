//! Text as SOQL compares it: without regard to case. Escapes of literals, and `LIKE`.
//!
//! Case is folded character by character, one for one, so that `_` is one character of what is stored. Composed and
//! decomposed accents are different characters here.

use std::{cmp::Ordering, ops::Range};

use crate::error::FilterError;

/// Characters that a literal may have.
const LITERAL_MAX: usize = 4_000;

/// The lower-case form of a character where it is one character.
pub(crate) fn fold_char(c: char) -> char {
    if c.is_ascii() {
        return c.to_ascii_lowercase();
    }
    // A capital sigma has two small forms.
    if c == 'ς' {
        return 'σ';
    }
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

pub(crate) fn fold(text: &str) -> Box<str> {
    text.chars().map(fold_char).collect()
}

/// How a text compares with a folded one.
fn compare(text: &str, folded: &str) -> Ordering {
    if text.is_ascii() {
        // Bytes of UTF-8 are ordered as the characters are.
        return text.bytes().map(|byte| byte.to_ascii_lowercase()).cmp(folded.bytes());
    }
    text.chars().map(fold_char).cmp(folded.chars())
}

/// Whether a text is the folded one.
pub(crate) fn equals(text: &str, folded: &str) -> bool {
    // Letters beyond ASCII that are small already are the same in both.
    if text.len() == folded.len() && same(text.as_bytes(), folded.as_bytes()) {
        return true;
    }
    !text.is_ascii() && text.chars().map(fold_char).eq(folded.chars())
}

/// Whether bytes are those of a folded text, capitals of ASCII apart.
fn same(bytes: &[u8], folded: &[u8]) -> bool {
    bytes
        .iter()
        .zip(folded)
        .all(|(byte, folded)| byte.to_ascii_lowercase() == *folded)
}

/// Whether a text is one of these, which are folded and sorted.
pub(crate) fn is_among(text: &str, folded: &[Box<str>]) -> bool {
    match folded {
        [one] => equals(text, one),
        many => many
            .binary_search_by(|candidate| compare(text, candidate).reverse())
            .is_ok(),
    }
}

/// One step of a `LIKE` pattern; characters are folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// `%`
    Any,
    /// `_`
    One,
    Char(char),
}

/// A pattern, in the form that is quickest to match.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Pattern {
    /// `%`: whatever is there.
    Everything,
    Is(Box<str>),
    Begins(Box<str>),
    Ends(Box<str>),
    Contains(Box<str>),
    Steps(Box<[Step]>),
}

impl Pattern {
    pub(crate) fn new(mut steps: Vec<Step>) -> Self {
        steps.dedup_by(|next, last| *next == Step::Any && *last == Step::Any);
        let plain = |steps: &[Step]| {
            steps
                .iter()
                .map(|step| if let Step::Char(c) = step { Some(*c) } else { None })
                .collect::<Option<String>>()
                .map(String::into_boxed_str)
        };
        let simple = match steps.as_slice() {
            [Step::Any] => Some(Self::Everything),
            [Step::Any, middle @ .., Step::Any] => plain(middle).map(Self::Contains),
            [Step::Any, end @ ..] => plain(end).map(Self::Ends),
            [beginning @ .., Step::Any] => plain(beginning).map(Self::Begins),
            all => plain(all).map(Self::Is),
        };
        simple.unwrap_or_else(|| Self::Steps(steps.into()))
    }

    /// Whether the whole text fits.
    pub(crate) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Is(folded) => equals(text, folded),
            Self::Begins(folded) => begins(text, folded),
            Self::Ends(folded) if text.is_ascii() => {
                text.len() >= folded.len() && begins(&text[text.len() - folded.len()..], folded)
            }
            Self::Ends(folded) => {
                let mut found = text.chars().rev().map(fold_char);
                folded.chars().rev().all(|c| found.next() == Some(c))
            }
            Self::Contains(folded) => contains(text, folded),
            Self::Steps(steps) => fits(text, steps),
        }
    }
}

fn begins(text: &str, folded: &str) -> bool {
    if let Some(beginning) = text.as_bytes().get(..folded.len())
        && beginning.is_ascii()
    {
        return same(beginning, folded.as_bytes());
    }
    let mut found = text.chars().map(fold_char);
    folded.chars().all(|c| found.next() == Some(c))
}

fn contains(text: &str, folded: &str) -> bool {
    let Some(first) = folded.chars().next() else {
        return true;
    };
    let mut rest = text.chars();
    loop {
        let here = rest.as_str();
        match rest.next() {
            None => return false,
            Some(c) if fold_char(c) == first && begins(here, folded) => return true,
            Some(_) => {}
        }
    }
}

/// The usual match with one remembered `%`: when it does not go on, the last `%` takes one character more.
fn fits(text: &str, steps: &[Step]) -> bool {
    let (mut rest, mut next) = (text.chars(), 0);
    let mut retry: Option<(std::str::Chars<'_>, usize)> = None;
    loop {
        let goes_on = match steps.get(next) {
            Some(Step::Any) => {
                next += 1;
                retry = Some((rest.clone(), next));
                continue;
            }
            Some(Step::One) => rest.next().is_some(),
            Some(Step::Char(c)) => rest.next().map(fold_char) == Some(*c),
            None if rest.as_str().is_empty() => return true,
            None => false,
        };
        if goes_on {
            next += 1;
            continue;
        }
        let Some((from, after)) = &mut retry else { return false };
        if from.next().is_none() {
            return false;
        }
        (rest, next) = (from.clone(), *after);
    }
}

/// What a literal says. `span` is that of the literal with its quotes.
pub(crate) fn literal(raw: &str, span: &Range<usize>) -> Result<String, FilterError> {
    let mut text = String::with_capacity(raw.len());
    decode(raw, span, false, |step| {
        if let Step::Char(c) = step {
            text.push(c);
        }
    })?;
    Ok(text)
}

/// What a literal after `LIKE` says. Not folded yet.
pub(crate) fn pattern(raw: &str, span: &Range<usize>) -> Result<Vec<Step>, FilterError> {
    let mut steps = Vec::with_capacity(raw.len());
    decode(raw, span, true, |step| steps.push(step))?;
    Ok(steps)
}

fn decode(raw: &str, span: &Range<usize>, like: bool, mut found: impl FnMut(Step)) -> Result<(), FilterError> {
    let start = span.start + 1;
    let mut letters = raw.char_indices();
    let mut count = 0;
    while let Some((at, c)) = letters.next() {
        count += 1;
        if count > LITERAL_MAX {
            return Err(FilterError::new(
                span.clone(),
                format!("the text is longer than {LITERAL_MAX} characters"),
                "Salesforce refuses it as well",
            ));
        }
        match c {
            '\\' => {
                let escaped = letters.next().map(|(_, c)| c);
                let bad = |end: usize, message: &str| {
                    FilterError::new(
                        start + at..start + end,
                        message,
                        r#"after a backslash may stand n r t b f " ' \ or uXXXX, and in LIKE also % and _; a backslash itself is \\"#,
                    )
                };
                let meant = match escaped {
                    Some('n' | 'N') => '\n',
                    Some('r' | 'R') => '\r',
                    Some('t' | 'T') => '\t',
                    Some('b' | 'B') => '\u{8}',
                    Some('f' | 'F') => '\u{c}',
                    Some(same @ ('"' | '\'' | '\\')) => same,
                    Some(same @ ('%' | '_')) if like => same,
                    Some(wild @ ('%' | '_')) => {
                        return Err(FilterError::new(
                            start + at..start + at + 2,
                            format!("`\\{wild}` is an escape of LIKE only"),
                            format!("write `{wild}`: it has no special meaning here"),
                        ));
                    }
                    Some('u' | 'U') => {
                        let digits = letters.as_str().get(..4).unwrap_or_default();
                        let code = u32::from_str_radix(digits, 16)
                            .ok()
                            .filter(|_| digits.bytes().all(|c| c.is_ascii_hexdigit()))
                            .and_then(char::from_u32);
                        let Some(meant) = code else {
                            return Err(bad(at + 2, "`\\u` needs the four hexadecimal digits of a character"));
                        };
                        letters.nth(3);
                        meant
                    }
                    other => {
                        let end = at + 1 + other.map_or(0, char::len_utf8);
                        let shown = other.map_or_else(String::new, String::from);
                        return Err(bad(end, &format!("`\\{shown}` is no escape")));
                    }
                };
                found(Step::Char(meant));
            }
            '%' if like => found(Step::Any),
            '_' if like => found(Step::One),
            other => found(Step::Char(other)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn like(text: &str, raw: &str) -> bool {
        let steps = pattern(raw, &(0..0)).unwrap();
        let fold = |step| {
            if let Step::Char(c) = step {
                Step::Char(fold_char(c))
            } else {
                step
            }
        };
        let folded: Vec<Step> = steps.into_iter().map(fold).collect();
        let quick = Pattern::new(folded.clone()).matches(text);
        assert_eq!(quick, fits(text, &folded), "{text} like {raw}");
        quick
    }

    #[test]
    fn like_matches_the_whole_value_whatever_the_case() {
        for (text, raw, expected) in [
            ("Ada", "a%", true),
            ("ada", "A%", true),
            ("ada", "%D%", true),
            ("ada", "%da", true),
            ("ada", "_da", true),
            ("ada", "_", false),
            ("ada", "ad", false),
            ("ada", "ada", true),
            ("ada", "%", true),
            ("ada", "%%", true),
            ("ada", "a%%a", true),
            ("ada", "%x%", false),
            ("100%", r"100\%", true),
            ("1000", r"100\%", false),
            ("a_b", r"a\_b", true),
            ("axb", r"a\_b", false),
            (r"a\b", r"a\\b", true),
            (r"a\%", r"a\\%", true),
            ("o'neill", r"o\'%", true),
            ("abcabc", "%abc", true),
            ("aXbXc", "a%x%c", true),
            ("ÄRGER", "är%", true),
            ("ÄRGER", "%rgeR", true),
            ("straße", "stra_e", true),
            ("STRASSE", "stra_e", false),
            ("日本", "_本", true),
            ("日本", "__", true),
            ("日本", "___", false),
            ("\u{212a}elvin", "kelvin", true),
            ("aab", "%ab", true),
            ("Θεόδωρος", "ΘΕΌΔΩΡΟΣ", true),
            ("Θεόδωρος", "%ΡΟΣ%", true),
        ] {
            assert_eq!(like(text, raw), expected, "{text} like {raw}");
        }
    }

    #[test]
    fn escapes_are_those_of_the_reference() {
        for (raw, expected) in [
            (r"a\nb\Rc", "a\nb\rc"),
            (r#"\t\b\F\"\'\\"#, "\t\u{8}\u{c}\"'\\"),
            (r"\u00e9\U0041", "éA"),
            ("100% _", "100% _"),
        ] {
            assert_eq!(literal(raw, &(0..0)).unwrap(), expected, "{raw}");
        }
        for (raw, span, message) in [
            (r"ab\x", 3..5, "`\\x` is no escape"),
            (r"é\é", 3..6, "`\\é` is no escape"),
            (r"\u12", 1..3, "`\\u` needs the four hexadecimal digits of a character"),
            (
                r"\ud800",
                1..3,
                "`\\u` needs the four hexadecimal digits of a character",
            ),
            (
                r"\u+123",
                1..3,
                "`\\u` needs the four hexadecimal digits of a character",
            ),
            (r"\%", 1..3, "`\\%` is an escape of LIKE only"),
        ] {
            let error = literal(raw, &(0..9)).unwrap_err();
            assert_eq!((error.span, error.message.as_str()), (span, message), "{raw}");
        }
    }

    #[test]
    fn a_text_of_four_thousand_characters_is_the_longest() {
        assert!(literal(&"é".repeat(4_000), &(0..0)).is_ok());
        assert!(literal(&"é".repeat(4_001), &(0..0)).is_err());
        assert!(literal(&r"\n".repeat(4_000), &(0..0)).is_ok());
    }

    #[test]
    fn a_list_is_searched_whatever_the_case() {
        let mut list: Vec<Box<str>> = ["Zoë", "ada", "BOB", "Émile"].into_iter().map(fold).collect();
        list.sort();
        for (text, expected) in [
            ("ZOË", true),
            ("Ada", true),
            ("bo", false),
            ("émile", true),
            ("x", false),
        ] {
            assert_eq!(is_among(text, &list), expected, "{text}");
        }
    }
}
