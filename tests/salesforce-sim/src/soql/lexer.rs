//! Splits SOQL text into tokens. Strings are in single quotes; unknown backslash pairs are errors (SOQL Reference,
//! "Quoted String Escape Sequences"). Leaves out what tokens mean: `parser.rs`.

use crate::clock;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token {
    /// A keyword, name or dotted path.
    Word(String),
    Text(String),
    Number(f64),
    DateTime(i64),
    Date(i64),
    /// `= != < <= > >= ( ) , :`
    Symbol(&'static str),
}

/// What is wrong, in words, and where.
pub(crate) type LexError = (String, usize);

const SYMBOLS: [&str; 11] = ["!=", "<>", "<=", ">=", "=", "<", ">", "(", ")", ",", ":"];

/// 1700-01-01 to 4000-12-31: the dates that Salesforce has (SOQL Reference, "Date Formats and Date Literals").
const DATES_MS: std::ops::Range<i64> = -8_520_336_000_000..64_092_211_200_000;

/// Longest string literal in a WHERE clause.
const TEXT_MAX: usize = 4000;

/// Tokens with the place where each begins.
pub(crate) fn tokens(text: &str) -> Result<Vec<(Token, usize)>, LexError> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(letter) = text[at..].chars().next() {
        if letter.is_whitespace() {
            at += letter.len_utf8();
            continue;
        }
        let (token, length) = next(&text[at..]).map_err(|message| (message, at))?;
        found.push((token, at));
        at += length;
    }
    Ok(found)
}

fn next(rest: &str) -> Result<(Token, usize), String> {
    if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
        let name = if *symbol == "<>" { "!=" } else { symbol };
        return Ok((Token::Symbol(name), symbol.len()));
    }
    let first = rest.chars().next().unwrap_or(' ');
    if first == '\'' {
        return string(rest);
    }
    if first.is_ascii_digit() || first == '-' || first == '+' {
        let length = rest
            .find(|letter: char| !(letter.is_ascii_alphanumeric() || "+-:.".contains(letter)))
            .unwrap_or(rest.len());
        return number(&rest[..length]).map(|token| (token, length));
    }
    if first.is_alphabetic() || first == '_' {
        let length = rest
            .find(|letter: char| !(letter.is_alphanumeric() || letter == '_' || letter == '.'))
            .unwrap_or(rest.len());
        return Ok((Token::Word(rest[..length].to_owned()), length));
    }
    Err(format!("unexpected token: '{first}'"))
}

fn number(text: &str) -> Result<Token, String> {
    let within = |ms: i64, token: Token| {
        if DATES_MS.contains(&ms) {
            Ok(token)
        } else {
            Err(format!("Date {text} out of range"))
        }
    };
    if let Some(ms) = clock::parse_date(text) {
        return within(ms, Token::Date(ms));
    }
    if text.contains('T')
        && let Some(ms) = clock::parse_datetime(text)
    {
        return within(ms, Token::DateTime(ms));
    }
    text.parse()
        .map(Token::Number)
        .map_err(|_| format!("unexpected token: '{text}'"))
}

/// A literal; in `LIKE`, `\%` and `\_` stand for themselves, so those pairs are kept for the matcher.
fn string(rest: &str) -> Result<(Token, usize), String> {
    let mut text = String::new();
    let mut letters = rest.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\'' => {
                if text.chars().count() > TEXT_MAX {
                    return Err("string literal is too long".to_owned());
                }
                return Ok((Token::Text(text), at + 1));
            }
            '\\' => {
                let (_, escaped) = letters.next().ok_or("unterminated string literal")?;
                match escaped {
                    'n' | 'N' => text.push('\n'),
                    'r' | 'R' => text.push('\r'),
                    't' | 'T' => text.push('\t'),
                    'b' | 'B' => text.push('\u{8}'),
                    'f' | 'F' => text.push('\u{c}'),
                    '"' | '\'' => text.push(escaped),
                    '\\' | '%' | '_' => {
                        text.push('\\');
                        text.push(escaped);
                    }
                    'u' | 'U' => {
                        let digits: String = (0..4).filter_map(|_| letters.next().map(|(_, digit)| digit)).collect();
                        let code = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
                        text.push(code.ok_or("Illegal unicode sequence in string literal")?);
                    }
                    other => {
                        return Err(format!(
                            "Invalid string literal. Illegal character sequence '\\{other}' in string literal"
                        ));
                    }
                }
            }
            other => text.push(other),
        }
    }
    Err("unterminated string literal".to_owned())
}

/// The text of a literal outside LIKE, where `\%` and `\_` are pairs like any other that does not exist (SOQL Reference,
/// "Quoted String Escape Sequences").
pub(crate) fn plain(text: &str) -> Result<String, String> {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        plain.push(match letter {
            '\\' => match letters.next() {
                Some(wild @ ('%' | '_')) => {
                    return Err(format!(
                        "Invalid string literal. Illegal character sequence '\\{wild}' in string literal"
                    ));
                }
                other => other.unwrap_or('\\'),
            },
            other => other,
        });
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_read_and_unknown_ones_refused() {
        let read = tokens(r"'O\'Neill \\ \u00e9'").unwrap();
        let Token::Text(text) = &read[0].0 else {
            panic!("not a text")
        };
        assert_eq!(plain(text).unwrap(), "O'Neill \\ é");
        assert!(plain(r"100\%").is_err());
        assert!(tokens(r"'a\qb'").is_err());
        assert!(tokens("'open").is_err());
    }

    #[test]
    fn dates_and_datetimes_need_no_quotes() {
        let read = tokens("a >= 2026-01-02T03:04:05Z AND b = 2026-01-02 AND c=-1.5").unwrap();
        assert!(matches!(read[2].0, Token::DateTime(_)));
        assert!(matches!(read[6].0, Token::Date(_)));
        assert_eq!(read[10].0, Token::Number(-1.5));
    }
}
