//! Spinify's API, as far as it is documented: one list of everybody, behind the bare key in a header. No documented call writes a
//! user; a test can have the private ones that a customer is given by agreement.

use serde_json::{Value, json};

use super::{Vendor, VendorAnswer, VendorRequest};

/// Where the private calls are.
const PRIVATE: &str = "/v1/private/users";

/// One company.
#[derive(Clone, Debug)]
pub struct Spinify {
    pub api_key: String,
    /// Whether the calls below `/v1/private/users` are there.
    pub private: bool,
    users: Vec<Value>,
}

impl Default for Spinify {
    fn default() -> Spinify {
        Spinify {
            api_key: "spinify-api-key".to_owned(),
            private: false,
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

    /// The private calls: `POST /`, `PUT /{id}`, `POST /{id}/off` and `POST /{id}/on`.
    fn private(&mut self, request: &VendorRequest, below: &str) -> VendorAnswer {
        let refused = |why: &str| VendorAnswer::json(400, &json!({"message": why}));
        let fields: Value = serde_json::from_str(&request.body).unwrap_or_default();
        let Some(fields) = fields.as_object() else {
            return refused("Not an object");
        };
        const KNOWN: [&str; 5] = ["Email", "FirstName", "LastName", "Timezone", "License"];
        if fields.keys().any(|name| !KNOWN.contains(&name.as_str())) {
            return refused("Unknown field");
        }
        let email = fields.get("Email").and_then(Value::as_str).unwrap_or_default();
        let same = |user: &&Value| {
            user["Email"]
                .as_str()
                .is_some_and(|held| held.eq_ignore_ascii_case(email))
        };
        let (id, call) = below
            .trim_start_matches('/')
            .split_once('/')
            .unwrap_or((below.trim_start_matches('/'), ""));
        let taken = self.users.iter().find(same).is_some_and(|user| user["Id"] != id);
        if taken {
            return VendorAnswer::json(409, &json!({"message": "Email already exists"}));
        }
        if (request.method.as_str(), id) == ("POST", "") {
            if email.is_empty() {
                return refused("Email is required");
            }
            let id = self.seed(email, "", "");
            self.edit(&id, |user| {
                user["Active"] = json!(true);
                for (name, value) in fields {
                    user[name] = value.clone();
                }
            });
            return VendorAnswer::json(201, &json!({ "Id": id }));
        }
        let Some(user) = self.users.iter_mut().find(|user| user["Id"] == id) else {
            return VendorAnswer::json(404, &json!({"message": "No such user"}));
        };
        match (request.method.as_str(), call) {
            ("PUT", "") => {
                for (name, value) in fields {
                    user[name] = value.clone();
                }
            }
            ("POST", "off") => user["Active"] = json!(false),
            ("POST", "on") => user["Active"] = json!(true),
            _ => return VendorAnswer::json(405, &json!({"message": "Method Not Allowed"})),
        }
        VendorAnswer::json(200, &json!({"message": "OK"}))
    }

    /// Takes a user out, as support does it.
    pub fn remove(&mut self, id: &str) {
        self.users.retain(|user| user["Id"] != id);
    }
}

impl Vendor for Spinify {
    fn is_write(path: &str) -> bool {
        path.starts_with(PRIVATE)
    }

    fn handle(&mut self, request: &VendorRequest) -> VendorAnswer {
        // The bare key: a scheme in front of it is another key.
        if request.header("authorization") != self.api_key {
            return VendorAnswer::json(401, &json!({"message": "Unauthorized"}));
        }
        let json =
            request.header("content-type") == "application/json" && request.header("cache-control") == "no-cache";
        if !json {
            return VendorAnswer::json(400, &json!({"message": "Bad Request"}));
        }
        if let Some(below) = request.path.strip_prefix(PRIVATE).filter(|_| self.private) {
            return self.private(request, below);
        }
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/v1/users") => VendorAnswer::json(200, &Value::Array(self.users.clone())),
            _ => VendorAnswer::json(404, &json!({"message": "Not Found"})),
        }
    }
}
