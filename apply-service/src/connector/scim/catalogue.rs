//! What can be chosen: values that the application keeps a list of (at Salesforce profiles and permission sets).
//!
//! A value is known when the list shows it, unknown only when its absence is proven: the complete list lacks it, or a filter
//! that finds another entry does not find it. Where neither can be told the write goes ahead, and the application judges.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    Shared,
    classify::{Meaning, Purpose},
    config::{Catalogue, CatalogueLookup, Kind, ScimConfig},
    filter::Filter,
    listing::ListPage,
    path::Path,
    render, resource,
};
use crate::connector::{Failure, HttpAnswer, Request};

/// One entry of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) id: String,
    pub(crate) display: Option<String>,
    /// Its `type`, as far as it is shown.
    kind: Option<String>,
}

impl Choice {
    fn read(entry: &Value) -> Option<Self> {
        let text = |name: &str| resource::get(entry, name).and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            id: text("id").or_else(|| text("value"))?,
            display: text("displayName").or_else(|| text("display")),
            kind: text("type"),
        })
    }

    /// Whether it is of a kind; `None` when that cannot be told.
    pub(crate) fn is(&self, kind: &str, known: Option<&Kind>) -> Option<bool> {
        if let Some(own) = &self.kind {
            return Some(own.eq_ignore_ascii_case(kind));
        }
        let prefix = known
            .filter(|known| known.name.eq_ignore_ascii_case(kind))?
            .id_prefix
            .as_deref()?;
        Some(self.id.starts_with(prefix))
    }
}

/// What is looked for, by id or by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sought {
    /// Which of the configured catalogues.
    pub(crate) catalogue: usize,
    pub(crate) by_name: bool,
    pub(crate) text: String,
}

impl Sought {
    fn is(&self, choice: &Choice) -> bool {
        if self.by_name {
            let name = choice.display.as_deref().unwrap_or_default();
            return name.eq_ignore_ascii_case(&self.text);
        }
        // Salesforce's ids have a form of 15 characters that is the beginning of the one of 18.
        choice.id == self.text || (self.text.len() == 15 && choice.id.len() == 18 && choice.id.starts_with(&self.text))
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Known {
    Yes(Choice),
    No,
    /// The application does not say.
    Unproven,
}

/// One look-up under way.
#[derive(Debug)]
pub(crate) struct Search {
    shared: Arc<Shared>,
    sought: Sought,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Filtered,
    Listed,
    /// The list was cut off: does the filter find an entry that is there?
    Proving,
}

/// What a look-up does next.
#[derive(Debug)]
pub(crate) enum Turn {
    Ask(Request),
    Found(Known),
    Failed(Failure),
}

impl Search {
    pub(crate) fn begin(shared: Arc<Shared>, sought: Sought) -> (Self, Turn) {
        let stage = match shared.config.catalogues[sought.catalogue].lookup {
            CatalogueLookup::Filter => Stage::Filtered,
            CatalogueLookup::List => Stage::Listed,
        };
        let search = Self { shared, sought, stage };
        let request = match stage {
            Stage::Listed => search.list(),
            Stage::Filtered | Stage::Proving => search.filter(&search.sought.text),
        };
        (search, Turn::Ask(request))
    }

    fn catalogue(&self) -> &Catalogue {
        &self.shared.config.catalogues[self.sought.catalogue]
    }

    fn list(&self) -> Request {
        let catalogue = self.catalogue();
        render::get(format!("{}?count={}", catalogue.path, catalogue.list_max))
    }

    fn filter(&self, text: &str) -> Request {
        let attribute = if self.sought.by_name { "displayName" } else { "id" };
        let filter = render::encode(&Filter::equal(attribute, text).to_string());
        render::get(format!("{}?filter={filter}&count=10", self.catalogue().path))
    }

    pub(crate) fn take(&mut self, answer: &HttpAnswer) -> Turn {
        let page = match self.shared.classify(Purpose::Choose, answer) {
            Meaning::Success(body) => body.as_ref().and_then(ListPage::parse),
            Meaning::Failed(failure @ (Failure::Retry(..) | Failure::Halt(_))) => return Turn::Failed(failure),
            Meaning::Unknown(refusal, wait) => return Turn::Failed(Failure::Retry(refusal, wait)),
            // Not offered, not understood or not allowed.
            Meaning::Failed(Failure::Reject(_))
            | Meaning::Accepted(_)
            | Meaning::Absent(_)
            | Meaning::Exists(_)
            | Meaning::Version(_)
            | Meaning::Fallback(..) => None,
        };
        let Some(page) = page else {
            if self.stage == Stage::Filtered {
                self.stage = Stage::Listed;
                return Turn::Ask(self.list());
            }
            return Turn::Found(Known::Unproven);
        };
        let choices: Vec<Choice> = page.resources.iter().filter_map(Choice::read).collect();
        if self.stage == Stage::Proving {
            // One that was asked for by its own name or id came, and nothing else: the filter does what it should.
            return Turn::Found(if choices.len() == 1 { Known::No } else { Known::Unproven });
        }
        if let Some(found) = choices.iter().find(|choice| self.sought.is(choice)) {
            return Turn::Found(Known::Yes(found.clone()));
        }
        if self.stage == Stage::Filtered {
            self.stage = Stage::Listed;
            return Turn::Ask(self.list());
        }
        let received = page.resources.len() as u64;
        let complete = received < u64::from(self.catalogue().list_max) && page.total.unwrap_or(received) <= received;
        if complete {
            return Turn::Found(Known::No);
        }
        let filters = self.catalogue().lookup == CatalogueLookup::Filter;
        let sample = choices.first().and_then(|first| {
            if self.sought.by_name {
                first.display.clone()
            } else {
                Some(first.id.clone())
            }
        });
        match sample.filter(|_| filters) {
            Some(sample) => {
                self.stage = Stage::Proving;
                Turn::Ask(self.filter(&sample))
            }
            None => Turn::Found(Known::Unproven),
        }
    }
}

/// Gives elements the `type` that the application does not show but their ids tell: else the one that there is would not be
/// found, and a second one added.
pub(crate) fn complete(held: &mut Value, config: &ScimConfig) {
    for catalogue in &config.catalogues {
        let Some(Kind {
            name,
            id_prefix: Some(prefix),
        }) = &catalogue.exactly_one
        else {
            continue;
        };
        for element in elements_mut(held, &catalogue.attribute) {
            let silent = resource::get(element, "type").is_none_or(Value::is_null);
            let is_one = resource::get(element, "value")
                .and_then(Value::as_str)
                .is_some_and(|id| id.starts_with(prefix));
            if silent
                && is_one
                && let Some(members) = element.as_object_mut()
            {
                members.insert("type".to_owned(), json!(name));
            }
        }
    }
}

/// Takes the `type` out of the elements of a body where the application does not want it.
pub(crate) fn strip(body: &mut Value, config: &ScimConfig) {
    for catalogue in config.catalogues.iter().filter(|catalogue| !catalogue.send_type) {
        for element in elements_mut(body, &catalogue.attribute) {
            if let Some(members) = element.as_object_mut() {
                members.remove("type");
            }
        }
        let operations = body.get_mut("Operations").and_then(Value::as_array_mut);
        for operation in operations.into_iter().flatten() {
            if let Some(value) = operation.get_mut("value") {
                for element in elements_mut(value, &catalogue.attribute) {
                    if let Some(members) = element.as_object_mut() {
                        members.remove("type");
                    }
                }
            }
        }
    }
}

fn elements_mut<'a>(body: &'a mut Value, attribute: &str) -> impl Iterator<Item = &'a mut Value> {
    let key = body
        .as_object()
        .and_then(|members| resource::key_of(members, attribute));
    key.and_then(|key| body.get_mut(&key)?.as_array_mut())
        .into_iter()
        .flatten()
}

/// The elements of an account that a catalogue speaks of: id or name, and kind.
pub(crate) fn held(account: &Value, catalogue: &Catalogue) -> Vec<Choice> {
    let items = resource::get(account, &catalogue.attribute).and_then(Value::as_array);
    let read = |item: &Value| match item {
        Value::String(id) => Some(Choice {
            id: id.clone(),
            display: None,
            kind: None,
        }),
        other => {
            let text = |name: &str| resource::get(other, name).and_then(Value::as_str).map(str::to_owned);
            Some(Choice {
                id: text("value").or_else(|| text("display"))?,
                display: text("display"),
                kind: text("type"),
            })
        }
    };
    items.into_iter().flatten().filter_map(read).collect()
}

/// The values of a catalogue's attribute among what is to be written: where each stands, how it is looked up, which kind its
/// path says.
pub(crate) fn sought(config: &ScimConfig, values: &[(Path, Value)]) -> Vec<(usize, Sought, Option<String>)> {
    let mut all = Vec::new();
    for (catalogue, entry) in config.catalogues.iter().enumerate() {
        for (at, (path, value)) in values.iter().enumerate() {
            if path.schema.is_some() || !path.attribute.eq_ignore_ascii_case(&entry.attribute) {
                continue;
            }
            let kind = path
                .template()
                .into_iter()
                .find(|(name, _)| name.eq_ignore_ascii_case("type"));
            let kind = kind.and_then(|(_, kind)| kind.as_str().map(str::to_owned));
            let by_name = path.sub.as_deref() == Some("display");
            let texts: Vec<&str> = match value {
                Value::String(text) => vec![text],
                Value::Array(items) => items
                    .iter()
                    .filter_map(|item| item.as_str().or_else(|| resource::get(item, "value")?.as_str()))
                    .collect(),
                _ => Vec::new(),
            };
            // Other parts of an element say nothing about which one it is.
            if path
                .sub
                .as_deref()
                .is_some_and(|sub| !["value", "display"].contains(&sub))
            {
                continue;
            }
            for text in texts.into_iter().filter(|text| !text.is_empty()) {
                let text = text.to_owned();
                all.push((
                    at,
                    Sought {
                        catalogue,
                        by_name,
                        text,
                    },
                    kind.clone(),
                ));
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> ScimConfig {
        serde_json::from_value(
            json!({"catalogues": [{"attribute": "entitlements", "path": "/Entitlements",
            "exactlyOne": {"name": "Profile", "idPrefix": "00e"}, "sendType": false}]}),
        )
        .unwrap()
    }

    #[test]
    fn an_element_without_type_is_told_by_its_id() {
        let mut held =
            json!({"Entitlements": [{"value": "00e1"}, {"value": "0PS1"}, {"value": "00e2", "type": "Other"}]});
        complete(&mut held, &config());
        assert_eq!(
            held["Entitlements"],
            json!([{"value": "00e1", "type": "Profile"}, {"value": "0PS1"}, {"value": "00e2", "type": "Other"}])
        );
        let mut body = json!({"entitlements": [{"value": "00e1", "type": "Profile"}]});
        strip(&mut body, &config());
        assert_eq!(body, json!({"entitlements": [{"value": "00e1"}]}));
        let mut patch =
            json!({"Operations": [{"op": "replace", "value": {"entitlements": [{"value": "x", "type": "y"}]}}]});
        strip(&mut patch, &config());
        assert_eq!(
            patch["Operations"][0]["value"],
            json!({"entitlements": [{"value": "x"}]})
        );
    }

    #[test]
    fn both_forms_of_an_id_are_one_and_names_ignore_case() {
        let choice = Choice::read(&json!({"id": "00e5f000000abcdEAB", "displayName": "Sales User"})).unwrap();
        let sought = |by_name, text: &str| Sought {
            catalogue: 0,
            by_name,
            text: text.to_owned(),
        };
        assert!(sought(false, "00e5f000000abcd").is(&choice));
        assert!(sought(false, "00e5f000000abcdEAB").is(&choice));
        assert!(!sought(false, "00e5f000000ABCD").is(&choice), "case counts");
        assert!(!sought(false, "00e5f").is(&choice));
        assert!(sought(true, "sales user").is(&choice));
    }
}
