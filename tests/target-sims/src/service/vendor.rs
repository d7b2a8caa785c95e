//! What vendors do differently with a request (`rules`), and the search over everything.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::{Answer, State, fold_user_name};
use crate::error::ScimError;
use crate::query::ListRequest;
use crate::rules::{Deactivate, Discovery};

impl State {
    /// Everything at once (RFC 7644 section 3.4.3); what a filter cannot ask of one kind is not found there.
    pub(super) fn search_all(&mut self, request: &ListRequest) -> Result<Answer, ScimError> {
        let whole = ListRequest {
            start_index: None,
            count: None,
            filter: request.filter.clone(),
            attributes: request.attributes.clone(),
            excluded_attributes: request.excluded_attributes.clone(),
            unseen: HashSet::new(),
        };
        let answers = [self.list(true, &whole), self.list(false, &whole)];
        if let [Err(error), Err(_)] = answers {
            return Err(error);
        }
        let found: Vec<Value> = answers
            .into_iter()
            .flatten()
            .filter_map(|answer| answer.body?["Resources"].as_array().cloned())
            .flatten()
            .collect();
        let start = usize::try_from(request.start_index.unwrap_or(1).max(1)).unwrap_or(usize::MAX);
        let most = self.behaviour.page_size_max;
        let count = request
            .count
            .map_or(most, |count| usize::try_from(count.max(0)).unwrap_or(most));
        let page: Vec<&Value> = found.iter().skip(start - 1).take(count.min(most)).collect();
        Ok(Answer::of(
            200,
            json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"], "totalResults": found.len(),
                "startIndex": start, "itemsPerPage": page.len(), "Resources": page}),
        ))
    }

    pub(super) fn discovered_at(&self) -> &'static str {
        match self.behaviour.rules.discovery {
            Discovery::Singular => "ServiceProviderConfig",
            Discovery::Plural => "ServiceProviderConfigs",
            Discovery::Absent => "",
        }
    }

    /// A checked body as this vendor stores it.
    pub(super) fn stored(&self, users: bool, mut body: Map<String, Value>) -> Result<Map<String, Value>, ScimError> {
        if self.behaviour.lower_case_user_name {
            fold_user_name(&mut body);
        }
        if users {
            self.behaviour.rules.check(&body)?;
            if self.behaviour.rules.forgets_external_id {
                body.remove("externalId");
            }
        }
        Ok(body)
    }

    /// The hidden account that a create brings back.
    pub(super) fn revived(&self, body: &Map<String, Value>) -> Option<String> {
        if self.behaviour.rules.deactivate != Deactivate::Hides {
            return None;
        }
        let name = body.get("userName")?.as_str()?.to_lowercase();
        let mut hidden = self
            .users
            .all()
            .filter(|user| user.get("active") == Some(&Value::Bool(false)));
        let user = hidden.find(|user| {
            user["userName"]
                .as_str()
                .is_some_and(|held| held.to_lowercase() == name)
        })?;
        user["id"].as_str().map(str::to_owned)
    }

    /// A resource that this vendor shows.
    pub(super) fn visible(&self, users: bool, id: &str) -> Result<&Map<String, Value>, ScimError> {
        let stored = self.store(users).get(id)?;
        let off = stored.get("active") == Some(&Value::Bool(false));
        if users && off && self.behaviour.rules.deactivate == Deactivate::Hides {
            return Err(ScimError::new(404, "no such user"));
        }
        Ok(stored)
    }
}
