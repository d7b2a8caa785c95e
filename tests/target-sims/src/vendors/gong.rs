//! Gong's provisioning over SCIM (source "Custom"), with the rules that its documentation states: documented attributes and no
//! others, an e-mail domain of the company, filters by user name and by group name alone, nobody is deleted, 3 requests a
//! second and 10,000 a day, and groups that an administrator has bound to assignments. The REST API beside it, in `rest`, counts
//! into the same limit.
//!
//! The protocol itself is [`crate::service`]; here is what Gong adds to it and leaves out. What is not documented is a switch.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Map, Value, json};

use super::{Vendor, VendorAnswer, VendorRequest, decoded};
use crate::behaviour::Behaviour;
use crate::error::ScimError;
use crate::resource::from_body;
use crate::schema::{
    Attribute, ENTERPRISE_URN, Extension, PLURAL, ResourceType, boolean, complex, list, required, text,
};
use crate::service::{Request, State};
use crate::store::Store;

mod rest;

pub use rest::GongRest;

const BASE: &str = "/scim/v2";
const GONG_URN: &str = "urn:ietf:params:scim:schemas:extension:Gong:2.0:User";

const USER_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const NAME: Attribute = complex("name", &[text("familyName"), text("givenName")]);

/// What the vendor lists; `externalId` belongs to every resource.
static DOCUMENTED: ResourceType = ResourceType {
    name: "User",
    endpoint: "Users",
    urn: USER_URN,
    attributes: &[
        required(text("userName")),
        NAME,
        text("title"),
        text("locale"),
        text("timezone"),
        boolean("active"),
        list("emails", PLURAL),
        list("phoneNumbers", PLURAL),
    ],
    extensions: &[
        Extension {
            urn: ENTERPRISE_URN,
            // A text, other than in RFC 7643.
            attributes: &[text("manager")],
        },
        Extension {
            urn: GONG_URN,
            attributes: &[text("stateOrProvince"), text("country")],
        },
    ],
};

/// The same with attributes that Gong may have as well: settings, and an extension of its own.
static WITH_SETTINGS: ResourceType = ResourceType {
    name: "User",
    endpoint: "Users",
    urn: USER_URN,
    attributes: &[
        required(text("userName")),
        NAME,
        text("title"),
        text("locale"),
        text("timezone"),
        boolean("active"),
        list("emails", PLURAL),
        list("phoneNumbers", PLURAL),
        list("entitlements", PLURAL),
        list("roles", PLURAL),
    ],
    extensions: &[
        Extension {
            urn: ENTERPRISE_URN,
            attributes: &[text("manager")],
        },
        Extension {
            urn: GONG_URN,
            attributes: &[
                text("stateOrProvince"),
                text("country"),
                text("phoneExtension"),
                boolean("webConferencesRecorded"),
                boolean("emailsImported"),
                boolean("telephonyCallsImported"),
            ],
        },
    ],
};

/// What an administrator has bound to a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GongAssignment {
    pub seats: BTreeSet<String>,
    /// Permission profiles by workspace.
    pub profiles: BTreeMap<String, String>,
    pub captures: BTreeSet<String>,
}

/// One company at Gong.
#[derive(Debug)]
pub struct Gong {
    /// The company's e-mail domains.
    pub domains: Vec<String>,
    /// By the name of the group that it is bound to.
    pub assignments: BTreeMap<String, GongAssignment>,
    /// Requests within a second before 429; `None`: as many as one likes.
    pub per_second: Option<usize>,
    /// Requests before 429 for the rest of the day.
    pub per_day: Option<usize>,
    /// Whether it says at `/ServiceProviderConfig` what it can do.
    pub says_what_it_can: bool,
    /// Whether the manager must be an e-mail address of a member instead of an account's id.
    pub manager_by_email: bool,
    /// Calls that would have erased somebody's data.
    pub erasures: usize,
    /// The REST API.
    pub rest: GongRest,
    /// Requests that were refused because of a rule, as words.
    pub refusals: Vec<String>,
    state: State,
    recent: VecDeque<i64>,
    served: usize,
}

impl Default for Gong {
    fn default() -> Gong {
        Gong {
            domains: vec!["acme.example".to_owned()],
            assignments: BTreeMap::new(),
            per_second: None,
            per_day: None,
            says_what_it_can: false,
            manager_by_email: false,
            erasures: 0,
            rest: GongRest::default(),
            refusals: Vec::new(),
            state: state(&DOCUMENTED),
            recent: VecDeque::new(),
            served: 0,
        }
    }
}

fn state(kind: &'static ResourceType) -> State {
    let behaviour = Behaviour {
        etag_supported: false,
        lower_case_user_name: true,
        page_size_max: 100,
        ..Behaviour::default()
    };
    let base = format!("https://gong.invalid{BASE}");
    let mut state = State::new(&base, Some("gong-token".to_owned()), behaviour);
    state.users = Store::new(kind, &base);
    state
}

impl Gong {
    /// Takes PATCH, or wants PUT.
    pub fn takes_patch(&mut self, takes: bool) {
        self.state.behaviour.patch_supported = takes;
    }

    /// Starts anew as a company whose service also takes settings and a phone extension as attributes.
    pub fn takes_settings(&mut self) {
        self.state = state(&WITH_SETTINGS);
    }

    /// Adds a member as an administrator would, before there was provisioning; returns its id. Panics if the body is not valid.
    pub fn seed(&mut self, body: Value) -> String {
        seeded(&mut self.state, body)
    }

    /// How many members there are.
    pub fn member_count(&self) -> usize {
        self.state.users.all().count()
    }

    /// A member as SCIM holds it, by user name.
    pub fn user(&self, name: &str) -> Option<Value> {
        let mut users = self.state.users.all();
        let user = users.find(|user| {
            user["userName"]
                .as_str()
                .is_some_and(|held| held == name.to_lowercase())
        })?;
        Some(Value::Object(user.clone()))
    }

    /// A member as Gong's own pages show it, under the names that Gong has for its attributes.
    pub fn member(&self, name: &str) -> Option<Value> {
        let user = self.user(name)?;
        let of_type = |attribute: &str, kind: &str| {
            let elements = user[attribute].as_array().into_iter().flatten();
            let mut elements = elements.filter(|element| element["type"] == kind);
            elements
                .next()
                .map(|element| element["value"].clone())
                .unwrap_or_default()
        };
        let work = of_type("phoneNumbers", "work");
        let (number, extension) = match work.as_str().map(parted) {
            Some((number, extension)) => (json!(number), extension.map_or(Value::Null, |text| json!(text))),
            None => (Value::Null, Value::Null),
        };
        let own = user[GONG_URN]["phoneExtension"].clone();
        Some(json!({
            "emailaddress": of_type("emails", "work"), "firstname": user["name"]["givenName"],
            "lastname": user["name"]["familyName"], "title": user["title"], "phone_number": number,
            "cellphone_number": of_type("phoneNumbers", "mobile"),
            "phoneExtension": if own.is_null() { extension } else { own }, "active": user["active"],
            "usertimezone": user["timezone"], "userlocale": user["locale"], "manager": user[ENTERPRISE_URN]["manager"],
        }))
    }

    /// What the groups of a member give: nothing in no group, and nothing in a group that is bound to nothing.
    pub fn assigned(&self, name: &str) -> GongAssignment {
        let mut given = GongAssignment::default();
        let id = self.user(name).and_then(|user| user["id"].as_str().map(str::to_owned));
        for group in self.state.groups.with_member(id.as_deref().unwrap_or_default()) {
            let bound = group["displayName"]
                .as_str()
                .and_then(|name| self.assignments.get(name));
            if let Some(bound) = bound {
                given.seats.extend(bound.seats.clone());
                given.profiles.extend(bound.profiles.clone());
                given.captures.extend(bound.captures.clone());
            }
        }
        given
    }

    /// The names of the groups that a member is in.
    pub fn groups_of(&self, name: &str) -> Vec<String> {
        let id = self.user(name).and_then(|user| user["id"].as_str().map(str::to_owned));
        let groups = self.state.groups.with_member(id.as_deref().unwrap_or_default());
        groups
            .filter_map(|group| group["displayName"].as_str().map(str::to_owned))
            .collect()
    }

    /// Whether there is a rule against it.
    fn refused(&self, request: &VendorRequest, path: &str) -> Option<ScimError> {
        let users = path.starts_with("/Users");
        let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
        match request.method.as_str() {
            "GET" => {
                let filter = request.query.split('&').find_map(|pair| pair.strip_prefix("filter="));
                let wanted = if users { "userName eq " } else { "displayName eq " };
                let fits = filter.is_none_or(|filter| decoded(filter).starts_with(wanted));
                (!fits).then(|| ScimError::invalid_filter(format!("only {wanted}is supported")))
            }
            "DELETE" if users => Some(ScimError::new(403, "team members cannot be deleted")),
            "POST" | "PUT" | "PATCH" if users => self.refused_member(path, &request.method, &body),
            _ => None,
        }
    }

    fn refused_member(&self, path: &str, method: &str, body: &Value) -> Option<ScimError> {
        let whole = method != "PATCH";
        let blank = |value: &Value| value.as_str().is_none_or(str::is_empty);
        if whole && (blank(&body["name"]["givenName"]) || blank(&body["name"]["familyName"])) {
            return Some(ScimError::invalid_value(
                "name.givenName and name.familyName are required",
            ));
        }
        let mut addresses = Vec::new();
        if whole {
            of_member(body, &mut addresses);
            let work = body["emails"].as_array().into_iter().flatten();
            if !work.into_iter().any(|email| email["type"] == "work") {
                return Some(ScimError::invalid_value("a work e-mail is required"));
            }
        }
        for operation in body["Operations"].as_array().into_iter().flatten() {
            match operation["path"].as_str().map(str::to_ascii_lowercase) {
                None => of_member(&operation["value"], &mut addresses),
                Some(path) if path.starts_with("emails") || path == "username" => {
                    texts(&operation["value"], &mut addresses);
                }
                Some(_) => {}
            }
        }
        addresses.retain(|text| text.contains('@'));
        let foreign = |address: &&String| {
            let domain = address.rsplit('@').next().unwrap_or_default();
            !self.domains.iter().any(|known| known.eq_ignore_ascii_case(domain))
        };
        if addresses.iter().any(|address| foreign(&address)) {
            return Some(ScimError::invalid_value("the e-mail domain is none of the company's"));
        }
        let own = path.rsplit('/').next().unwrap_or_default();
        let taken = self.state.users.all().filter(|user| user["id"] != own).any(|user| {
            let mut held = Vec::new();
            of_member(&Value::Object(user.clone()), &mut held);
            held.iter()
                .any(|held| addresses.iter().any(|address| held.eq_ignore_ascii_case(address)))
        });
        if taken {
            return Some(ScimError::uniqueness(
                "the e-mail address belongs to another team member",
            ));
        }
        self.refused_manager(whole, body)
    }

    fn refused_manager(&self, whole: bool, body: &Value) -> Option<ScimError> {
        let operations = body["Operations"].as_array().into_iter().flatten();
        let mut named = operations.filter_map(|operation| match operation["path"].as_str() {
            Some(path) if path.ends_with(":manager") => Some(&operation["value"]),
            Some(_) => None,
            None => Some(&operation["value"][ENTERPRISE_URN]["manager"]),
        });
        let manager = if whole {
            Some(&body[ENTERPRISE_URN]["manager"])
        } else {
            named.next()
        };
        let manager = manager.and_then(Value::as_str)?;
        let known = self.state.users.all().any(|user| {
            let key = if self.manager_by_email { "userName" } else { "id" };
            user[key]
                .as_str()
                .is_some_and(|held| held.eq_ignore_ascii_case(manager))
        });
        (!known).then(|| ScimError::invalid_value("no such manager"))
    }

    /// The seconds after which one may ask again, when one asks too much.
    fn too_much(&mut self, now_ms: i64) -> Option<u32> {
        self.recent.retain(|at| now_ms - at < 1000);
        if self.per_day.is_some_and(|most| self.served >= most) {
            return Some(1800);
        }
        if self.per_second.is_some_and(|most| self.recent.len() >= most) {
            return Some(1);
        }
        self.recent.push_back(now_ms);
        self.served += 1;
        None
    }
}

/// User name and e-mail addresses of a member.
fn of_member(member: &Value, found: &mut Vec<String>) {
    texts(&member["userName"], found);
    for email in member["emails"].as_array().into_iter().flatten() {
        texts(&email["value"], found);
    }
}

fn texts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(members) => members.values().for_each(|member| texts(member, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A number and its extension, in the forms that the vendor shows: `(865) 365-1900 ext 3437`, `… ext. 468`, `… x2991`.
fn parted(number: &str) -> (&str, Option<&str>) {
    let lower = number.to_ascii_lowercase();
    let Some(at) = lower.find("ext").or_else(|| lower.find('x')) else {
        return (number, None);
    };
    let extension = number[at..].trim_start_matches(|c: char| !c.is_ascii_digit());
    (number[..at].trim_end(), Some(extension))
}

impl Vendor for Gong {
    fn is_write(_path: &str) -> bool {
        true
    }

    fn handle(&mut self, request: &VendorRequest) -> VendorAnswer {
        if let Some(seconds) = self.too_much(request.now_ms) {
            let mut answer = VendorAnswer::json(429, &json!({"requestId": "4al018gzaztcr8nbukw", "errors": ["rate"]}));
            answer.headers.push(("retry-after", seconds.to_string()));
            return answer;
        }
        if request.path.contains("erase") {
            self.erasures += 1;
            return VendorAnswer::json(200, &json!({"requestId": "4al018gzaztcr8nbukw"}));
        }
        let Some(path) = request.path.strip_prefix(BASE) else {
            return rest::handle(self, request, &request.path);
        };
        let hidden = path.starts_with("/ServiceProviderConfig") && !self.says_what_it_can;
        let refused = if hidden {
            Some(ScimError::new(404, "no such endpoint"))
        } else {
            self.refused(request, path)
        };
        if let Some(error) = refused {
            self.refusals.push(error.detail.clone());
            return VendorAnswer::json(error.status, &error.body());
        }
        passed(&mut self.state, request, path)
    }
}

/// Adds a user without a request; `schemas` may be left out. Panics if the body is not valid.
pub(super) fn seeded(state: &mut State, mut body: Value) -> String {
    let kind = state.users.kind();
    let extensions = kind.extensions.iter().map(|extension| extension.urn);
    body["schemas"] = json!(std::iter::once(kind.urn).chain(extensions).collect::<Vec<_>>());
    let body = match from_body(kind, &body) {
        Ok(body) => body,
        Err(error) => panic!("{}: {body}", error.detail),
    };
    match state.users.create(body) {
        Ok(user) => user["id"].as_str().unwrap_or_default().to_owned(),
        Err(error) => panic!("{}", error.detail),
    }
}

/// Lets the protocol answer.
pub(super) fn passed(state: &mut State, request: &VendorRequest, path: &str) -> VendorAnswer {
    let pairs = request.query.split('&').filter_map(|pair| pair.split_once('='));
    let header = |name: &str| Some(request.header(name).to_owned()).filter(|value| !value.is_empty());
    let answer = state.handle(&Request {
        method: request.method.clone(),
        path: path.to_owned(),
        query: pairs.map(|(name, value)| (decoded(name), decoded(value))).collect(),
        authorization: header("authorization"),
        content_type: header("content-type"),
        user_agent: header("user-agent"),
        if_match: None,
        if_none_match: None,
        body: request.body.clone().into_bytes(),
    });
    let empty = Value::Object(Map::new());
    let mut passed = VendorAnswer::json(answer.status, answer.body.as_ref().unwrap_or(&empty));
    if answer.body.is_none() {
        passed.body.clear();
    }
    passed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_are_read_in_the_forms_that_the_vendor_shows() {
        for (text, number, extension) in [
            ("(865) 365-1900", "(865) 365-1900", None),
            ("(865) 365-1900 ext 3437", "(865) 365-1900", Some("3437")),
            ("540.946.4600 Ext. 143", "540.946.4600", Some("143")),
            ("(865) 365-1900 x2991", "(865) 365-1900", Some("2991")),
            ("(865) 365-1900 x 229", "(865) 365-1900", Some("229")),
        ] {
            assert_eq!(parted(text), (number, extension));
        }
    }
}
