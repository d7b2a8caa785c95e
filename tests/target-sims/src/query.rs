//! Answers about resources: how one is shown, and lists with filter, index paging and projection.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use crate::behaviour::Behaviour;
use crate::error::ScimError;
use crate::filter::parse;
use crate::path::Scope;
use crate::rules::Deactivate;
use crate::schema::{Mutability, ResourceType, USER};
use crate::store::Store;

/// The parameters of a list, from the query string or from a search request.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListRequest {
    pub(crate) filter: Option<String>,
    pub(crate) start_index: Option<i64>,
    pub(crate) count: Option<i64>,
    pub(crate) attributes: Vec<String>,
    pub(crate) excluded_attributes: Vec<String>,
    /// Ids that a filter does not find yet.
    pub(crate) unseen: HashSet<String>,
}

impl ListRequest {
    pub(crate) fn from_query(pairs: &[(String, String)]) -> Result<ListRequest, ScimError> {
        let mut request = ListRequest::default();
        for (name, value) in pairs {
            let names = || value.split(',').map(|name| name.trim().to_owned()).collect();
            let number = || {
                value
                    .parse::<i64>()
                    .map_err(|_| ScimError::invalid_value(format!("{name} must be a number, not {value:?}")))
            };
            match name.to_ascii_lowercase().as_str() {
                "filter" => request.filter = Some(value.clone()),
                "startindex" => request.start_index = Some(number()?),
                "count" => request.count = Some(number()?),
                "attributes" => request.attributes = names(),
                "excludedattributes" => request.excluded_attributes = names(),
                // Unknown parameters are ignored, as servers do.
                _ => {}
            }
        }
        request.check()
    }

    pub(crate) fn from_search(body: &Value) -> Result<ListRequest, ScimError> {
        let names = |key: &str| {
            let items = body[key].as_array().into_iter().flatten();
            items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
        };
        ListRequest {
            filter: body["filter"].as_str().map(str::to_owned),
            start_index: body["startIndex"].as_i64(),
            count: body["count"].as_i64(),
            attributes: names("attributes"),
            excluded_attributes: names("excludedAttributes"),
            unseen: HashSet::new(),
        }
        .check()
    }

    fn check(self) -> Result<ListRequest, ScimError> {
        if !self.attributes.is_empty() && !self.excluded_attributes.is_empty() {
            return Err(ScimError::invalid_value(
                "attributes and excludedAttributes exclude each other",
            ));
        }
        Ok(self)
    }
}

/// Lists the resources of `store`; `groups` supplies the memberships shown with users.
pub(crate) fn list(
    store: &Store,
    groups: &Store,
    behaviour: &Behaviour,
    request: &ListRequest,
) -> Result<Value, ScimError> {
    if request.filter.is_some() && !behaviour.filter_supported {
        return Err(ScimError::new(501, "filters are not supported"));
    }
    let filter = request
        .filter
        .as_deref()
        .map(|text| parse(Scope::Resource(store.kind()), text))
        .transpose()?;
    let rules = &behaviour.rules;
    let understood = filter.as_ref().map_or(Ok(true), |filter| rules.check_filter(filter))?;
    let found: Box<dyn Iterator<Item = &Map<String, Value>>> = match &filter {
        Some(_) if !understood => Box::new(std::iter::empty()),
        Some(filter) if !rules.filter_ignored => store.search(filter),
        _ => Box::new(store.all()),
    };
    let exact_name = filter.as_ref().filter(|_| rules.filter_minds_case);
    let exact_name = exact_name.and_then(|filter| filter.required_text("userName", None));
    let unseen = |body: &Map<String, Value>| {
        let id = body["id"].as_str().unwrap_or_default();
        filter.is_some() && request.unseen.contains(id)
    };
    let hidden = behaviour.hide_inactive || rules.deactivate == Deactivate::Hides;
    let shown: Vec<&Map<String, Value>> = found
        .filter(|body| !hidden || body.get("active") != Some(&Value::Bool(false)))
        .filter(|body| exact_name.is_none_or(|name| body["userName"] == name))
        .filter(|body| !unseen(body))
        .collect();
    // RFC 7644 section 3.4.2.4: a start below 1 means 1, a negative count means 0.
    let start = usize::try_from(request.start_index.unwrap_or(1).max(1)).unwrap_or(usize::MAX);
    let count = request.count.map_or(behaviour.page_size_max, |count| {
        usize::try_from(count.max(0)).unwrap_or(usize::MAX)
    });
    let (start, count) = if rules.one_page {
        (1, usize::MAX)
    } else {
        (start, count.min(behaviour.page_size_max))
    };
    let page: Vec<Value> = shown
        .iter()
        .skip(start - 1)
        .take(count)
        .map(|body| {
            let shown = show(store.kind(), groups, behaviour, body);
            let shown = project(shown, &request.attributes, &request.excluded_attributes);
            project(shown, &[], &rules.list_omits)
        })
        .collect();
    Ok(json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "totalResults": shown.len(),
        "startIndex": start,
        "itemsPerPage": page.len(),
        "Resources": page,
    }))
}

/// A resource as it is answered.
pub(crate) fn show(
    kind: &'static ResourceType,
    groups: &Store,
    behaviour: &Behaviour,
    body: &Map<String, Value>,
) -> Value {
    let mut shown = body.clone();
    for attribute in kind.attributes {
        if attribute.mutability == Mutability::WriteOnly {
            shown.remove(attribute.name);
        }
    }
    let mut schemas = vec![kind.urn];
    let held = kind
        .extensions
        .iter()
        .filter(|extension| body.contains_key(extension.urn));
    schemas.extend(held.map(|extension| extension.urn));
    shown.insert("schemas".to_owned(), json!(schemas));
    if !behaviour.etag_supported
        && let Some(meta) = shown.get_mut("meta").and_then(Value::as_object_mut)
    {
        meta.remove("version");
    }
    if kind == &USER {
        let id = body["id"].as_str().unwrap_or_default();
        let memberships: Vec<Value> = groups
            .with_member(id)
            .map(|group| {
                json!({
                    "value": group["id"], "$ref": group["meta"]["location"],
                    "display": group["displayName"], "type": "direct",
                })
            })
            .collect();
        if !memberships.is_empty() {
            shown.insert("groups".to_owned(), Value::Array(memberships));
        }
    }
    Value::Object(shown)
}

/// Keeps the wanted attributes, or leaves the unwanted ones out; `id` and `schemas` always stay. Parts of complex attributes count as
/// the whole: servers do as they like there, and no client of ours asks for parts.
pub(crate) fn project(mut shown: Value, attributes: &[String], excluded: &[String]) -> Value {
    let names = |list: &[String], name: &str| {
        list.iter().any(|listed| {
            let whole = listed
                .get(..name.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(name));
            whole && matches!(listed.as_bytes().get(name.len()), None | Some(b'.' | b':'))
        })
    };
    if let Some(object) = shown.as_object_mut() {
        object.retain(|name, _| {
            name == "id"
                || name == "schemas"
                || ((attributes.is_empty() || names(attributes, name)) && !names(excluded, name))
        });
    }
    shown
}
