//! Spinify's API, as far as it is documented: one list of everybody, behind the bare key in a header. No call writes a user.

use serde_json::{Value, json};

use super::{Vendor, VendorAnswer, VendorRequest};

/// One company.
#[derive(Clone, Debug)]
pub struct Spinify {
    pub api_key: String,
    users: Vec<Value>,
}

impl Default for Spinify {
    fn default() -> Spinify {
        Spinify {
            api_key: "spinify-api-key".to_owned(),
            users: Vec::new(),
        }
    }
}

impl Spinify {
    /// All users, as `GET /users` shows them.
    pub fn users(&self) -> &[Value] {
        &self.users
    }

    /// Adds a user as an administrator would, or the company's own report; returns its id.
    pub fn seed(&mut self, email: &str, first: &str, last: &str) -> String {
        let id = (self.users.len() + 70_001).to_string();
        self.users.push(
            json!({"Id": id, "FirstName": first, "LastName": last, "Email": email, "License": "Player",
            "Timezone": "Europe/London", "Birthday": null}),
        );
        id
    }

    /// Changes a user as an administrator would.
    pub fn edit(&mut self, id: &str, change: impl FnOnce(&mut Value)) {
        if let Some(user) = self.users.iter_mut().find(|user| user["Id"] == id) {
            change(user);
        }
    }

    /// Takes a user out, as support does it.
    pub fn remove(&mut self, id: &str) {
        self.users.retain(|user| user["Id"] != id);
    }
}

impl Vendor for Spinify {
    fn is_write(_path: &str) -> bool {
        false
    }

    fn handle(&mut self, request: &VendorRequest) -> VendorAnswer {
        // The bare key: a scheme in front of it is another key.
        if request.header("authorization") != self.api_key {
            return VendorAnswer::json(401, &json!({"message": "Unauthorized"}));
        }
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/v1/users") => VendorAnswer::json(200, &Value::Array(self.users.clone())),
            _ => VendorAnswer::json(404, &json!({"message": "Not Found"})),
        }
    }
}
