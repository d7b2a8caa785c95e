//! Templates of requests: text with values in it, or one value with its type.
//!
//! The language is that of the mapping (`logic::template`), sandboxed and bounded in the same way, with functions more:
//! `sha512(text)`, `hmac_sha256(key, text)` and `hmac_sha512(key, text)` as lower-case hex, and each with `_base64` behind its
//! name as base64 (RFC 4648 section 4, padded). A text that is nothing but one `{{ expression }}` keeps the type of its value,
//! and an undefined one leaves its entry out.
//!
//! In paths whatever is put in is percent-encoded and must be a segment of its own: not empty, no dots that lead
//! elsewhere. So no value can become syntax.

use std::{collections::BTreeSet, sync::LazyLock};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use hmac::{Hmac, KeyInit as _, Mac as _};
use minijinja::{Environment, Error, ErrorKind, value::Serde};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256, Sha512};

use crate::logic::template::{in_words, refuse_growth};

/// Bytes that may come out.
const OUTPUT_MAX: usize = 16_384;
/// What is known besides the names of the context.
pub(crate) const FUNCTIONS: [&str; 6] = [
    "sha512",
    "sha512_base64",
    "hmac_sha256",
    "hmac_sha256_base64",
    "hmac_sha512",
    "hmac_sha512_base64",
];
/// RFC 3986 section 2.3.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

static PLAIN: LazyLock<Environment<'static>> = LazyLock::new(environment);
static PATH: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut env = environment();
    env.set_formatter(|out, _, value| {
        let text = value.to_string();
        if value.is_undefined() || value.is_none() || matches!(text.as_str(), "" | "." | "..") {
            return Err(Error::new(ErrorKind::InvalidOperation, "no segment of a path"));
        }
        out.write_str(&utf8_percent_encode(&text, SEGMENT).to_string())
            .map_err(Error::from)
    });
    env
});

/// A template that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    text: String,
    /// Between the braces, when there is nothing else.
    expression: Option<String>,
    names: BTreeSet<String>,
    path: bool,
}

impl Template {
    /// A template for anything but paths.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        Self::new(text, false)
    }

    /// A template of a path.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn parse_path(text: &str) -> Result<Self, String> {
        Self::new(text, true)
    }

    fn new(text: &str, path: bool) -> Result<Self, String> {
        refuse_growth(text)?;
        let inner = text
            .trim()
            .strip_prefix("{{")
            .and_then(|rest| rest.strip_suffix("}}"))
            .filter(|inner| !inner.contains("}}") && !path);
        let names = PLAIN
            .template_from_str(text)
            .map_err(|error| in_words(&error))?
            .undeclared_variables(true);
        Ok(Self {
            text: text.to_owned(),
            expression: inner.map(|inner| inner.trim().to_owned()),
            names: names.into_iter().collect(),
            path,
        })
    }

    /// The names that it reads, as `settings.x`; functions included.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Its value; `None` when it is undefined.
    ///
    /// # Errors
    /// Why it cannot be rendered, in words without values.
    pub(crate) fn value(&self, context: &Map<String, Value>) -> Result<Option<Value>, String> {
        let Some(expression) = &self.expression else {
            return self.text(context).map(|text| text.map(Value::String));
        };
        let value = PLAIN
            .compile_expression(expression)
            .and_then(|compiled| compiled.eval(minijinja::Value::from(Serde(context))))
            .map_err(|error| in_words(&error))?;
        if value.is_undefined() {
            return Ok(None);
        }
        let value = serde_json::to_value(&value).map_err(|_| "no value comes out".to_owned())?;
        Ok(Some(value))
    }

    /// Its text; `None` when it is undefined.
    ///
    /// # Errors
    /// Why it cannot be rendered, in words without values.
    pub(crate) fn text(&self, context: &Map<String, Value>) -> Result<Option<String>, String> {
        if self.expression.is_some() {
            return Ok(self.value(context)?.map(|value| plain(&value)));
        }
        let env = if self.path { &*PATH } else { &*PLAIN };
        let text = env
            .template_from_str(&self.text)
            .and_then(|template| template.render(minijinja::Value::from(Serde(context))))
            .map_err(|error| in_words(&error))?;
        if text.len() > OUTPUT_MAX {
            return Err(format!("more than {OUTPUT_MAX} bytes come out"));
        }
        Ok(Some(text))
    }
}

/// A value as text: nothing for null, the text itself, JSON for the rest.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn environment() -> Environment<'static> {
    let mut env = crate::logic::template::environment();
    let digest = |text: &str| Sha512::digest(text.as_bytes());
    env.add_function("sha512", move |text: String| hex(&digest(&text)));
    env.add_function("sha512_base64", move |text: String| BASE64.encode(digest(&text)));
    env.add_function("hmac_sha256", |key: String, text: String| {
        hex(&hmac_sha256(&key, &text))
    });
    env.add_function("hmac_sha256_base64", |key: String, text: String| {
        BASE64.encode(hmac_sha256(&key, &text))
    });
    env.add_function("hmac_sha512", |key: String, text: String| {
        hex(&hmac_sha512(&key, &text))
    });
    env.add_function("hmac_sha512_base64", |key: String, text: String| {
        BASE64.encode(hmac_sha512(&key, &text))
    });
    env
}

fn hmac_sha256(key: &str, text: &str) -> Vec<u8> {
    let mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("HMAC takes keys of every length");
    mac.chain_update(text.as_bytes()).finalize().into_bytes().to_vec()
}

fn hmac_sha512(key: &str, text: &str) -> Vec<u8> {
    let mac = Hmac::<Sha512>::new_from_slice(key.as_bytes()).expect("HMAC takes keys of every length");
    mac.chain_update(text.as_bytes()).finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn context(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }

    fn value(text: &str, names: Value) -> Result<Option<Value>, String> {
        Template::parse(text).and_then(|template| template.value(&context(names)))
    }

    #[test]
    fn a_lone_expression_keeps_its_type_and_undefined_is_left_out() {
        let names = json!({"values": {"on": true, "none": null}, "now_ms": 1_700_000_000_123_i64, "a": "A"});
        for (text, expected) in [
            ("{{ values.on }}", Some(json!(true))),
            ("{{ values.none }}", Some(Value::Null)),
            ("{{ values.gone }}", None),
            ("{{ a if values.on == false }}", None),
            ("{{ now_ms }}", Some(json!(1_700_000_000_123_i64))),
            ("{{ a }}{{ now_ms }}", Some(json!("A1700000000123"))),
            ("x{{ a | lower }}", Some(json!("xa"))),
            ("plain", Some(json!("plain"))),
        ] {
            assert_eq!(value(text, names.clone()), Ok(expected), "{text}");
        }
        assert!(value("x{{ values.gone }}", names.clone()).is_err());
        assert!(value("{{ a | nofilter }}", names.clone()).is_err());
        assert!(Template::parse("{% set a = 1 %}").is_err());
        assert!(Template::parse("{{ a").is_err());
    }

    /// The vectors of FIPS 180-4 (`abc`) and RFC 4231 section 4.3, in both encodings.
    #[test]
    fn hashes_are_lower_case_hex_or_base64() {
        let asked = "'Jefe', 'what do ya want for nothing?'";
        for (template, expected) in [
            (
                "{{ sha512('a' ~ b) }}".to_owned(),
                "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            ),
            (
                "{{ sha512_base64('a' ~ b) }}".to_owned(),
                "3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw==",
            ),
            (
                format!("{{{{ hmac_sha256({asked}) }}}}"),
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                format!("{{{{ hmac_sha256_base64({asked}) }}}}"),
                "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM=",
            ),
            (
                format!("{{{{ hmac_sha512({asked}) }}}}"),
                "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
            ),
            (
                format!("{{{{ hmac_sha512_base64({asked}) }}}}"),
                "Fkt6e/z4GeLjlfvnO1bgo4e9ZCIugx/WECcM1+olBVSXWL91wFqZSm0DT2X48Ob9yuqxo01Ka0tjbgcKOLznNw==",
            ),
        ] {
            let value = value(&template, json!({"b": "bc"})).unwrap().unwrap();
            assert_eq!(value, expected, "{template}");
        }
    }

    #[test]
    fn a_value_stays_within_its_segment() {
        let render = |id: &str| {
            Template::parse_path("/users/{{ account.id }}/off")
                .unwrap()
                .text(&context(json!({"account": {"id": id}})))
        };
        assert_eq!(
            render("a/../b?c#d %2f").unwrap().unwrap(),
            "/users/a%2F..%2Fb%3Fc%23d%20%252f/off"
        );
        for id in ["", ".", ".."] {
            assert!(render(id).is_err(), "{id}");
        }
        assert!(Template::parse_path("/{{ x }}").unwrap().text(&Map::new()).is_err());
    }

    proptest! {
        #[test]
        fn no_value_becomes_syntax_of_a_path(id in "\\PC{1,20}") {
            let template = Template::parse_path("/u/{{ id }}").unwrap();
            if let Ok(Some(path)) = template.text(&context(json!({"id": id}))) {
                let segment = path.strip_prefix("/u/").unwrap();
                prop_assert!(!segment.contains(['/', '?', '#', ' ', '\\', '@']));
                let back = percent_encoding::percent_decode_str(segment).decode_utf8().unwrap();
                prop_assert_eq!(back, id);
            }
        }

        #[test]
        fn no_text_does_harm(text in "[a-z{}%. |~'()\"]{0,40}") {
            if let Ok(template) = Template::parse(&text) {
                let _ = template.value(&context(json!({"a": "x", "b": {"c": 1}})));
            }
        }
    }
}
