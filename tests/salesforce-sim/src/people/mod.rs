//! Fills an org with realistic people, deterministic from the seed: the same seed gives the same records.
//!
//! Mostly active standard users; some inactive; a few portal, guest, automated and integration users, and one address that
//! ends in `.invalid`. Leaves out events: these records were there before anybody listened.

mod names;
mod person;

use std::sync::Arc;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Map, Value, json};

use crate::{
    clock::{self, DAY_MS},
    config::SimConfig,
    org::{
        index,
        state::{Row, State},
        write,
    },
    value::FieldValue,
};

const PROFILES: [(&str, &str); 7] = [
    ("System Administrator", "Standard"),
    ("Sales User", "Standard"),
    ("Service User", "Standard"),
    ("Read Only", "Standard"),
    ("Customer Community User", "CspLitePortal"),
    ("Guest Site Profile", "Guest"),
    ("Salesforce API Only System Integrations", "CloudIntegrationUser"),
];
const AUTOMATED_PROFILE: (&str, &str) = ("Automated Process", "AutomatedProcess");
const ROLES: [&str; 6] = [
    "CEO",
    "VP Sales",
    "AE EMEA",
    "AE AMER",
    "Support Lead",
    "Señor Développeur",
];
const GROUPS: [&str; 4] = ["All Sales", "EMEA", "Gong Users", "Spinify Users"];
const PERMISSION_SETS: [&str; 3] = ["Forecast", "Gong Access", "Call Recording"];

/// Domain of the invented company.
const DOMAIN: &str = "acme-corp.example.com";

struct Builder<'a> {
    state: &'a mut State,
    rng: StdRng,
    now_ms: i64,
    profiles: Vec<Arc<str>>,
    roles: Vec<Arc<str>>,
}

/// Puts organization, profiles, roles, groups, permission sets and people into the tables.
pub(crate) fn populate(state: &mut State, config: &SimConfig, now_ms: i64) {
    let mut builder = Builder {
        state,
        rng: StdRng::seed_from_u64(config.seed),
        now_ms,
        profiles: Vec::new(),
        roles: Vec::new(),
    };
    builder.frame();
    builder.people(config.users);
    builder.role_groups();
}

impl Builder<'_> {
    fn put(&mut self, object: &'static str, fields: &[(&str, FieldValue)]) -> Arc<str> {
        let prefix = self.state.table(object).def.prefix;
        let id = if object == "Organization" {
            Arc::clone(&self.state.org_id)
        } else {
            self.state.ids.next(prefix)
        };
        let created = clock::whole_seconds(self.now_ms - self.rng.random_range(30..2000) * DAY_MS - 1000);
        let modified = created + self.rng.random_range(0..20) * DAY_MS;
        let table = self.state.table(object);
        let mut row = table.blank(Arc::clone(&id));
        let author = FieldValue::Text(Arc::clone(&self.state.admin_id));
        for (name, value) in [
            ("CreatedDate", FieldValue::DateTime(created)),
            ("LastModifiedDate", FieldValue::DateTime(modified)),
            ("SystemModstamp", FieldValue::DateTime(modified)),
            ("CreatedById", author.clone()),
            ("LastModifiedById", author),
        ] {
            if let Some(position) = table.def.position(name) {
                row.set(position, value);
            }
        }
        for (name, value) in fields {
            if let Some(position) = table.def.position(name) {
                row.set(position, value.clone());
            }
        }
        if object == "User" {
            write::derive(&self.state.users().def, &mut row);
        }
        index::insert(self.state, object, row);
        id
    }

    fn named(&mut self, object: &'static str, name: &str, more: &[(&str, FieldValue)]) -> Arc<str> {
        let developer_name: String = name
            .chars()
            .map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' })
            .collect();
        let mut fields = vec![
            ("Name", FieldValue::text(name)),
            ("DeveloperName", FieldValue::text(&developer_name)),
            ("Label", FieldValue::text(name)),
        ];
        fields.extend_from_slice(more);
        self.put(object, &fields)
    }

    /// Everything but people.
    fn frame(&mut self) {
        let text = FieldValue::text;
        for (name, user_type) in PROFILES.iter().chain([&AUTOMATED_PROFILE]) {
            let profile = self.named("Profile", name, &[("UserType", text(user_type))]);
            // Every profile has a hidden permission set.
            self.named(
                "PermissionSet",
                &format!("X{}", name.replace(' ', "_")),
                &[
                    ("IsOwnedByProfile", FieldValue::Bool(true)),
                    ("ProfileId", FieldValue::Text(Arc::clone(&profile))),
                ],
            );
            self.profiles.push(profile);
        }
        let mut parent = FieldValue::Null;
        for name in ROLES {
            let role = self.named("UserRole", name, &[("ParentRoleId", parent.clone())]);
            if self.roles.is_empty() {
                parent = FieldValue::Text(Arc::clone(&role));
            }
            self.roles.push(role);
        }
        let admin = self.put("User", &self.setup_user("admin", "System Administrator", 0));
        self.state.admin_id = admin;
        let integration = self.put("User", &self.setup_user("usher.integration", "Usher Integration", 6));
        self.state.integration_id = integration;
        self.put("User", &self.setup_user("autoproc", "Automated Process", 7));
        self.put(
            "Organization",
            &[
                ("Name", text("Acme")),
                ("OrganizationType", text("Enterprise Edition")),
                ("InstanceName", text("EU99")),
                ("TimeZoneSidKey", text("GMT")),
                ("LanguageLocaleKey", text("en_US")),
            ],
        );
        self.named(
            "Folder",
            "Spinify Reports",
            &[("Type", text("Report")), ("AccessType", text("Public"))],
        );
        self.named(
            "Folder",
            "Other Reports",
            &[("Type", text("Report")), ("AccessType", text("Public"))],
        );
    }

    fn setup_user(&self, local: &str, last_name: &str, profile: usize) -> Vec<(&'static str, FieldValue)> {
        let text = FieldValue::text;
        let user_type = PROFILES.get(profile).unwrap_or(&AUTOMATED_PROFILE).1;
        vec![
            ("Username", text(&format!("{local}@{DOMAIN}"))),
            ("LastName", text(last_name)),
            ("Email", text(&format!("{local}@{DOMAIN}"))),
            ("Alias", text(local.get(..8).unwrap_or(local))),
            ("CommunityNickname", text(local)),
            ("IsActive", FieldValue::Bool(true)),
            ("ProfileId", FieldValue::Text(Arc::clone(&self.profiles[profile]))),
            ("UserType", text(user_type)),
            ("TimeZoneSidKey", text("GMT")),
            ("LocaleSidKey", text("en_US")),
            ("LanguageLocaleKey", text("en_US")),
            ("EmailEncodingKey", text("UTF-8")),
        ]
    }

    fn people(&mut self, count: usize) {
        let mut groups = Vec::new();
        for name in GROUPS {
            groups.push(self.named("Group", name, &[("Type", FieldValue::text("Regular"))]));
        }
        let mut permission_sets = Vec::new();
        for name in PERMISSION_SETS {
            permission_sets.push(self.named("PermissionSet", name, &[]));
        }
        // EMEA sits inside All Sales: membership can be indirect.
        self.link("GroupMember", [("GroupId", &groups[0]), ("UserOrGroupId", &groups[1])]);
        let mut managers: Vec<Arc<str>> = vec![Arc::clone(&self.state.admin_id)];
        for number in self.state.users().rows.len()..count {
            let fields = self.person(number, &managers);
            let person = self.put("User", &fields);
            if self.rng.random_ratio(1, 8) && managers.len() < 2000 {
                managers.push(Arc::clone(&person));
            }
            if self.rng.random_ratio(1, 4) {
                let group = Arc::clone(&groups[self.rng.random_range(1..groups.len())]);
                self.link("GroupMember", [("GroupId", &group), ("UserOrGroupId", &person)]);
            }
            if self.rng.random_ratio(1, 5) {
                let set = Arc::clone(&permission_sets[self.rng.random_range(0..permission_sets.len())]);
                self.link(
                    "PermissionSetAssignment",
                    [("PermissionSetId", &set), ("AssigneeId", &person)],
                );
            }
        }
    }

    /// Every role has groups of its own: sharing rules and public groups name these, not the role.
    fn role_groups(&mut self) {
        for role in self.roles.clone() {
            for kind in ["Role", "RoleAndSubordinates"] {
                let related = FieldValue::Text(Arc::clone(&role));
                self.put("Group", &[("Type", FieldValue::text(kind)), ("RelatedId", related)]);
            }
        }
    }

    fn link(&mut self, object: &'static str, ends: [(&str, &Arc<str>); 2]) {
        let fields = ends.map(|(name, id)| (name, FieldValue::Text(Arc::clone(id))));
        let mut fields = fields.to_vec();
        fields.push(("IsActive", FieldValue::Bool(true)));
        self.put(object, &fields);
    }
}

/// What Setup fills in by itself when an administrator creates a user.
pub(crate) fn with_defaults(state: &State, mut body: Map<String, Value>) -> Map<String, Value> {
    let username = body
        .get("Username")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let local = username.split('@').next().unwrap_or_default();
    let sales = state
        .table("Profile")
        .rows
        .values()
        .find(|row: &&Row| row.get(state.table("Profile").def.at("Name")).as_text() == Some("Sales User"));
    let defaults = [
        ("Email", json!(username)),
        ("Alias", json!(local.chars().take(8).collect::<String>())),
        ("CommunityNickname", json!(local.chars().take(40).collect::<String>())),
        ("TimeZoneSidKey", json!("GMT")),
        ("LocaleSidKey", json!("en_US")),
        ("LanguageLocaleKey", json!("en_US")),
        ("EmailEncodingKey", json!("UTF-8")),
        ("ProfileId", json!(sales.map(|row| row.id.to_string()))),
    ];
    for (name, value) in defaults {
        body.entry(name).or_insert(value);
    }
    body
}
