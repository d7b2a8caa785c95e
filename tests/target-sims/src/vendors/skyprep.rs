//! SkyPrep: calls by POST with a form, a key in the body or in headers, and a web site for whoever has the wrong one.

use std::collections::VecDeque;

use serde_json::{Map, Value, json};

use super::{Vendor, VendorAnswer, VendorRequest};

/// What the vendor leaves open, and how the test wants it.
#[derive(Clone, Debug)]
pub struct SkyPrep {
    pub api_key: String,
    pub acct_key: String,
    /// Whether the key may stand in the body, or has to stand in headers.
    pub keys_in_body: bool,
    /// `user_email` or `email`.
    pub email_field: &'static str,
    pub deactivate_method: &'static str,
    pub reactivate_method: &'static str,
    /// The call that has SkyPrep send its own log-in mail.
    pub invite_method: &'static str,
    /// Calls per minute and address.
    pub per_minute: usize,
    /// How long a minute is, in milliseconds: a test that has no time makes it shorter and keeps the rule.
    pub minute_ms: i64,
    /// What successes hold beside their message, as `{"errors": []}`.
    pub beside_success: Value,
    /// Whether the list is the whole answer, or below `users`.
    pub list_in_object: bool,
    /// Whether `create_user` answers with the user, or with a message alone.
    pub create_shows_user: bool,
    /// The methods about groups: list, create, rename, members, add, remove.
    pub group_methods: [&'static str; 6],
    groups: Vec<SkyPrepGroup>,
    users: Vec<Map<String, Value>>,
    next_id: u64,
    calls: VecDeque<i64>,
    /// Users whom a mail was sent to.
    pub mails: Vec<String>,
    /// Requests that arrived while another one was being served.
    pub overlaps: usize,
}

impl Default for SkyPrep {
    fn default() -> SkyPrep {
        SkyPrep {
            api_key: "sky-api-key".to_owned(),
            acct_key: "acme.skyprepapp.example".to_owned(),
            keys_in_body: true,
            email_field: "user_email",
            deactivate_method: "deactivate_user",
            reactivate_method: "reactivate_user",
            invite_method: "send_login_info",
            per_minute: 100,
            minute_ms: 60_000,
            beside_success: json!({}),
            list_in_object: false,
            create_shows_user: true,
            group_methods: [
                "get_user_groups",
                "create_user_group",
                "update_user_group",
                "get_user_group_users",
                "add_user_to_group",
                "remove_user_from_group",
            ],
            groups: Vec::new(),
            users: Vec::new(),
            // Larger than what a double can hold: ids are text, whatever they look like.
            next_id: 9_007_199_254_740_993,
            calls: VecDeque::new(),
            mails: Vec::new(),
            overlaps: 0,
        }
    }
}

/// A group: id, name, the ids of its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkyPrepGroup {
    pub id: String,
    pub name: String,
    pub members: Vec<String>,
}

impl SkyPrep {
    /// All groups.
    pub fn groups(&self) -> &[SkyPrepGroup] {
        &self.groups
    }

    /// A call about groups; `None` when it is none.
    fn about_groups(&mut self, method: &str, value: &dyn Fn(&str) -> String) -> Option<VendorAnswer> {
        let [list, create, rename, members, add, remove] = self.group_methods;
        let show = |group: &SkyPrepGroup| json!({"id": group.id, "name": group.name});
        if method == list {
            return Some(VendorAnswer::json(
                200,
                &json!(self.groups.iter().map(show).collect::<Vec<_>>()),
            ));
        }
        if method == create {
            let name = value("name");
            if name.is_empty() || self.groups.iter().any(|group| group.name.eq_ignore_ascii_case(&name)) {
                return Some(error("the name has already been taken"));
            }
            let id = (self.groups.len() + 501).to_string();
            self.groups.push(SkyPrepGroup {
                id,
                name,
                members: Vec::new(),
            });
            return Some(VendorAnswer::json(200, &json!(self.groups.last().map(show))));
        }
        if ![rename, members, add, remove].contains(&method) {
            return None;
        }
        let user = value("user_id");
        let is_there = self.users.iter().any(|held| has_id(held, &user));
        let wanted = value("user_group_id");
        let Some(group) = self.groups.iter_mut().find(|group| group.id == wanted) else {
            return Some(error("user group not found"));
        };
        if method == rename {
            group.name = value("name");
        } else if method == members {
            let users = group.members.iter().map(|id| json!({ "id": id }));
            return Some(VendorAnswer::json(200, &json!(users.collect::<Vec<_>>())));
        } else if !is_there {
            return Some(error("user not found"));
        } else if method == add {
            if group.members.contains(&user) {
                return Some(error("user is already in the group"));
            }
            group.members.push(user);
        } else {
            group.members.retain(|member| *member != user);
        }
        Some(VendorAnswer::json(200, &json!({"message": "success"})))
    }

    /// All users, as `get_users` shows them.
    pub fn users(&self) -> Vec<Value> {
        self.users.iter().cloned().map(Value::Object).collect()
    }

    /// Adds a user as an administrator would; returns its id.
    pub fn seed(&mut self, email: &str, identifier: Option<&str>) -> String {
        let id = self.next_id;
        self.next_id += 1;
        let mut user = Map::new();
        user.insert("id".to_owned(), json!(id));
        user.insert("email".to_owned(), json!(email));
        user.insert("user_identifier".to_owned(), json!(identifier));
        user.insert("active".to_owned(), json!(true));
        user.insert("role".to_owned(), json!("learner"));
        self.users.push(user);
        id.to_string()
    }

    /// Changes a user as an administrator would.
    pub fn edit(&mut self, id: &str, change: impl FnOnce(&mut Value)) {
        if let Some(user) = self.find(id) {
            let mut edited = Value::Object(std::mem::take(user));
            change(&mut edited);
            *user = edited.as_object().cloned().unwrap_or_default();
        }
    }

    fn find(&mut self, id: &str) -> Option<&mut Map<String, Value>> {
        self.users.iter_mut().find(|user| has_id(user, id))
    }

    fn email_is_taken(&self, email: &str, besides: &str) -> bool {
        self.users.iter().any(|user| {
            !has_id(user, besides)
                && user["email"]
                    .as_str()
                    .is_some_and(|held| held.eq_ignore_ascii_case(email))
        })
    }

    fn write(&mut self, id: &str, entries: &[(String, String)]) {
        let email_field = self.email_field;
        let Some(user) = self.find(id) else { return };
        for (name, value) in entries {
            if name == email_field {
                user.insert("email".to_owned(), json!(value));
            } else if ["first_name", "last_name", "role", "user_identifier"].contains(&name.as_str()) {
                user.insert(name.clone(), json!(value));
            }
        }
    }

    fn create(&mut self, entries: &[(String, String)]) -> VendorAnswer {
        let value = |name: &str| {
            entries
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.as_str())
        };
        let Some(email) = value(self.email_field).filter(|email| email.contains('@')) else {
            return error("a valid e-mail is needed");
        };
        if value("first_name").is_none() || value("last_name").is_none() {
            return error("first and last name are needed");
        }
        if self.email_is_taken(email, "") {
            return error("the e-mail has already been taken");
        }
        let email = email.to_owned();
        let id = self.seed(&email, None);
        self.write(&id, entries);
        if value("email_notifications") == Some("Yes") {
            self.mails.push(email);
        }
        let user = self.find(&id).cloned().unwrap_or_default();
        if self.create_shows_user {
            VendorAnswer::json(200, &Value::Object(user))
        } else {
            VendorAnswer::json(200, &json!({"message": "success"}))
        }
    }
}

impl Vendor for SkyPrep {
    fn is_write(path: &str) -> bool {
        !path.contains("/get_") && !path.contains("/test_")
    }

    fn is_refusal(answer: &VendorAnswer) -> bool {
        answer.status >= 400 || answer.content_type != "application/json" || answer.body.starts_with("{\"error\"")
    }

    fn handle(&mut self, request: &VendorRequest) -> VendorAnswer {
        let mut answer = self.answer(request);
        let said: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        if said["message"] == "success"
            && let Some(more) = self.beside_success.as_object()
        {
            let mut said = said;
            for (name, value) in more {
                said[name] = value.clone();
            }
            answer.body = said.to_string();
        }
        answer
    }
}

impl SkyPrep {
    fn answer(&mut self, request: &VendorRequest) -> VendorAnswer {
        self.overlaps += usize::from(request.overlaps);
        self.calls.push_back(request.now_ms);
        while self
            .calls
            .front()
            .is_some_and(|call| request.now_ms - call >= self.minute_ms)
        {
            self.calls.pop_front();
        }
        // "Batches must not run concurrently": how one is refused is not said.
        if request.overlaps {
            return VendorAnswer::json(429, &json!({"error": "one call at a time"}));
        }
        if self.calls.len() > self.per_minute {
            let mut answer = VendorAnswer::json(429, &json!({"error": "rate limit exceeded"}));
            answer.headers.push(("retry-after", "2".to_owned()));
            return answer;
        }
        let entries = request.form();
        let value = |name: &str| {
            let found = entries.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| value.clone()).unwrap_or_default()
        };
        let (api_key, acct_key) = if self.keys_in_body {
            (value("api_key"), value("acct_key"))
        } else {
            (
                request.header("x-skyprep-api-key").to_owned(),
                request.header("x-skyprep-acct-key").to_owned(),
            )
        };
        let form = request
            .header("content-type")
            .starts_with("application/x-www-form-urlencoded");
        // Whatever is not a proper call ends up at the web site, with status 200.
        if request.method != "POST" || !form || api_key != self.api_key || acct_key != self.acct_key {
            return VendorAnswer::site();
        }
        let id = value("user_id");
        let method = request.path.rsplit('/').next().unwrap_or_default();
        if let Some(answer) = self.about_groups(method, &value) {
            return answer;
        }
        match method {
            "test_connection" => VendorAnswer::json(200, &json!({"message": "success"})),
            "get_users" if self.list_in_object => VendorAnswer::json(200, &json!({ "users": self.users() })),
            "get_users" => VendorAnswer::json(200, &json!(self.users())),
            "create_user" => self.create(&entries),
            _ if ![
                "get_user",
                "update_user",
                "destroy_user",
                self.deactivate_method,
                self.reactivate_method,
                self.invite_method,
            ]
            .contains(&method) =>
            {
                VendorAnswer::json(404, &json!({"error": "no such method"}))
            }
            _ if self.find(&id).is_none() => error("user not found"),
            "get_user" => VendorAnswer::json(200, &json!(self.find(&id).cloned())),
            "update_user" => {
                if self.email_is_taken(&value(self.email_field), &id) {
                    return error("the e-mail has already been taken");
                }
                self.write(&id, &entries);
                VendorAnswer::json(200, &json!({"message": "success"}))
            }
            "destroy_user" => {
                self.users.retain(|user| !has_id(user, &id));
                VendorAnswer::json(200, &json!({"message": "success"}))
            }
            method if method == self.invite_method => {
                let email = self
                    .find(&id)
                    .map(|user| user["email"].as_str().unwrap_or_default().to_owned());
                self.mails.extend(email);
                VendorAnswer::json(200, &json!({"message": "success"}))
            }
            method => {
                let active = method == self.reactivate_method;
                if let Some(user) = self.find(&id) {
                    user.insert("active".to_owned(), json!(active));
                }
                VendorAnswer::json(200, &json!({"message": "success"}))
            }
        }
    }
}

fn has_id(user: &Map<String, Value>, id: &str) -> bool {
    user["id"].as_u64().is_some_and(|held| held.to_string() == id)
}

fn error(words: &str) -> VendorAnswer {
    VendorAnswer::json(200, &json!({ "error": words }))
}
