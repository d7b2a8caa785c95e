//! YAML with places: every key and value remembers its line and column, so that an error can point at it.
//!
//! Configuration is read in two steps: into [`Document`] (syntax, places), then into a struct through
//! [`Document::decode`]. Unknown keys are found against a sample that has every key, all at once, each with the
//! nearest known name.

use std::fmt::{self, Write as _};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

/// A place in a text, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    /// Line.
    pub line: u64,
    /// Column.
    pub column: u64,
}

/// A problem at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where; `None` when it concerns the text as a whole.
    pub place: Option<Place>,
    /// `section.key`, empty for the text as a whole.
    pub path: String,
    /// What is wrong and what to do.
    pub message: String,
}

#[derive(Debug, Clone)]
struct Node {
    place: Place,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    Scalar(Value),
    List(Vec<Node>),
    Map(Vec<(String, Place, Node)>),
}

/// A parsed text that can point at its parts.
#[derive(Debug, Clone)]
pub struct Document {
    name: String,
    text: String,
    root: Node,
    /// First and last line of what is never shown.
    hidden: Vec<(u64, u64)>,
}

impl Document {
    /// The name that messages show.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Parses; `name` is shown in messages (a file name).
    ///
    /// # Errors
    /// The syntax error with its place.
    pub fn parse(name: &str, text: &str) -> Result<Self, Problem> {
        let root = if text
            .lines()
            .all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
        {
            Node {
                place: Place { line: 1, column: 1 },
                content: Content::Map(Vec::new()),
            }
        } else {
            serde_saphyr::from_str::<Node>(text).map_err(|error| Problem {
                place: error.location().map(place_of),
                path: String::new(),
                message: format!("not valid YAML: {}", first_line(&error.to_string())),
            })?
        };
        Ok(Self {
            name: name.to_owned(),
            text: text.to_owned(),
            root,
            hidden: Vec::new(),
        })
    }

    /// Never shows the lines of this section: problems in it are named by place and path. For sections in which
    /// somebody may write a secret by mistake, also next to what a problem is about.
    #[must_use]
    pub fn hiding(mut self, section: &str) -> Self {
        let Content::Map(entries) = &self.root.content else {
            return self;
        };
        let Some(number) = entries.iter().position(|(key, ..)| key == section) else {
            return self;
        };
        let (_, place, node) = &entries[number];
        let next = entries.get(number + 1).map(|(_, next, _)| next.line);
        // A section written in braces may end on the line on which the next one begins.
        let in_braces = self.text.lines().any(|line| line.starts_with('{'));
        let range = match next {
            _ if in_braces => (0, u64::MAX),
            Some(next) => (place.line, next.saturating_sub(1).max(node.last_line()).max(place.line)),
            None => (place.line, u64::MAX),
        };
        self.hidden.push(range);
        self
    }

    /// The content without places.
    #[must_use]
    pub fn value(&self) -> Value {
        self.root.value()
    }

    /// Where the value at `path` (`a.b[0].c`, as `serde_path_to_error` writes it) stands.
    #[must_use]
    pub fn place(&self, path: &str) -> Option<Place> {
        let mut node = &self.root;
        let mut place = node.place;
        for step in path
            .split('.')
            .flat_map(|part| part.split('['))
            .filter(|step| !step.is_empty() && *step != "?")
        {
            match (&node.content, step.strip_suffix(']')) {
                (Content::List(items), Some(index)) => {
                    node = items.get(index.parse::<usize>().ok()?)?;
                    place = node.place;
                }
                (Content::Map(entries), None) => {
                    let (_, at, next) = entries.iter().find(|(key, ..)| key == step)?;
                    (node, place) = (next, *at);
                }
                _ => return Some(place),
            }
        }
        Some(place)
    }

    /// Where the value below these keys stands. Unlike [`Document::place`] the keys may hold any character; an index into
    /// a list is written as a number.
    #[must_use]
    pub fn place_at(&self, keys: &[&str]) -> Option<Place> {
        let mut node = &self.root;
        let mut place = node.place;
        for key in keys {
            match &node.content {
                Content::List(items) => {
                    node = items.get(key.parse::<usize>().ok()?)?;
                    place = node.place;
                }
                Content::Map(entries) => {
                    let (_, at, next) = entries.iter().find(|(name, ..)| name == key)?;
                    (node, place) = (next, *at);
                }
                Content::Scalar(_) => return None,
            }
        }
        Some(place)
    }

    /// Where the byte `offset` of the text below these keys stands. `None` where it is not written as it is read: with
    /// escapes, or folded over lines.
    #[must_use]
    pub fn place_inside(&self, keys: &[&str], text: &str, offset: usize) -> Option<Place> {
        let mut node = &self.root;
        for key in keys {
            node = match &node.content {
                Content::List(items) => items.get(key.parse::<usize>().ok()?)?,
                Content::Map(entries) => &entries.iter().find(|(name, ..)| name == key)?.2,
                Content::Scalar(_) => return None,
            };
        }
        let before = text.get(..offset.min(text.len()))?;
        let line_before = before.rsplit('\n').next().unwrap_or_default();
        let number = before.matches('\n').count();
        let wanted = text.lines().nth(number).unwrap_or_default();
        // A block begins on the line behind its sign; everything else where the value stands.
        let first = usize::try_from(node.place.line).ok()?.checked_sub(1)?;
        let indent = usize::try_from(node.place.column).ok()?.checked_sub(1)?;
        let source: Vec<&str> = self.text.lines().skip(first).take(number + 2).collect();
        let found = source.iter().enumerate().skip(number).find_map(|(line, written)| {
            let skipped: usize = written
                .chars()
                .take(if line == 0 { indent } else { 0 })
                .map(char::len_utf8)
                .sum();
            let at = written.get(skipped..)?.find(wanted)?;
            let column = written[..skipped + at].chars().count() + line_before.chars().count();
            Some((line, column))
        });
        let (line, column) = found?;
        Some(Place {
            line: node.place.line + u64::try_from(line).ok()?,
            column: u64::try_from(column).ok()? + 1,
        })
    }

    /// Every key that `sample` does not have at the same path, with the nearest name that it has. Below a `sample`
    /// value that is an empty map, `null`, a list or a scalar nothing is checked: the struct decides. A list of one map
    /// in the sample stands for every entry.
    #[must_use]
    pub fn unknown_keys(&self, sample: &Value) -> Vec<Problem> {
        let mut found = Vec::new();
        unknown_keys(&self.root, sample, "", &mut found);
        found
    }

    /// Decodes into a struct.
    ///
    /// # Errors
    /// The first value that does not fit, with its place.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        decode(self.value()).map_err(|(path, message)| Problem {
            place: self.place(&path),
            path,
            message,
        })
    }

    /// The problem as a person wants to see it: file, line, column, the line itself, a caret.
    #[must_use]
    pub fn show(&self, problem: &Problem) -> String {
        let mut shown = String::new();
        let path = if problem.path.is_empty() {
            String::new()
        } else {
            format!("{}: ", problem.path)
        };
        let Some(place) = problem.place else {
            return format!("{}: {path}{}", self.name, problem.message);
        };
        // Writing to a String cannot fail.
        let _ = write!(
            shown,
            "{}:{}:{}: {path}{}",
            self.name, place.line, place.column, problem.message
        );
        if self
            .hidden
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&place.line))
        {
            return shown;
        }
        let line = usize::try_from(place.line)
            .ok()
            .and_then(|line| self.text.lines().nth(line.saturating_sub(1)));
        if let Some(line) = line {
            let indent = line
                .chars()
                .take(usize::try_from(place.column).unwrap_or(1).saturating_sub(1));
            let indent: String = indent.map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            let _ = write!(shown, "\n  | {line}\n  | {indent}^");
        }
        shown
    }
}

/// Decodes a value; an error gives the path and the message.
///
/// # Errors
/// Path (`a.b[0]`) and message of the first value that does not fit.
pub fn decode<T: DeserializeOwned>(value: Value) -> Result<T, (String, String)> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let message = with_suggestion(&error.inner().to_string());
        (if path == "." { String::new() } else { path }, message)
    })
}

/// Serde's "unknown field `x`, expected one of `a`, `b`" with the nearest name added.
fn with_suggestion(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    if !(message.starts_with("unknown field") || message.starts_with("unknown variant")) {
        return message.to_owned();
    }
    let Some(wrong) = quoted.next() else {
        return message.to_owned();
    };
    match nearest(wrong, quoted) {
        Some(name) => format!("{message}; did you mean `{name}`?"),
        None => message.to_owned(),
    }
}

/// The most similar of the known names, if any is similar enough to be meant.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wrong = wrong.to_lowercase();
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&wrong, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= name.len().max(wrong.len()) / 2)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

fn unknown_keys(node: &Node, sample: &Value, path: &str, found: &mut Vec<Problem>) {
    if let (Content::List(items), Value::Array(known)) = (&node.content, sample)
        && let [sample @ Value::Object(_)] = known.as_slice()
    {
        for (index, item) in items.iter().enumerate() {
            unknown_keys(item, sample, &format!("{path}[{index}]"), found);
        }
        return;
    }
    let (Content::Map(entries), Value::Object(known)) = (&node.content, sample) else {
        return;
    };
    if known.is_empty() {
        return;
    }
    for (key, place, value) in entries {
        let here = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        match known.get(key) {
            Some(sample) => unknown_keys(value, sample, &here, found),
            None => {
                let hint = nearest(key, known.keys().map(String::as_str));
                let hint = hint.map_or_else(
                    || {
                        format!(
                            "known keys here: {}",
                            known.keys().cloned().collect::<Vec<_>>().join(", ")
                        )
                    },
                    |name| format!("did you mean `{name}`?"),
                );
                found.push(Problem {
                    place: Some(*place),
                    path: here,
                    message: format!("unknown key; {hint}"),
                });
            }
        }
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or(text)
}

fn place_of(location: serde_saphyr::Location) -> Place {
    Place {
        line: location.line(),
        column: location.column(),
    }
}

impl Node {
    /// The last line on which something in it begins.
    fn last_line(&self) -> u64 {
        let below = match &self.content {
            Content::Scalar(_) => None,
            Content::List(items) => items.iter().map(Self::last_line).max(),
            Content::Map(entries) => entries
                .iter()
                .map(|(_, place, node)| node.last_line().max(place.line))
                .max(),
        };
        below.unwrap_or_default().max(self.place.line)
    }

    fn value(&self) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::List(items) => Value::Array(items.iter().map(Self::value).collect()),
            Content::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|(key, _, node)| (key.clone(), node.value()))
                    .collect::<Map<_, _>>(),
            ),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Content>::deserialize(d)?;
        Ok(Self {
            place: place_of(spanned.referenced),
            content: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Content;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a YAML value")
            }
            fn visit_bool<E>(self, value: bool) -> Result<Content, E> {
                Ok(Content::Scalar(value.into()))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Content, E> {
                Ok(Content::Scalar(value.into()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Content, E> {
                Ok(Content::Scalar(value.into()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Content, E> {
                Ok(Content::Scalar(
                    Number::from_f64(value).map_or(Value::Null, Value::Number),
                ))
            }
            fn visit_str<E>(self, value: &str) -> Result<Content, E> {
                Ok(Content::Scalar(value.into()))
            }
            fn visit_unit<E>(self) -> Result<Content, E> {
                Ok(Content::Scalar(Value::Null))
            }
            fn visit_none<E>(self) -> Result<Content, E> {
                Ok(Content::Scalar(Value::Null))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Content, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = access.next_element()? {
                    items.push(item);
                }
                Ok(Content::List(items))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Content, A::Error> {
                let mut entries = Vec::new();
                while let Some(key) = access.next_key::<Spanned<String>>()? {
                    entries.push((key.value, place_of(key.referenced), access.next_value()?));
                }
                Ok(Content::Map(entries))
            }
        }
        d.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEXT: &str = "kafka:\n  bootstrapServer: x\n  size: [1, two]\nhttp: { bindd: 1 }\n";

    #[test]
    fn values_are_read_as_yaml_means_them() {
        let document = Document::parse("f", "a: 1\nb: 'x'\nc: [true, null, 1.5]\nd: {e: -2}\n").unwrap();
        assert_eq!(
            document.value(),
            json!({"a": 1, "b": "x", "c": [true, null, 1.5], "d": {"e": -2}})
        );
        assert_eq!(Document::parse("f", "# nothing\n").unwrap().value(), json!({}));
    }

    #[test]
    fn every_unknown_key_is_shown_with_place_and_nearest_name() {
        let document = Document::parse("usher.yaml", TEXT).unwrap();
        let sample = json!({"kafka": {"bootstrapServers": "", "size": []}, "http": {"bind": ""}});
        let shown: Vec<String> = document
            .unknown_keys(&sample)
            .iter()
            .map(|p| document.show(p))
            .collect();
        assert_eq!(
            shown,
            [
                "usher.yaml:2:3: kafka.bootstrapServer: unknown key; did you mean `bootstrapServers`?\n  |   bootstrapServer: x\n  |   ^",
                "usher.yaml:4:9: http.bindd: unknown key; did you mean `bind`?\n  | http: { bindd: 1 }\n  |         ^",
            ]
        );
    }

    #[test]
    fn a_value_of_the_wrong_type_is_pointed_at() {
        #[derive(Debug, Deserialize)]
        struct Kafka {
            #[expect(dead_code, reason = "only the error is looked at")]
            size: Vec<u8>,
        }
        #[derive(Debug, Deserialize)]
        struct Config {
            #[expect(dead_code, reason = "only the error is looked at")]
            kafka: Kafka,
        }
        let document = Document::parse("f", TEXT).unwrap();
        let problem = document.decode::<Config>().unwrap_err();
        assert_eq!(problem.place, Some(Place { line: 3, column: 13 }), "{problem:?}");
        assert_eq!(problem.path, "kafka.size[1]");
    }

    #[test]
    fn lines_of_a_hidden_section_are_not_shown() {
        let shown = |text: &str, path: &[&str]| {
            let document = Document::parse("f", text).unwrap().hiding("door");
            let place = document.place_at(path);
            assert!(place.is_some(), "{path:?}");
            document.show(&Problem {
                place,
                path: path.join("."),
                message: "wrong".to_owned(),
            })
        };
        let text = "a: 1\ndoor:\n  key: s3cret\n  more: [s3cret]\nb: 2\n";
        for path in [&["door"][..], &["door", "key"], &["door", "more", "0"]] {
            assert!(!shown(text, path).contains('|'), "{path:?}");
        }
        assert_eq!(shown(text, &["door", "key"]), "f:3:3: door.key: wrong");
        assert!(shown(text, &["a"]).contains("| a: 1"));
        assert!(shown(text, &["b"]).contains("| b: 2"));
        assert!(!shown("b: 2\ndoor:\n  key: s3cret\n", &["door", "key"]).contains("s3cret"));
        assert!(!shown("{door: {key: s3cret}, b: 2}\n", &["b"]).contains("s3cret"));
    }

    #[test]
    fn broken_syntax_has_a_place() {
        let problem = Document::parse("f", "a: [1,\nb: 2\n").unwrap_err();
        assert!(problem.place.is_some(), "{problem:?}");
    }
}
