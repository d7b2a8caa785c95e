//! Cells that a spreadsheet would take for a formula, and the apostrophe that makes them text.
//!
//! Source: OWASP "CSV Injection": `=`, `+`, `-`, `@`, tab and carriage return at the beginning of a cell, their full-width
//! forms, and the same after a separator or a line end within the cell, for readers who split by another separator than we
//! write. What comes before the character and is not shown (white space, quotes) does not make it harmless.

use super::config::Formulas;

/// The text as it may stand in a cell. Guarantee: done twice it is as done once.
pub(super) fn neutralise(text: &str, formulas: Formulas) -> String {
    match formulas {
        Formulas::Keep => return text.to_owned(),
        Formulas::Phone if is_phone(text) => return text.to_owned(),
        Formulas::Phone | Formulas::Prefix => {}
    }
    let mut safe = String::with_capacity(text.len() + 1);
    // Whether a cell may begin here, in the eyes of some reader.
    let mut beginning = true;
    let mut held = String::new();
    for c in text.chars() {
        if beginning && starts_formula(c) {
            safe.push('\'');
            safe.push_str(&held);
            held.clear();
            safe.push(c);
            // Of `\t=` or `-+1` one apostrophe is enough, unless the character separates cells itself.
            beginning = separates(c);
            continue;
        }
        if beginning && is_unseen(c) {
            held.push(c);
            beginning = true;
            continue;
        }
        safe.push_str(&held);
        held.clear();
        safe.push(c);
        beginning = separates(c);
    }
    safe.push_str(&held);
    safe
}

fn starts_formula(c: char) -> bool {
    matches!(c, '=' | '+' | '-' | '@' | '\t' | '\r' | '＝' | '＋' | '－' | '＠')
}

/// Where some reader may begin another cell.
fn separates(c: char) -> bool {
    matches!(c, ',' | ';' | '|' | '\t' | '\n' | '\r')
}

/// Not seen at the beginning of a cell: trimmed, or taken for a quote.
fn is_unseen(c: char) -> bool {
    c == '"' || c == '\u{feff}' || (c.is_whitespace() && !matches!(c, '\t' | '\r' | '\n'))
}

/// `+49 (30) 123-45.6`: after the plus nothing that a formula could be made of.
fn is_phone(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('+') else {
        return false;
    };
    rest.starts_with(|c: char| c.is_ascii_digit())
        && rest
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, ' ' | '(' | ')' | '.' | '-' | '/'))
        // `+1-2` is a sum of two numbers as well; a phone number has more digits than that.
        && rest.chars().filter(char::is_ascii_digit).count() >= 5
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_would_begin_a_formula_gets_an_apostrophe() {
        for (text, safe) in [
            ("Ada", "Ada"),
            ("", ""),
            ("a=b", "a=b"),
            ("O'Hara-Smith", "O'Hara-Smith"),
            ("x@acme.example", "x@acme.example"),
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-2+3", "'-2+3"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t'=1"),
            ("\r=1", "'\r'=1"),
            ("  =1", "'  =1"),
            ("\"=1\"", "'\"=1\""),
            ("＝1", "'＝1"),
            ("a,=1", "a,'=1"),
            ("a;=1", "a;'=1"),
            ("a; =1", "a;' =1"),
            ("a\n=1", "a\n'=1"),
            ("a\n+b", "a\n'+b"),
            ("Smith, Ada", "Smith, Ada"),
            (" Ada ", " Ada "),
        ] {
            assert_eq!(neutralise(text, Formulas::Prefix), safe, "{text:?}");
            assert_eq!(neutralise(text, Formulas::Keep), text);
        }
    }

    #[test]
    fn a_phone_number_may_keep_its_plus_and_nothing_else_may() {
        for phone in ["+49 30 123456", "+1 (555) 010-9999", "+442079460000"] {
            assert_eq!(neutralise(phone, Formulas::Phone), phone);
            assert_eq!(neutralise(phone, Formulas::Prefix), format!("'{phone}"));
        }
        for no in [
            "+1-2",
            "+cmd|' /C calc'!A0",
            "=+491234567",
            "+",
            "+12345678;=1",
            "-123456",
        ] {
            assert!(neutralise(no, Formulas::Phone).starts_with('\''), "{no}");
        }
    }

    /// Whether a reader that splits at `separator` sees a cell that begins with a formula.
    fn dangerous(cell: &str, separator: char) -> bool {
        cell.split([separator, '\n'])
            .any(|part| part.trim_start_matches([' ', '"']).starts_with(['=', '+', '-', '@']))
    }

    proptest! {
        #[test]
        fn no_reader_sees_a_formula_and_twice_is_once(text in "[=+@\\-a ,;|\"\t\r\n'1]{0,12}") {
            let safe = neutralise(&text, Formulas::Prefix);
            for separator in [',', ';', '|', '\t', '\r'] {
                prop_assert!(!dangerous(&safe, separator), "{safe:?} by {separator:?}");
            }
            prop_assert_eq!(neutralise(&safe, Formulas::Prefix), safe.clone());
            // Nothing is lost: without our apostrophes it is the text.
            let stripped: String = safe.chars().filter(|c| *c != '\'').collect();
            let plain: String = text.chars().filter(|c| *c != '\'').collect();
            prop_assert_eq!(stripped, plain);
        }
    }
}
