//! miniOrange as a SCIM service (its app "SCIM Client (Source)"): six attributes are required, and an administrator may have
//! chosen that whoever is deactivated is deleted.
//!
//! The protocol itself is [`crate::service`]. What is not documented is a switch.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    Vendor, VendorAnswer, VendorRequest,
    gong::{passed, seeded},
};
use crate::behaviour::Behaviour;
use crate::error::ScimError;
use crate::service::State;

const BASE: &str = "/scim/v2";

/// One customer.
#[derive(Debug)]
pub struct MiniOrangeScim {
    /// The option "delete the deactivated users".
    pub deletes_deactivated: bool,
    /// How often each user name was created.
    pub created: BTreeMap<String, usize>,
    /// Users that were deleted because they were switched off.
    pub deleted: usize,
    state: State,
}

impl Default for MiniOrangeScim {
    fn default() -> MiniOrangeScim {
        let behaviour = Behaviour {
            etag_supported: false,
            ..Behaviour::default()
        };
        MiniOrangeScim {
            deletes_deactivated: false,
            created: BTreeMap::new(),
            deleted: 0,
            state: State::new(
                "https://orange.invalid/scim/v2",
                Some("orange-token".to_owned()),
                behaviour,
            ),
        }
    }
}

impl MiniOrangeScim {
    /// Takes PATCH, or wants PUT.
    pub fn takes_patch(&mut self, takes: bool) {
        self.state.behaviour.patch_supported = takes;
    }

    /// Answers a PATCH without the user.
    pub fn answers_nothing(&mut self) {
        self.state.behaviour.patch_answers_nothing = true;
    }

    /// Understands filters.
    pub fn filters(&mut self, filters: bool) {
        self.state.behaviour.filter_supported = filters;
    }

    /// Adds a user as an administrator would; returns its id. Panics if the body is not valid.
    pub fn seed(&mut self, body: Value) -> String {
        seeded(&mut self.state, body)
    }

    /// The user of a user name.
    pub fn user(&self, name: &str) -> Option<Value> {
        let mut users = self.state.users.all();
        let user = users.find(|user| {
            user["userName"]
                .as_str()
                .is_some_and(|held| held.eq_ignore_ascii_case(name))
        })?;
        Some(Value::Object(user.clone()))
    }

    pub fn user_count(&self) -> usize {
        self.state.users.all().count()
    }
}

/// What is missing of the required attributes.
fn missing(body: &Value) -> Option<&'static str> {
    let work = |email: &Value| email["type"] == "work" && email["value"].is_string();
    let has_work = body["emails"].as_array().is_some_and(|emails| emails.iter().any(work));
    let required = [
        ("userName", body["userName"].is_string()),
        ("name.givenName", body["name"]["givenName"].is_string()),
        ("name.familyName", body["name"]["familyName"].is_string()),
        ("emails", has_work),
        ("displayName", body["displayName"].is_string()),
        ("active", body["active"].is_boolean()),
    ];
    required.iter().find(|(_, there)| !there).map(|(name, _)| *name)
}

impl Vendor for MiniOrangeScim {
    fn is_write(_path: &str) -> bool {
        true
    }

    fn handle(&mut self, request: &VendorRequest) -> VendorAnswer {
        let Some(path) = request.path.strip_prefix(BASE) else {
            return VendorAnswer::site();
        };
        let creates = request.method == "POST" && path == "/Users";
        let whole = creates || (request.method == "PUT" && path.starts_with("/Users"));
        let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
        if let Some(name) = missing(&body).filter(|_| whole) {
            let error = ScimError::invalid_value(format!("{name} is required"));
            return VendorAnswer::json(error.status, &error.body());
        }
        let answer = passed(&mut self.state, request, path);
        if creates && answer.status == 201 {
            let name = body["userName"].as_str().unwrap_or_default().to_owned();
            *self.created.entry(name).or_default() += 1;
        }
        if self.deletes_deactivated {
            let off = self.state.users.all().filter(|user| user["active"] == false);
            let off: Vec<String> = off.filter_map(|user| user["id"].as_str().map(str::to_owned)).collect();
            for id in off {
                self.deleted += usize::from(self.state.users.delete(&id).is_ok());
            }
        }
        answer
    }
}
