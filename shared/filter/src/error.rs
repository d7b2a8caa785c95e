//! What is wrong with a filter: where, what, and what to write instead.
//!
//! Leaves out the file in which the filter stands: whoever reads that places the span in it.

use std::{fmt, ops::Range};

use thiserror::Error;
use winnow::{
    error::ParserError,
    stream::{Location, Stream},
};

/// Characters of a long line that are shown around the mistake.
const SHOWN_MAX: usize = 100;

/// A filter that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct FilterError {
    /// The bytes of the text that it is about; empty at the end of the text.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do instead; empty when there is nothing to say.
    pub hint: String,
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if !self.hint.is_empty() {
            write!(f, "; {}", self.hint)?;
        }
        Ok(())
    }
}

impl FilterError {
    pub(crate) fn new(span: Range<usize>, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            span,
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// The line of the text on which the mistake begins with what is wrong marked below it, each indented by `  | `.
    /// Of a long line only the surroundings are shown.
    #[must_use]
    pub fn marked(&self, text: &str) -> String {
        let start = boundary(text, self.span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line = text[line_start..].lines().next().unwrap_or_default();
        let before = text[line_start..start].chars().count();
        let wrong = text[start..boundary(text, self.span.end.max(start))]
            .lines()
            .next()
            .unwrap_or_default();
        let skipped = before.saturating_sub(SHOWN_MAX / 2);
        let shown: String = line.chars().skip(skipped).take(SHOWN_MAX).map(plain).collect();
        let ahead = if skipped > 0 { "…" } else { "" };
        let behind = if line.chars().count() > skipped + SHOWN_MAX {
            "…"
        } else {
            ""
        };
        let indent = " ".repeat(before - skipped + ahead.chars().count());
        let width = wrong.chars().count().clamp(1, SHOWN_MAX - (before - skipped));
        format!("  | {ahead}{shown}{behind}\n  | {indent}{}", "^".repeat(width))
    }

    /// Line and column, both counted from 1, with the message and [`FilterError::marked`]: for whoever has nothing but the
    /// text itself.
    #[must_use]
    pub fn render(&self, text: &str) -> String {
        let before = &text[..boundary(text, self.span.start)];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        format!("{line}:{column}: {self}\n{}", self.marked(text))
    }
}

/// The last boundary of characters that is not after `at`.
fn boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Tabs and control characters would move the mark away from what it marks.
fn plain(c: char) -> char {
    if c.is_control() { ' ' } else { c }
}

impl<I: Stream + Location> ParserError<I> for FilterError {
    type Inner = Self;

    fn from_input(input: &I) -> Self {
        let at = input.current_token_start();
        Self::new(at..at + 1, "this is not understood here", "")
    }
    fn into_inner(self) -> Result<Self, Self> {
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_stands_below_what_is_wrong() {
        let error = FilterError::new(18..22, "unknown field `Titel`", "did you mean `Title`?");
        let text = "Département = 'x' Titel";
        assert_eq!(
            FilterError {
                span: 19..24,
                ..error.clone()
            }
            .render(text),
            "1:19: unknown field `Titel`; did you mean `Title`?\n  | Département = 'x' Titel\n  |                   ^^^^^"
        );
        let lines = "a = 1\n\tb = 2";
        assert_eq!(
            FilterError { span: 7..8, ..error }.render(lines),
            "2:2: unknown field `Titel`; did you mean `Title`?\n  |  b = 2\n  |  ^"
        );
    }

    #[test]
    fn of_a_long_line_the_surroundings_are_shown() {
        let text = format!("{}!{}", "a".repeat(500), "b".repeat(500));
        let shown = FilterError::new(500..501, "x", "").marked(&text);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[0].chars().count(), 4 + 102);
        let at = lines[1].chars().position(|c| c == '^').unwrap();
        assert_eq!(lines[0].chars().nth(at), Some('!'));
    }

    #[test]
    fn places_outside_of_the_text_do_no_harm() {
        for span in [0..0, 3..3, 5..9, 1..2] {
            let error = FilterError::new(span, "x", "");
            assert!(error.render("äß").contains('^'));
            assert!(error.render("").contains('^'));
        }
    }
}
