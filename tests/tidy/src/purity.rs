//! Pure code: what may not be mentioned where decisions are made.
//!
//! Works on tokens, so words in comments and texts do not count and the inside of macro calls does. Groups of `use` are
//! spelled out: `use std::{fmt, fs}` mentions `std::fs`. Items under `#[cfg(test)]` are passed over.
//!
//! Left out: what a name stands for. A type alias of a clock that another crate offers would not be noticed; the
//! directions of dependencies keep such crates away.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

use crate::Violation;

/// Paths that begin like this. A single name counts as the name of a crate: `rand::random()` and `use rand`, not a
/// variable `rand`.
const BEGINNINGS: &[&[&str]] = &[
    &["tokio"],
    &["rdkafka"],
    &["reqwest"],
    &["rand"],
    &["std", "fs"],
    &["std", "env"],
    &["std", "net"],
    &["std", "thread"],
    &["std", "process"],
];
/// Paths that hold these names side by side.
const INSIDE: &[&[&str]] = &[
    &["SystemTime"],
    &["Instant", "now"],
    &["Timestamp", "now"],
    &["Zoned", "now"],
    &["clock", "now"],
];
/// Words that may stand before a path and are no part of it: `use ::tokio`, `return ::std::env::args()`.
const KEYWORDS: &[&str] = &[
    "as", "async", "await", "break", "const", "dyn", "else", "extern", "for", "if", "impl", "in", "let", "match",
    "move", "mut", "pub", "ref", "return", "static", "type", "unsafe", "use", "where", "while",
];
/// Macros that write somewhere.
const MACROS: &[&str] = &["print", "println", "eprint", "eprintln", "dbg"];

/// What one file mentions although pure code may not.
///
/// # Errors
/// When the text cannot be read as Rust.
pub fn violations(place: &str, text: &str) -> Result<Vec<Violation>, String> {
    let tokens: TokenStream = text
        .parse()
        .map_err(|error| format!("{place}: not readable as Rust: {error}"))?;
    let mut found = Vec::new();
    walk(tokens, &Context::default(), &mut |line, what| {
        found.push(Violation::new(place, line, what))
    });
    Ok(found)
}

/// A module that only tests have, declared in a file of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestModule {
    /// Its name.
    pub name: String,
    /// The value of its `path` attribute.
    pub path: Option<String>,
}

/// The modules that a file declares under `#[cfg(test)]` and whose text is elsewhere.
///
/// # Errors
/// When the text cannot be read as Rust.
pub fn test_modules(place: &str, text: &str) -> Result<Vec<TestModule>, String> {
    let tokens: TokenStream = text
        .parse()
        .map_err(|error| format!("{place}: not readable as Rust: {error}"))?;
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let (mut modules, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        let Some((attributes, item)) = attributes(&tokens, at) else {
            at += 1;
            continue;
        };
        let end = end_of_item(&tokens, item);
        if attributes.iter().any(|group| is_cfg_test(group)) && is_punct(tokens.get(end - 1), ';') {
            let name = tokens[item..end]
                .windows(2)
                .find_map(|pair| (word(&pair[0])? == "mod").then(|| word(&pair[1])).flatten());
            let path = attributes.iter().find_map(|group| path_attribute(group));
            modules.extend(name.map(|name| TestModule { name, path }));
        }
        at = item.max(at + 1);
    }
    Ok(modules)
}

/// Where a path stands.
#[derive(Debug, Clone, Default)]
struct Context {
    /// The part of a `use` before the braces.
    prefix: Vec<String>,
    /// Inside a `use`: a single name is the name of a crate.
    import: bool,
}

fn walk(tokens: TokenStream, context: &Context, report: &mut impl FnMut(usize, String)) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    let mut import = context.import;
    while at < tokens.len() {
        if let Some((attributes, item)) = attributes(&tokens, at) {
            if attributes.iter().any(|group| is_cfg_test(group)) {
                // `#![cfg(test)]` speaks of the file as a whole.
                at = if is_punct(tokens.get(at + 1), '!') {
                    tokens.len()
                } else {
                    end_of_item(&tokens, item)
                };
                continue;
            }
            attributes
                .into_iter()
                .for_each(|group| walk(group.stream(), &Context::default(), report));
            at = item;
            continue;
        }
        match &tokens[at] {
            TokenTree::Group(group) => {
                walk(
                    group.stream(),
                    &Context {
                        import,
                        ..Context::default()
                    },
                    report,
                );
                at += 1;
            }
            TokenTree::Ident(name) => {
                let line = name.span().start().line;
                let word = name.to_string();
                if KEYWORDS.contains(&word.as_str()) {
                    import |= word == "use" || word == "extern";
                    if word == "async" || word == "await" {
                        report(line, format!("`{word}`: what decides does not wait"));
                    }
                    at += 1;
                    continue;
                }
                // A field, a method or a lifetime is no path.
                let follows = at.checked_sub(1).and_then(|before| tokens.get(before));
                if is_punct(follows, '.') || is_punct(follows, '\'') {
                    at += 1;
                    continue;
                }
                let (segments, next, below) = path(&tokens, at, &context.prefix);
                if let Some(group) = below {
                    walk(
                        group.stream(),
                        &Context {
                            prefix: segments.clone(),
                            import: true,
                        },
                        report,
                    );
                }
                if let Some(what) = forbidden(&segments, import || !context.prefix.is_empty()) {
                    report(line, what);
                }
                if is_punct(tokens.get(next), '!')
                    && segments.last().is_some_and(|last| MACROS.contains(&last.as_str()))
                {
                    report(line, format!("`{}!`", segments.join("::")));
                }
                at = next;
            }
            TokenTree::Punct(punct) => {
                if punct.as_char() == ';' {
                    import = context.import;
                }
                at += 1;
            }
            TokenTree::Literal(_) => at += 1,
        }
    }
}

/// The path that begins at `at`, where it ends, and the braces of a `use` that go on with it.
fn path<'a>(tokens: &'a [TokenTree], at: usize, prefix: &[String]) -> (Vec<String>, usize, Option<&'a Group>) {
    let mut segments = prefix.to_vec();
    let mut next = at;
    while let Some(TokenTree::Ident(name)) = tokens.get(next) {
        segments.push(name.to_string());
        next += 1;
        if !(is_punct(tokens.get(next), ':') && is_punct(tokens.get(next + 1), ':')) {
            break;
        }
        match tokens.get(next + 2) {
            Some(TokenTree::Ident(_)) => next += 2,
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                return (segments, next + 3, Some(group));
            }
            _ => {
                next += 2;
                break;
            }
        }
    }
    (segments, next.max(at + 1), None)
}

fn forbidden(segments: &[String], import: bool) -> Option<String> {
    let begins = |beginning: &&[&str]| {
        let long_enough = segments.len() > 1 || import;
        long_enough
            && segments.len() >= beginning.len()
            && segments.iter().zip(*beginning).all(|(one, other)| one == other)
    };
    let holds = |names: &&[&str]| {
        segments
            .windows(names.len())
            .any(|window| window.iter().zip(*names).all(|(one, other)| one == other))
    };
    let named = BEGINNINGS
        .iter()
        .find(|beginning| begins(beginning))
        .or_else(|| INSIDE.iter().find(|names| holds(names)))?;
    Some(format!(
        "`{}` in `{}`: time, random numbers and everything outside are arguments",
        named.join("::"),
        segments.join("::")
    ))
}

/// The attributes that begin at `at`, and where what they belong to begins.
fn attributes(tokens: &[TokenTree], at: usize) -> Option<(Vec<&Group>, usize)> {
    let mut groups = Vec::new();
    let mut next = at;
    while is_punct(tokens.get(next), '#') {
        let inner = usize::from(is_punct(tokens.get(next + 1), '!'));
        match tokens.get(next + 1 + inner) {
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Bracket => groups.push(group),
            _ => break,
        }
        next += 2 + inner;
        // What follows an inner attribute is not what it belongs to.
        if inner == 1 {
            break;
        }
    }
    (!groups.is_empty()).then_some((groups, next))
}

/// Behind the item that begins at `at`: its semicolon, the braces of its body, or the comma of a field or arm.
fn end_of_item(tokens: &[TokenTree], at: usize) -> usize {
    let first = tokens[at..]
        .iter()
        .position(|token| !matches!(token, TokenTree::Group(_)) && word(token).is_none_or(|word| word != "pub"));
    let keyword = first.and_then(|first| word(&tokens[at + first])).unwrap_or_default();
    // What stands between keyword and end may have braces or commas of its own: `use a::{b};`, `fn f<A, B>() {}`.
    let (brace_ends, comma_ends) = match keyword.as_str() {
        "use" | "const" | "static" | "type" | "let" => (false, false),
        "mod" | "fn" | "impl" | "struct" | "enum" | "trait" | "unsafe" | "async" | "extern" | "macro_rules" => {
            (true, false)
        }
        _ => (true, true),
    };
    let ends = |token: &TokenTree| match token {
        TokenTree::Punct(punct) => punct.as_char() == ';' || (comma_ends && punct.as_char() == ','),
        TokenTree::Group(group) => brace_ends && group.delimiter() == Delimiter::Brace,
        TokenTree::Ident(_) | TokenTree::Literal(_) => false,
    };
    tokens[at..]
        .iter()
        .position(ends)
        .map_or(tokens.len(), |length| at + length + 1)
}

/// `cfg(test)`, or `cfg(all(test, …))`; not `cfg(not(test))`.
fn is_cfg_test(attribute: &Group) -> bool {
    let text = attribute.stream().to_string().replace(' ', "");
    text == "cfg(test)" || text.starts_with("cfg(all(test,")
}

/// The value of `path = "…"`.
fn path_attribute(attribute: &Group) -> Option<String> {
    let text = attribute.stream().to_string();
    let value = text.strip_prefix("path")?.trim_start().strip_prefix('=')?.trim();
    Some(value.trim_matches('"').to_owned())
}

fn word(token: &TokenTree) -> Option<String> {
    match token {
        TokenTree::Ident(name) => Some(name.to_string()),
        _ => None,
    }
}

fn is_punct(token: Option<&TokenTree>, wanted: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        violations("logic/x.rs", text)
            .unwrap()
            .into_iter()
            .map(|violation| violation.to_string())
            .collect()
    }

    #[test]
    fn every_planted_violation_is_caught() {
        for planted in [
            "use tokio::sync::mpsc;",
            "use tokio;",
            "extern crate tokio;",
            "use ::tokio as runtime;",
            "use {serde::Serialize, tokio::time};",
            "fn f() { tokio::spawn(g()); }",
            "#[tokio::main] fn f() {}",
            "use rdkafka::Message;",
            "fn f(client: &reqwest::Client) {}",
            "fn f() -> f64 { rand::random() }",
            "use rand::Rng as _;",
            "use std::fs;",
            "use std::{fmt, fs::File};",
            "use std::{collections::{BTreeMap, HashMap}, path::Path, env};",
            "fn f() { let x = std::env::var(\"X\"); }",
            "fn f() -> X { return ::std::env::args(); }",
            "fn f(a: std::net::IpAddr) {}",
            "fn f() { std::thread::yield_now(); }",
            "use std::time::SystemTime;",
            "fn f() { let now = std::time::Instant::now(); }",
            "fn f() { let now = Instant::now(); }",
            "fn f() { let now = jiff::Timestamp::now(); }",
            "fn f() { let now = usher_runtime::clock::now(); }",
            "async fn f() {}",
            "fn f() { g(async { 1 }); }",
            "fn f() { println!(\"x\"); }",
            "fn f() { std::eprintln!(\"x\"); }",
            // Inside of macro calls.
            "fn f() { vec![tokio::task::id()]; }",
            "macro_rules! m { () => { std::fs::read(\"x\") } }",
            // Behind a test item the rules hold again.
            "#[cfg(test)] mod tests { use std::fs; } use std::env;",
            "#[cfg(test)] use a::{b}; use std::env;",
            "struct S { #[cfg(test)] pub a: u8, b: std::fs::File }",
            "#[cfg(not(test))] fn f() { std::fs::read(\"x\"); }",
        ] {
            assert_eq!(found(planted).len(), 1, "{planted}: {:?}", found(planted));
        }
    }

    #[test]
    fn a_violation_names_its_line() {
        assert_eq!(
            found("use std::{\n    fmt,\n    fs,\n};\n"),
            ["logic/x.rs:3: `std::fs` in `std::fs`: time, random numbers and everything outside are arguments"]
        );
    }

    #[test]
    fn words_in_comments_texts_and_names_are_no_violations() {
        for innocent in [
            "//! Without tokio, std::fs and println!.\n",
            "/// Never calls `Timestamp::now`.\nfn f() {}",
            "fn f() -> &'static str { \"tokio::spawn rdkafka std::env println!\" }",
            "fn f(rand: f64) -> f64 { rand * 2.0 }",
            "fn f() -> f64 { self.rand + plan.tokio() }",
            "fn f<'tokio>(now: Timestamp, instant: &'tokio Instant) -> Timestamp { now }",
            "use std::{fmt, time::{Duration, Instant}};",
            "use crate::logic::{clock, random};",
            "mod environment { pub fn fs() {} }",
            "fn f() { let version = env!(\"CARGO_PKG_VERSION\"); }",
            "use jiff::Timestamp;",
        ] {
            assert!(found(innocent).is_empty(), "{innocent}: {:?}", found(innocent));
        }
    }

    #[test]
    fn what_only_tests_have_may_do_what_tests_do() {
        for tested in [
            "#[cfg(test)]\nmod tests {\n    use std::fs;\n    #[tokio::test]\n    async fn f() {}\n}",
            "#[cfg(test)]\n#[path = \"x_tests.rs\"]\nmod tests;",
            "#[cfg(test)] fn helper() { println!(); }",
            "#[cfg(test)] use std::{fs, env};",
            "#![cfg(test)]\nuse std::fs;",
            "#[cfg(test)] pub(crate) fn f<A, B>(a: std::fs::File) -> A { tokio::x() }",
            "#[cfg(test)] const X: F = F { a: std::fs::x() };",
            "struct S { #[cfg(test)] pub file: std::fs::File, other: u8 }",
        ] {
            assert!(found(tested).is_empty(), "{tested}: {:?}", found(tested));
        }
    }

    #[test]
    fn test_modules_in_files_of_their_own_are_found() {
        let text = "mod a;\n#[cfg(test)]\nmod tests;\n#[cfg(test)]\n#[path = \"b_tests.rs\"]\nmod more;\n#[cfg(test)]\npub(crate) mod testing;\n\
                    #[cfg(test)]\nmod inline { mod other; }\nmod last;\n";
        let module = |name: &str, path: Option<&str>| TestModule {
            name: name.to_owned(),
            path: path.map(str::to_owned),
        };
        assert_eq!(
            test_modules("x.rs", text).unwrap(),
            [
                module("tests", None),
                module("more", Some("b_tests.rs")),
                module("testing", None)
            ]
        );
    }

    #[test]
    fn a_text_that_is_not_rust_is_an_error() {
        assert!(violations("x.rs", "fn f( {").is_err());
    }
}
