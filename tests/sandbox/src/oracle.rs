//! The oracle: what a target should hold, straight from the org's records.
//!
//! It shares no scope, map or plan code with the services: it reads the simulator's own fields and the target's own
//! resources, and knows the two mappings only as the code below.

use std::collections::HashMap;

use salesforce_sim::SimUser;
use serde_json::{Value, json};

const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// Which of the two mappings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mapping {
    /// The preset as it is.
    Helpdesk,
    /// Few attributes, with fall-backs and a gate.
    Academy,
}

impl Mapping {
    /// The same in the policy's language, for the service.
    pub(crate) fn policy(self) -> Value {
        match self {
            Self::Helpdesk => json!({}),
            Self::Academy => json!({
                "gate": { "require": ["givenName", "familyName", "email"] },
                "attributes": {
                    "title": { "from": ["title", "department"], "whenBlank": "clear" },
                    "nickName": { "from": ["custom.Badge__c", "employeeNumber"], "whenBlank": "clear" },
                    "userType": { "constant": "Learner" },
                    "locale": { "drop": true }, "preferredLanguage": { "drop": true }, "timezone": { "drop": true },
                    "phoneNumbers[type eq \"work\"].value": { "drop": true },
                    "phoneNumbers[type eq \"mobile\"].value": { "drop": true },
                    format!("{ENTERPRISE}:manager.value"): { "drop": true },
                    format!("{ENTERPRISE}:employeeNumber"): { "drop": true },
                    format!("{ENTERPRISE}:division"): { "drop": true },
                },
            }),
        }
    }

    /// Who gets an account at all.
    fn admits(self, person: &SimUser) -> bool {
        let has = |field: &str| person.text(field).is_some_and(|text| !text.trim().is_empty());
        self == Self::Helpdesk || (has("FirstName") && has("LastName") && has("Email"))
    }

    /// What an account holds, as (JSON pointer or the word for a list element, value).
    fn expected(self, person: &SimUser, ids: &HashMap<String, String>) -> Vec<(&'static str, Option<String>)> {
        let text = |field: &str| {
            person
                .text(field)
                .filter(|text| !text.trim().is_empty())
                .map(str::to_owned)
        };
        let name = [text("FirstName"), text("LastName")]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(" ");
        let mut all = vec![
            ("/userName", text("Username")),
            ("/name/familyName", text("LastName")),
            ("/displayName", Some(name)),
            ("email work", text("Email")),
            ("department", text("Department")),
        ];
        match self {
            Self::Helpdesk => all.extend([
                ("/name/givenName", text("FirstName")),
                ("/title", text("Title")),
                ("/timezone", text("TimeZoneSidKey")),
                ("phone work", text("Phone")),
                ("phone mobile", text("MobilePhone")),
                ("employeeNumber", text("EmployeeNumber")),
                ("division", text("Division")),
                (
                    "manager",
                    text("ManagerId").and_then(|manager| ids.get(&manager).cloned()),
                ),
            ]),
            Self::Academy => all.extend([
                ("/title", text("Title").or_else(|| text("Department"))),
                ("/nickName", text("Badge__c").or_else(|| text("EmployeeNumber"))),
                ("/userType", Some("Learner".to_owned())),
            ]),
        }
        all
    }
}

/// What the oracle says about one target.
#[derive(Debug, Clone)]
pub(crate) struct Comparison {
    pub(crate) target: &'static str,
    /// Accounts that are there.
    pub(crate) accounts: usize,
    /// Accounts that should be there.
    pub(crate) expected: usize,
    /// Each by the person's id, without personal values.
    pub(crate) differences: Vec<String>,
}

/// Compares a target with the org.
pub(crate) fn compare(target: &'static str, mapping: Mapping, people: &[SimUser], accounts: &[Value]) -> Comparison {
    let mut found: HashMap<&str, &Value> = HashMap::new();
    let (mut differences, mut expected) = (Vec::new(), 0);
    let mut ids = HashMap::new();
    for account in accounts {
        let Some(external) = account["externalId"].as_str() else {
            continue;
        };
        ids.insert(
            external.to_owned(),
            account["id"].as_str().unwrap_or_default().to_owned(),
        );
        if found.insert(external, account).is_some() {
            differences.push(format!("{external}: two accounts"));
        }
    }
    for person in people {
        let member = person.text("UserType") == Some("Standard")
            && !person
                .text("Email")
                .is_some_and(|email| email.to_lowercase().ends_with(".invalid"));
        let account = found.remove(person.id.as_str());
        // Somebody who left keeps the account, switched off; somebody who had left before never got one.
        expected += usize::from(member && (account.is_some() || person.is_active() && mapping.admits(person)));
        match (member, person.is_active(), account) {
            (true, true, Some(account)) => {
                if account["active"] != json!(true) {
                    differences.push(format!("{}: not active", person.id));
                }
                // Whom the gate would not let in today keeps the account as it is.
                if mapping.admits(person) {
                    compare_attributes(mapping, person, account, &ids, &mut differences);
                }
            }
            (true, true, None) if mapping.admits(person) => differences.push(format!("{}: no account", person.id)),
            (true, false, Some(account)) if account["active"] != json!(false) => {
                differences.push(format!("{}: leaver is active", person.id))
            }
            (true, false, Some(account)) => {
                let login = account["userName"].as_str();
                if login != person.text("Username") {
                    differences.push(format!("{}: old user name", person.id));
                }
            }
            (false, _, Some(_)) => differences.push(format!("{}: outsider has an account", person.id)),
            _ => {}
        }
    }
    differences.extend(found.keys().map(|external| format!("{external}: account of nobody")));
    Comparison {
        target,
        accounts: accounts.len(),
        expected,
        differences,
    }
}

fn compare_attributes(
    mapping: Mapping,
    person: &SimUser,
    account: &Value,
    ids: &HashMap<String, String>,
    differences: &mut Vec<String>,
) {
    let element = |list: &str, kind: &str| {
        let items = account[list].as_array();
        items
            .and_then(|items| items.iter().find(|item| item["type"] == json!(kind)))
            .and_then(|item| item["value"].as_str())
            .map(str::to_owned)
    };
    let extension = |name: &str| account[ENTERPRISE][name].as_str().map(str::to_owned);
    for (what, expected) in mapping.expected(person, ids) {
        // A manager without an account clears nothing: what the person had stays until there is one.
        if what == "manager" && expected.is_none() && person.text("ManagerId").is_some() {
            continue;
        }
        let found = match what {
            "email work" => element("emails", "work"),
            "phone work" => element("phoneNumbers", "work"),
            "phone mobile" => element("phoneNumbers", "mobile"),
            "department" | "employeeNumber" | "division" => extension(what),
            "manager" => account[ENTERPRISE]["manager"]["value"].as_str().map(str::to_owned),
            pointer => account.pointer(pointer).and_then(Value::as_str).map(str::to_owned),
        };
        let found = found.filter(|text| !text.is_empty());
        if found != expected {
            // An account's id is no personal value, and tells a late link from a wrong one.
            let ids = if what == "manager" {
                format!(" {found:?} instead of {expected:?}")
            } else {
                String::new()
            };
            differences.push(format!("{}: {what}{ids}", person.id));
        }
    }
}
