//! Documents name what exists: links, paths and dependencies.

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
};

use crate::Violation;

/// Links of a document that lead nowhere. `text_of` gives the text of a file from the root, an empty one for a folder.
pub fn broken_links(place: &str, text: &str, text_of: &impl Fn(&Path) -> Option<String>) -> Vec<Violation> {
    let folder = Path::new(place).parent().unwrap_or(Path::new(""));
    let mut found = Vec::new();
    for (line, link) in links(text) {
        if link.contains("://") || link.starts_with("mailto:") {
            continue;
        }
        let (file, anchor) = link.split_once('#').unwrap_or((link.as_str(), ""));
        let target = if file.is_empty() {
            Some(PathBuf::from(place))
        } else {
            normal(&folder.join(file))
        };
        let target_text = target.and_then(|target| {
            if target == Path::new(place) {
                Some(text.to_owned())
            } else {
                text_of(&target)
            }
        });
        match target_text {
            None => found.push(Violation::new(place, line, format!("the link {link} leads nowhere"))),
            Some(target_text) if !anchor.is_empty() && !anchors(&target_text).iter().any(|known| known == anchor) => {
                found.push(Violation::new(
                    place,
                    line,
                    format!("the link {link} names a heading that is not there"),
                ));
            }
            Some(_) => {}
        }
    }
    found
}

/// Paths between backticks that do not exist. What looks like a path: from the root, with a slash, ending in a slash or
/// in a known extension.
pub fn missing_paths(place: &str, text: &str, exists: &impl Fn(&Path) -> bool) -> Vec<Violation> {
    const EXTENSIONS: &[&str] = &[".rs", ".md", ".yaml", ".json", ".toml", ".sh", ".proto", ".py", ".mjs"];
    let looks_like_one = |span: &str| {
        let plain = span.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
        plain
            && span.contains('/')
            && !span.starts_with('/')
            && (span.ends_with('/') || EXTENSIONS.iter().any(|end| span.ends_with(end)))
    };
    let mut found = Vec::new();
    for (line, prose) in prose(text) {
        for span in prose.split('`').skip(1).step_by(2).filter(|span| looks_like_one(span)) {
            if !exists(Path::new(span)) {
                found.push(Violation::new(place, line, format!("there is no {span}")));
            }
        }
    }
    found
}

/// Names between backticks in the rows of tables that look like those of tests: sentences of several words. With their lines.
#[must_use]
pub fn named_tests(text: &str) -> Vec<(usize, &str)> {
    let looks_like_one = |span: &&str| {
        let plain = span
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        plain && span.matches('_').count() > 1
    };
    let rows = prose(text).filter(|(_, line)| line.starts_with('|'));
    rows.flat_map(|(line, row)| {
        let spans = row.split('`').skip(1).step_by(2).filter(looks_like_one);
        spans.map(move |span| (line, span)).collect::<Vec<_>>()
    })
    .collect()
}

/// Tests that the tables of a document name and that do not exist.
#[must_use]
pub fn missing_tests(place: &str, text: &str, tests: &BTreeSet<String>) -> Vec<Violation> {
    let named = named_tests(text).into_iter().filter(|(_, name)| !tests.contains(*name));
    named
        .map(|(line, name)| Violation::new(place, line, format!("there is no test {name}")))
        .collect()
}

/// Names that no table row or list item of the document explains: each is expected between backticks at its beginning.
#[must_use]
pub fn unexplained(place: &str, text: &str, names: &[String]) -> Vec<Violation> {
    let explains = |line: &str, name: &str| {
        let line = line.trim_start_matches(['-', '*', '|', ' ']);
        // Several names may share a line: `a`, `b`: why.
        let head = line.split(" | ").next().unwrap_or(line);
        line.starts_with('`') && head.split('`').skip(1).step_by(2).any(|span| span == name)
    };
    let missing = names
        .iter()
        .filter(|name| !text.lines().any(|line| explains(line, name)));
    missing
        .map(|name| Violation::new(place, 0, format!("no line says why `{name}` is there")))
        .collect()
}

/// The lines outside of fenced code, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(number, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        (!fenced && !fence).then_some((number + 1, line))
    })
}

/// The targets of `[text](target)` outside of code, with their lines.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        // What is between backticks is no link.
        let plain: String = line.split('`').step_by(2).collect::<Vec<_>>().join("_");
        let mut rest = plain.as_str();
        while let Some((_, behind)) = rest.split_once("](") {
            let Some((target, further)) = behind.split_once(')') else {
                break;
            };
            found.push((number, target.split_whitespace().next().unwrap_or_default().to_owned()));
            rest = further;
        }
    }
    found
}

/// The anchors of a document's headings, as the usual renderers make them.
fn anchors(text: &str) -> Vec<String> {
    let headings = prose(text).filter_map(|(_, line)| {
        Some(
            line.strip_prefix('#')?
                .trim_start_matches('#')
                .strip_prefix(' ')?
                .trim(),
        )
    });
    let slug = |heading: &str| {
        let kept = heading
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .collect::<String>();
        kept.replace(' ', "-")
    };
    headings.map(slug).collect()
}

/// Without `.` and `..`; nothing when it leads out of the repository.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                if !normal.pop() {
                    return None;
                }
            }
            Component::Normal(part) => normal.push(part),
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(normal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(path: &Path) -> Option<String> {
        match path.to_str()? {
            "README.md" => Some("# Usher\n## The two commands\n".to_owned()),
            "docs/setup.md" | "shared" => Some(String::new()),
            _ => None,
        }
    }

    fn broken(place: &str, text: &str) -> Vec<String> {
        broken_links(place, text, &text_of)
            .into_iter()
            .map(|violation| violation.to_string())
            .collect()
    }

    #[test]
    fn links_that_lead_somewhere_pass() {
        let text = "# Here\n[a](docs/setup.md) [b](./README.md#the-two-commands), [c](https://example.com/x) [d](#here) [e](shared)\n\
                    `[not](a-link.md)`\n```text\n[nor](this.md)\n```\n";
        assert!(
            broken("ARCHITECTURE.md", text).is_empty(),
            "{:?}",
            broken("ARCHITECTURE.md", text)
        );
        assert!(broken("docs/setup.md", "[up](../README.md)").is_empty());
    }

    #[test]
    fn planted_links_that_lead_nowhere_are_caught() {
        for planted in [
            "[a](docs/gone.md)",
            "[a](README.md#no-such-part)",
            "[a](#nowhere)",
            "[a](/README.md)",
            "[a](../README.md)",
        ] {
            assert_eq!(
                broken("ARCHITECTURE.md", &format!("# Here\n{planted}\n")).len(),
                1,
                "{planted}"
            );
        }
        assert_eq!(
            broken("ARCHITECTURE.md", "x\n\n[a](gone.md)\n"),
            ["ARCHITECTURE.md:3: the link gone.md leads nowhere"]
        );
    }

    #[test]
    fn paths_between_backticks_must_exist() {
        let exists = |path: &Path| path == Path::new("shared/contract/") || path == Path::new("a/b.rs");
        let text = "`a/b.rs` `shared/contract/` `/v1/status` `tests/*/x.rs` `user-change.checkpoint` `make test`\n```\n`gone/x.rs`\n```\n";
        assert!(missing_paths("A.md", text, &exists).is_empty());
        assert_eq!(missing_paths("A.md", "\n`a/gone.rs` and `gone/`\n", &exists).len(), 2);
    }

    #[test]
    fn a_dependency_without_its_line_is_caught() {
        let names = ["tokio", "serde", "rand"].map(str::to_owned);
        let text = "| `tokio` | runtime |\n- `serde`, `serde_json`: shapes\nWe also use `rand` somewhere.\n";
        let found = unexplained("A.md", text, &names);
        assert_eq!(found.len(), 1);
        assert!(found[0].what.contains("`rand`"));
    }

    #[test]
    fn tests_that_tables_name_must_exist() {
        let tests = ["it_works_here".to_owned()].into();
        let text = "| `it_works_here` | `snake_case`, `make test` `a/b_c_d.rs` |\n`it_is_no_table`\n```\n| `it_is_code_here` |\n```\n";
        assert_eq!(missing_tests("A.md", text, &tests), []);
        let planted = format!("{text}| x | `it_works_here`, `it_worked_there` |\n");
        let found = missing_tests("A.md", &planted, &tests);
        assert_eq!(found, [Violation::new("A.md", 6, "there is no test it_worked_there")]);
    }
}
