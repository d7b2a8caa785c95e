//! Requests: a call of the description with the values of one operation, complete but for time and secrets.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use super::{
    config::{Clear, RestConfig},
    description::{Body, Call, Description, Tree},
    template::plain,
};
use crate::{
    connector::{Completed, Draft, Moment, Refusal},
    logic::account::AttributeValues,
};

/// A request that lacks time and secrets.
#[derive(Debug)]
pub(crate) struct RestDraft {
    call: Call,
    context: Map<String, Value>,
    /// Names and values that go into the body.
    fields: Vec<(String, Value)>,
    /// A page of a list by the address that the page before gave.
    link: Option<String>,
}

impl RestDraft {
    /// The request of a call, tried out once: what does not work for this person's values is said now, because the
    /// sender could only take it for a mistake that concerns everybody.
    ///
    /// # Errors
    /// Why it cannot be made, without values.
    pub(crate) fn new(
        description: &Description,
        call: &Call,
        context: Map<String, Value>,
        values: &AttributeValues,
        link: Option<String>,
    ) -> Result<Box<Self>, Refusal> {
        let draft = Self {
            call: call.clone(),
            fields: fields(description, call, values),
            context,
            link,
        };
        let secrets = description.config.secrets.keys();
        let trial = Moment {
            now_ms: 0,
            secrets: Arc::new(secrets.map(|name| (name.clone(), "x".to_owned())).collect()),
        };
        draft.complete(&trial)?;
        Ok(Box::new(draft))
    }

    fn body(&self, context: &Map<String, Value>) -> Result<Option<(&'static str, Vec<u8>)>, String> {
        Ok(match &self.call.body {
            Body::None => None,
            Body::Form(entries) => {
                let mut form = form_urlencoded::Serializer::new(String::new());
                for (name, template) in entries {
                    if let Some(text) = template.text(context)? {
                        form.append_pair(name, &text);
                    }
                }
                for (name, value) in &self.fields {
                    form.append_pair(name, &plain(value));
                }
                Some(("application/x-www-form-urlencoded", form.finish().into_bytes()))
            }
            Body::Json(tree) => {
                let mut body = render(tree, context)?.unwrap_or_default();
                for (name, value) in &self.fields {
                    place(&mut body, name, value);
                }
                Some(("application/json", body.to_string().into_bytes()))
            }
        })
    }
}

impl Draft for RestDraft {
    fn is_write(&self) -> bool {
        self.call.verb.is_write()
    }

    fn complete(&self, moment: &Moment) -> Result<Completed, Refusal> {
        let unmade = |part: &str, why: String| Refusal {
            code: "request-unmade".to_owned(),
            reason: format!("the {part} of a request {why}"),
        };
        let mut context = self.context.clone();
        context.insert("now_ms".to_owned(), json!(moment.now_ms));
        context.insert("now_s".to_owned(), json!(moment.now_ms.div_euclid(1000)));
        let seconds = Timestamp::from_second(moment.now_ms.div_euclid(1000)).unwrap_or(Timestamp::UNIX_EPOCH);
        context.insert("now_iso".to_owned(), json!(seconds.to_string()));
        context.insert("secret".to_owned(), json!(*moment.secrets));
        let path = match &self.link {
            Some(link) => link.clone(),
            None => {
                let path = self.call.path.text(&context).map_err(|why| unmade("path", why))?;
                let mut query = form_urlencoded::Serializer::new(String::new());
                let mut any = false;
                for (name, template) in &self.call.query {
                    if let Some(text) = template.text(&context).map_err(|why| unmade("address", why))? {
                        query.append_pair(name, &text);
                        any = true;
                    }
                }
                let path = path.unwrap_or_default();
                if any {
                    format!("{path}?{}", query.finish())
                } else {
                    path
                }
            }
        };
        let mut headers = vec![("accept".to_owned(), "application/json".to_owned())];
        for (name, template) in &self.call.headers {
            let Some(text) = template
                .text(&context)
                .map_err(|why| unmade(&format!("header {name}"), why))?
            else {
                continue;
            };
            if text.chars().any(char::is_control) {
                return Err(unmade(
                    &format!("header {name}"),
                    "would have more than one line".to_owned(),
                ));
            }
            headers.push((name.to_ascii_lowercase(), text));
        }
        Ok(Completed {
            method: self.call.method.to_owned(),
            path,
            headers,
            body: self.body(&context).map_err(|why| unmade("body", why))?,
        })
    }
}

/// What the description knows besides values.
pub(crate) fn context(config: &RestConfig, more: &[(&str, Value)]) -> Map<String, Value> {
    let mut context = Map::new();
    context.insert("settings".to_owned(), json!(config.settings));
    for (name, value) in more {
        context.insert((*name).to_owned(), value.clone());
    }
    context
}

/// The attributes that are written, under the application's names.
fn fields(description: &Description, call: &Call, values: &AttributeValues) -> Vec<(String, Value)> {
    if !call.send_fields {
        return Vec::new();
    }
    let mut fields = Vec::new();
    for (path, value) in values {
        let Some(field) = description.fields.get(&path.0) else {
            continue;
        };
        let Some(name) = &field.send else { continue };
        let value = match (value, field.clear) {
            (Value::Null, Clear::Never) => continue,
            (Value::Null, Clear::Empty) => Value::String(String::new()),
            (value, _) => value.clone(),
        };
        fields.push((name.clone(), value));
    }
    fields
}

fn render(tree: &Tree, context: &Map<String, Value>) -> Result<Option<Value>, String> {
    Ok(match tree {
        Tree::Plain(value) => Some(value.clone()),
        Tree::Text(template) => template.value(context)?,
        Tree::List(items) => {
            let mut list = Vec::new();
            for item in items {
                list.extend(render(item, context)?);
            }
            Some(Value::Array(list))
        }
        Tree::Map(entries) => {
            let mut map = Map::new();
            for (name, item) in entries {
                if let Some(value) = render(item, context)? {
                    map.insert(name.clone(), value);
                }
            }
            Some(Value::Object(map))
        }
    })
}

/// Puts a value under a dotted name.
fn place(body: &mut Value, name: &str, value: &Value) {
    if !body.is_object() {
        *body = Value::Object(Map::new());
    }
    let Value::Object(map) = body else { return };
    match name.split_once('.') {
        None => {
            map.insert(name.to_owned(), value.clone());
        }
        Some((first, rest)) => place(map.entry(first).or_insert(Value::Null), rest, value),
    }
}
