//! miniOrange: JSON by POST, a hash over key and time, and outcomes in the body, spelt in any case. Its messages name the user.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha512};

use super::{Vendor, VendorAnswer, VendorRequest};

/// What the vendor leaves open, and how the test wants it.
#[derive(Clone, Debug)]
pub struct MiniOrange {
    pub customer_key: String,
    pub api_key: String,
    /// How far the clocks may be apart, in milliseconds.
    pub skew_ms: i64,
    /// How statuses are spelt.
    pub lower_case: bool,
    /// The HTTP status of logical errors.
    pub error_status: u16,
    /// The call that undoes `disable`; `update` takes `enabled` then.
    pub enable_method: &'static str,
    /// The call that has miniOrange send its own activation or password-reset mail.
    pub invite_method: &'static str,
    /// Whom such a mail was sent to.
    pub invited: Vec<String>,
    /// User names of other customers.
    pub others: BTreeSet<String>,
    /// User names whose look-up is answered by a status that the vendor has not published.
    pub odd: BTreeSet<String>,
    users: BTreeMap<String, Map<String, Value>>,
    /// How often each user name was created.
    pub created: BTreeMap<String, usize>,
}

impl Default for MiniOrange {
    fn default() -> MiniOrange {
        MiniOrange {
            customer_key: "173025".to_owned(),
            api_key: "orange-api-key".to_owned(),
            skew_ms: 60_000,
            lower_case: false,
            error_status: 200,
            enable_method: "update",
            invite_method: "resetpassword",
            invited: Vec::new(),
            others: BTreeSet::new(),
            odd: BTreeSet::new(),
            users: BTreeMap::new(),
            created: BTreeMap::new(),
        }
    }
}

impl MiniOrange {
    /// What is held under a user name.
    pub fn user(&self, username: &str) -> Option<Value> {
        self.users.get(&username.to_lowercase()).cloned().map(Value::Object)
    }

    /// Adds a user as an administrator would.
    pub fn seed(&mut self, username: &str) {
        let user = json!({"username": username, "enabled": true});
        let user = user.as_object().cloned().unwrap_or_default();
        self.users.insert(username.to_lowercase(), user);
    }

    /// Changes what is held under a user name, as an administrator would.
    pub fn edit(&mut self, username: &str, name: &str, value: Value) {
        self.users
            .entry(username.to_lowercase())
            .or_default()
            .insert(name.to_owned(), value);
    }

    /// The user has followed the link of the mail.
    pub fn activate(&mut self, username: &str) {
        let user = self.users.entry(username.to_lowercase()).or_default();
        user.insert("activationStatus".to_owned(), json!("Active"));
    }

    pub fn user_count(&self) -> usize {
        self.users.len()
    }

    fn status(&self, status: u16, word: &str, message: &str, more: Option<&Map<String, Value>>) -> VendorAnswer {
        let word = if self.lower_case {
            word.to_lowercase()
        } else {
            word.to_owned()
        };
        let mut body = json!({"status": word, "message": message});
        for (name, value) in more.into_iter().flatten().filter(|(name, _)| *name != "enabled") {
            body[name] = value.clone();
        }
        VendorAnswer::json(status, &body)
    }

    fn error(&self, message: &str) -> VendorAnswer {
        self.status(self.error_status, "ERROR", message, None)
    }
}

impl Vendor for MiniOrange {
    fn is_write(path: &str) -> bool {
        !path.ends_with("/get") && !path.ends_with("/search")
    }

    fn is_refusal(answer: &VendorAnswer) -> bool {
        let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let status = body["status"].as_str().unwrap_or_default().to_uppercase();
        answer.status >= 400 || !["SUCCESS", "USER_FOUND", "USER_NOT_FOUND"].contains(&status.as_str())
    }

    fn handle(&mut self, request: &VendorRequest) -> VendorAnswer {
        let stamp = request.header("timestamp");
        // An integer and nothing else: no exponent, no decimals, no sign.
        let Some(time) = Some(stamp)
            .filter(|stamp| !stamp.is_empty() && stamp.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|stamp| stamp.parse::<i64>().ok())
        else {
            return self.error("the timestamp is not valid");
        };
        let hash = Sha512::digest(format!("{}{stamp}{}", self.customer_key, self.api_key));
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        if request.header("customer-key") != self.customer_key || request.header("authorization") != hash {
            return self.error("the authorization is not valid");
        }
        if (request.now_ms - time).abs() > self.skew_ms {
            return self.error("the timestamp is too far from ours");
        }
        let json_type = request.header("content-type").starts_with("application/json");
        let Some(Value::Object(body)) = serde_json::from_str(&request.body).ok().filter(|_| json_type) else {
            return self.error("the body is no JSON");
        };
        let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        if request.method != "POST" || text("customerKey") != self.customer_key {
            return self.error("the customerKey in the body is not valid");
        }
        let key = text("username").to_lowercase();
        let call = request.path.rsplit('/').next().unwrap_or_default();
        let known = [
            "create",
            "update",
            "get",
            "search",
            "delete",
            "disable",
            self.enable_method,
            self.invite_method,
        ];
        if !known.contains(&call) {
            return VendorAnswer::json(404, &json!({"error": "not found"}));
        }
        match (call, self.users.contains_key(&key)) {
            ("search" | "get", _) if self.odd.contains(&key) => self.status(200, "USER_SUSPENDED", "", None),
            (_, false) if self.others.contains(&key) => {
                self.status(200, "USER_FOUND_UNDER_DIFFERENT_CUSTOMER", "taken elsewhere", None)
            }
            ("search", true) => self.status(200, "USER_FOUND", "", None),
            ("search", false) => self.status(200, "USER_NOT_FOUND", "", None),
            ("create", true) => self.error(&format!("a user with the name {key} exists already")),
            ("create", false) => {
                if ["username", "email", "firstName", "lastName"]
                    .iter()
                    .any(|name| text(name).is_empty())
                {
                    return self.error(&format!("a required attribute of {key} is missing"));
                }
                self.seed(&text("username"));
                *self.created.entry(key.clone()).or_default() += 1;
                merge(self.users.entry(key.clone()).or_default(), &body);
                self.status(200, "SUCCESS", &format!("{key} was created"), None)
            }
            (_, false) => self.error(&format!("the user {key} was not found")),
            ("get", true) => self.status(200, "SUCCESS", "", self.users.get(&key)),
            ("delete", true) => {
                self.users.remove(&key);
                self.status(200, "SUCCESS", "deleted", None)
            }
            (call, true) => {
                let user = self.users.entry(key.clone()).or_default();
                if call == self.invite_method {
                    user.insert("activationStatus".to_owned(), json!("INVITED"));
                    self.invited.push(key);
                    return self.status(200, "SUCCESS", "sent", None);
                }
                if call == "disable" {
                    user.insert("enabled".to_owned(), json!(false));
                } else if call == self.enable_method && (call != "update" || body.contains_key("enabled")) {
                    user.insert("enabled".to_owned(), json!(true));
                }
                merge(user, &body);
                self.status(200, "SUCCESS", &format!("{key} was changed"), None)
            }
        }
    }
}

fn merge(user: &mut Map<String, Value>, body: &Map<String, Value>) {
    for (name, value) in body {
        if ["email", "firstName", "lastName", "phone", "company", "alternateEmail"].contains(&name.as_str()) {
            user.insert(name.clone(), value.clone());
        }
    }
}
