//! Salesforce's own SCIM service, with the rules that its documentation states and the ways in which it surprises: one
//! profile among entitlements, user names over all orgs, licences, DELETE that deactivates, a plural discovery address.
//!
//! Tokens are judged by whoever gives them out ([`SalesforceScim::accepts`]). What is not documented is a switch.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Vendor, VendorAnswer, VendorRequest, decoded};

const BASE: &str = "/services/scim/v2";
const PASSWORDS: &str = "/services/data/v66.0/sobjects/User/";
const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// Judges an access token.
type Accepts = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// The service of one org.
#[derive(Clone)]
pub struct SalesforceScim {
    /// Whether an access token is good. Default: only `good-token`.
    pub accepts: Accepts,
    /// Profiles by id: name, and the licence that a user takes with it.
    pub profiles: BTreeMap<String, (String, String)>,
    /// Permission sets by id.
    pub permission_sets: BTreeMap<String, String>,
    /// Licences that are left, by name; what is not listed is unlimited.
    pub licences: BTreeMap<String, usize>,
    /// User names that are taken in other orgs, in lower case.
    pub elsewhere: BTreeSet<String>,
    /// Whether entitlements show their `type`.
    pub shows_types: bool,
    /// Whether entitlements may be sent with their `type`.
    pub takes_types: bool,
    /// Whether `/Entitlements` understands filters.
    pub filters_entitlements: bool,
    /// Whether `externalId` is kept.
    pub keeps_external_id: bool,
    /// The status of a user name that is taken: 409 or 400.
    pub taken_status: u16,
    /// A changed profile is accepted, and the old one kept.
    pub keeps_profile: bool,
    users: BTreeMap<String, Map<String, Value>>,
    next: u32,
    /// Requests that were refused because of a rule, as words.
    pub refusals: Vec<String>,
    /// How many users were created.
    pub created: usize,
    /// Ids of users whose password was reset over REST, in order.
    pub resets: Vec<String>,
}

impl fmt::Debug for SalesforceScim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SalesforceScim")
            .field("users", &self.users)
            .finish_non_exhaustive()
    }
}

impl Default for SalesforceScim {
    fn default() -> SalesforceScim {
        let text = str::to_owned;
        SalesforceScim {
            accepts: Arc::new(|token| token == "good-token"),
            profiles: [
                ("00e5f000000sales01", ("Sales User", "Salesforce")),
                ("00e5f000000admin01", ("System Administrator", "Salesforce")),
                ("00e5f000000chatt01", ("Chatter Free User", "Chatter Free")),
            ]
            .map(|(id, (name, licence))| (text(id), (text(name), text(licence))))
            .into(),
            permission_sets: [(text("0PS5f0000000forec1"), text("Forecast"))].into(),
            licences: BTreeMap::new(),
            elsewhere: BTreeSet::new(),
            shows_types: true,
            takes_types: true,
            filters_entitlements: true,
            keeps_external_id: true,
            taken_status: 409,
            keeps_profile: false,
            users: BTreeMap::new(),
            next: 1,
            refusals: Vec::new(),
            created: 0,
            resets: Vec::new(),
        }
    }
}

/// A refusal: status and words, the vendor's code in front.
type Refused = (u16, String);

impl SalesforceScim {
    /// Everybody, as a reader sees them.
    pub fn users(&self) -> Vec<Value> {
        self.users.values().map(|user| self.shown(user)).collect()
    }

    /// The user with this user name.
    pub fn user(&self, name: &str) -> Option<Value> {
        let user = self
            .users
            .values()
            .find(|user| user["userName"] == name.to_lowercase())?;
        Some(self.shown(user))
    }

    /// Adds a user as an administrator would; returns its id. Panics if the org's own rules refuse it.
    pub fn seed(&mut self, body: &Value) -> String {
        let user = match self.create(body) {
            Ok(user) => user,
            Err((_, words)) => panic!("{words}"),
        };
        self.created -= 1;
        user["id"].as_str().unwrap_or_default().to_owned()
    }

    /// Gives a user permission sets, as an administrator would.
    pub fn grant(&mut self, name: &str, permission_set: &str) {
        let user = self.users.values_mut().find(|user| user["userName"] == name);
        if let Some(Value::Array(held)) = user.and_then(|user| user.get_mut("entitlements")) {
            held.push(json!({"value": permission_set}));
        }
    }

    fn shown(&self, user: &Map<String, Value>) -> Value {
        let mut user = user.clone();
        if let Some(Value::Array(held)) = user.get_mut("entitlements") {
            for element in held {
                let id = element["value"].as_str().unwrap_or_default().to_owned();
                let (kind, name) = match self.profiles.get(&id) {
                    Some((name, _)) => ("Profile", name),
                    None => ("PermissionSet", &self.permission_sets[&id]),
                };
                *element = json!({"value": id, "display": name});
                if self.shows_types {
                    element["type"] = json!(kind);
                }
            }
        }
        Value::Object(user)
    }

    fn error(&mut self, (status, detail): Refused) -> VendorAnswer {
        self.refusals.push(detail.clone());
        let schemas = ["urn:ietf:params:scim:api:messages:2.0:Error"];
        VendorAnswer::json(
            status,
            &json!({"schemas": schemas, "detail": detail, "status": status.to_string()}),
        )
    }

    fn answer(&mut self, request: &VendorRequest) -> Result<VendorAnswer, Refused> {
        if let Some(id) = request
            .path
            .strip_prefix(PASSWORDS)
            .and_then(|rest| rest.strip_suffix("/password"))
        {
            return self.reset(&request.method, id);
        }
        let path = request.path.strip_prefix(BASE).unwrap_or_default();
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let json = || serde_json::from_str::<Value>(&request.body).map_err(|_| (400, "INVALID_JSON".to_owned()));
        match (request.method.as_str(), parts.as_slice()) {
            ("GET", ["ServiceProviderConfigs"]) => Ok(VendorAnswer::json(200, &discovery())),
            ("GET", ["Entitlements"]) => self.entitlements(&request.query),
            ("GET", ["Users"]) => self.list(&request.query),
            ("POST", ["Users"]) => {
                let user = self.create(&json()?)?;
                Ok(VendorAnswer::json(201, &self.shown(&user)))
            }
            ("GET", ["Users", id]) => {
                let user = self.users.get(*id).ok_or((404, "NOT_FOUND: no such user".to_owned()))?;
                Ok(VendorAnswer::json(200, &self.shown(user)))
            }
            ("PATCH", ["Users", id]) => {
                let user = self.patch(id, &json()?)?;
                Ok(VendorAnswer::json(200, &self.shown(&user)))
            }
            ("DELETE", ["Users", id]) => {
                let user = self
                    .users
                    .get_mut(*id)
                    .ok_or((404, "NOT_FOUND: no such user".to_owned()))?;
                user.insert("active".to_owned(), json!(false));
                Ok(VendorAnswer {
                    body: String::new(),
                    ..VendorAnswer::json(204, &Value::Null)
                })
            }
            _ => Err((404, "NOT_FOUND: The requested resource does not exist".to_owned())),
        }
    }

    /// The password resource of the org's REST API: DELETE resets it, and shows the new one to the caller.
    fn reset(&mut self, method: &str, id: &str) -> Result<VendorAnswer, Refused> {
        let user = self.users.get(id).ok_or((404, "NOT_FOUND: no such user".to_owned()))?;
        match method {
            "DELETE" if user["active"] == false => {
                Err((400, "INACTIVE_OWNER_OR_USER: the user is inactive".to_owned()))
            }
            "DELETE" => {
                self.resets.push(id.to_owned());
                Ok(VendorAnswer::json(200, &json!({"NewPassword": "myNewPassword1234"})))
            }
            _ => Err((405, "METHOD_NOT_ALLOWED".to_owned())),
        }
    }

    fn entitlements(&self, query: &str) -> Result<VendorAnswer, Refused> {
        let profiles = self.profiles.iter().map(|(id, (name, _))| (id, name, "Profile"));
        let sets = self
            .permission_sets
            .iter()
            .map(|(id, name)| (id, name, "PermissionSet"));
        let filter = filter_of(query)?;
        if filter.is_some() && !self.filters_entitlements {
            return Err((400, "INVALID_FILTER: not filterable".to_owned()));
        }
        let all = profiles.chain(sets).filter(|(id, name, _)| match &filter {
            None => true,
            Some((attribute, value)) if attribute == "id" => id == &value,
            Some((attribute, value)) => attribute == "displayName" && name.eq_ignore_ascii_case(value),
        });
        let entry = |(id, name, kind): (&String, &String, &str)| {
            let mut entry = json!({"id": id, "displayName": name});
            if self.shows_types {
                entry["type"] = json!(kind);
            }
            entry
        };
        // Unfiltered it stops at 200, and says nothing about it.
        let entries: Vec<Value> = all.map(entry).take(200).collect();
        Ok(VendorAnswer::json(200, &listed(entries.len(), &entries)))
    }

    fn list(&self, query: &str) -> Result<VendorAnswer, Refused> {
        let filter = filter_of(query)?;
        let found = self.users.values().filter(|user| match &filter {
            None => true,
            Some((attribute, value)) => user
                .get(attribute.as_str())
                .and_then(Value::as_str)
                .is_some_and(|held| held.eq_ignore_ascii_case(value)),
        });
        let all: Vec<Value> = found.map(|user| self.shown(user)).collect();
        let number = |name: &str, default: usize| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            let found = pairs
                .filter(|(key, _)| *key == name)
                .find_map(|(_, value)| value.parse().ok());
            found.unwrap_or(default)
        };
        let (start, count) = (number("startIndex", 1).max(1), number("count", 200).min(200));
        let page: Vec<Value> = all.iter().skip(start - 1).take(count).cloned().collect();
        Ok(VendorAnswer::json(200, &listed(all.len(), &page)))
    }

    fn create(&mut self, given: &Value) -> Result<Map<String, Value>, Refused> {
        let mut user = Map::new();
        self.apply(&mut user, given)?;
        let missing = |what: &str| {
            (
                400,
                format!("REQUIRED_FIELD_MISSING: Required fields are missing: [{what}]"),
            )
        };
        if user.get("userName").is_none() {
            return Err(missing("Username"));
        }
        if user.get("name").and_then(|name| name["familyName"].as_str()).is_none() {
            return Err(missing("LastName"));
        }
        let email = user.get("emails").and_then(|emails| emails[0]["value"].as_str());
        if email.is_none() {
            return Err(missing("Email"));
        }
        self.check_profile(&user)?;
        self.check_name(&user, None)?;
        user.entry("active").or_insert(json!(true));
        if user["active"] == true {
            self.take_licence(&user)?;
        }
        user.entry("locale").or_insert(json!("en_US"));
        user.entry("timezone").or_insert(json!("America/Los_Angeles"));
        user.insert("userType".to_owned(), json!("Standard"));
        let id = format!("0055f00000{:05}AAA", self.next);
        self.next += 1;
        self.created += 1;
        user.insert("id".to_owned(), json!(id));
        user.insert("meta".to_owned(), json!({"resourceType": "User"}));
        self.users.insert(id, user.clone());
        Ok(user)
    }

    fn patch(&mut self, id: &str, body: &Value) -> Result<Map<String, Value>, Refused> {
        let before = self
            .users
            .get(id)
            .cloned()
            .ok_or((404, "NOT_FOUND: no such user".to_owned()))?;
        let mut user = before.clone();
        let operations = body["Operations"].as_array().cloned().unwrap_or_default();
        if operations.is_empty() {
            return Err((400, "INVALID_INPUT: no Operations".to_owned()));
        }
        for operation in operations {
            match (operation["op"].as_str(), operation["path"].as_str()) {
                (Some("replace"), None) => self.apply(&mut user, &operation["value"])?,
                (Some("remove"), Some(path)) => remove(&mut user, path),
                // Only the path-less form is documented.
                _ => return Err((400, "INVALID_INPUT: this operation is not supported".to_owned())),
            }
        }
        self.check_profile(&user)?;
        self.check_name(&user, Some(id))?;
        if user["active"] == true && before["active"] == false {
            self.take_licence(&user)?;
        }
        if self.keeps_profile {
            user.insert("entitlements".to_owned(), before["entitlements"].clone());
        }
        self.users.insert(id.to_owned(), user.clone());
        Ok(user)
    }

    fn apply(&self, user: &mut Map<String, Value>, given: &Value) -> Result<(), Refused> {
        let given = given.as_object().ok_or((400, "INVALID_INPUT: no object".to_owned()))?;
        for (key, value) in given {
            match key.as_str() {
                "schemas" => {}
                "externalId" if !self.keeps_external_id => {}
                "userName" => {
                    let name = value.as_str().unwrap_or_default().to_lowercase();
                    let shaped = name.split_once('@').is_some_and(|(_, domain)| domain.contains('.'));
                    if !shaped {
                        return Err((
                            400,
                            "INVALID_EMAIL_ADDRESS: Username: must be in the form of an email address".to_owned(),
                        ));
                    }
                    user.insert(key.clone(), json!(name));
                }
                "entitlements" => {
                    let mut held = Vec::new();
                    for element in value.as_array().into_iter().flatten() {
                        if element.get("type").is_some() && !self.takes_types {
                            return Err((400, "INVALID_INPUT: entitlements.type cannot be written".to_owned()));
                        }
                        let id = element["value"].as_str().unwrap_or_default();
                        if !self.profiles.contains_key(id) && !self.permission_sets.contains_key(id) {
                            return Err((400, "INVALID_CROSS_REFERENCE_KEY: no such entitlement".to_owned()));
                        }
                        held.push(json!({"value": id}));
                    }
                    user.insert(key.clone(), Value::Array(held));
                }
                "name" | ENTERPRISE => {
                    let held = user.entry(key.clone()).or_insert_with(|| json!({}));
                    if let (Some(held), Some(value)) = (held.as_object_mut(), value.as_object()) {
                        held.extend(value.clone());
                    }
                }
                _ => {
                    user.insert(key.clone(), value.clone());
                }
            }
        }
        Ok(())
    }

    /// Exactly one profile, permission sets as one likes.
    fn check_profile(&self, user: &Map<String, Value>) -> Result<(), Refused> {
        let held = user.get("entitlements").and_then(Value::as_array).into_iter().flatten();
        let profiles = held.filter(|element| {
            let id = element["value"].as_str().unwrap_or_default();
            self.profiles.contains_key(id)
        });
        match profiles.count() {
            1 => Ok(()),
            number => Err((
                400,
                format!("INVALID_INPUT: exactly one Profile is needed, not {number}"),
            )),
        }
    }

    fn check_name(&self, user: &Map<String, Value>, own: Option<&str>) -> Result<(), Refused> {
        let name = user["userName"].as_str().unwrap_or_default();
        let here = self
            .users
            .iter()
            .any(|(id, other)| Some(id.as_str()) != own && other["userName"] == name);
        if here || self.elsewhere.contains(name) {
            let words =
                "DUPLICATE_USERNAME: Duplicate Username. The username already exists in this or another organization";
            return Err((self.taken_status, words.to_owned()));
        }
        Ok(())
    }

    fn take_licence(&mut self, user: &Map<String, Value>) -> Result<(), Refused> {
        let held = user["entitlements"].as_array().into_iter().flatten();
        let licence = held
            .filter_map(|element| self.profiles.get(element["value"].as_str()?))
            .map(|(_, licence)| licence.clone())
            .next()
            .unwrap_or_default();
        match self.licences.get_mut(&licence) {
            Some(0) => Err((400, "LICENSE_LIMIT_EXCEEDED: License Limit Exceeded".to_owned())),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Vendor for SalesforceScim {
    fn is_write(_path: &str) -> bool {
        true
    }

    fn handle(&mut self, request: &VendorRequest) -> VendorAnswer {
        let token = request
            .header("authorization")
            .strip_prefix("Bearer ")
            .unwrap_or_default();
        if !(self.accepts)(token) {
            let error = json!([{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]);
            return VendorAnswer::json(401, &error);
        }
        match self.answer(request) {
            Ok(answer) => answer,
            Err(refused) => self.error(refused),
        }
    }
}

fn discovery() -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "patch": {"supported": true}, "bulk": {"supported": false}, "sort": {"supported": false},
        "filter": {"supported": true, "maxResults": 200}, "etag": {"supported": false},
        "changePassword": {"supported": true},
    })
}

fn listed(total: usize, page: &[Value]) -> Value {
    json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"], "totalResults": total,
        "startIndex": 1, "itemsPerPage": page.len(), "Resources": page})
}

/// `attribute eq "value"` and nothing else.
fn filter_of(query: &str) -> Result<Option<(String, String)>, Refused> {
    let given = query.split('&').find_map(|pair| pair.strip_prefix("filter="));
    let Some(filter) = given.map(decoded) else {
        return Ok(None);
    };
    let refused = || (400, "INVALID_FILTER: this filter is not supported".to_owned());
    let (attribute, value) = filter.split_once(" eq ").ok_or_else(refused)?;
    let value: String = serde_json::from_str(value).map_err(|_| refused())?;
    if !["userName", "externalId", "id", "displayName"].contains(&attribute) {
        return Err(refused());
    }
    Ok(Some((attribute.to_owned(), value)))
}

/// Takes an attribute out: `title`, `name.givenName`, `urn:...:User:department`, `phoneNumbers`.
fn remove(user: &mut Map<String, Value>, path: &str) {
    if let Some(inner) = path.strip_prefix(ENTERPRISE).and_then(|rest| rest.strip_prefix(':')) {
        let extension = user.get_mut(ENTERPRISE).and_then(Value::as_object_mut);
        if let Some(extension) = extension {
            extension.remove(inner.split('.').next().unwrap_or(inner));
        }
        return;
    }
    match path.split_once('.') {
        Some((outer, inner)) => {
            if let Some(outer) = user.get_mut(outer).and_then(Value::as_object_mut) {
                outer.remove(inner);
            }
        }
        None => {
            user.remove(path);
        }
    }
}
