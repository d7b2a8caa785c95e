//! People who change all the time: edits, new names and addresses, leavers, returners, newcomers. Drawn from the seed.

use std::{sync::Arc, time::Instant};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use salesforce_sim::Org;
use serde_json::{Value, json};
use usher_runtime::clock;

/// Draws and makes changes.
pub(crate) struct People {
    org: Arc<Org>,
    random: StdRng,
    ids: Vec<String>,
    made: u64,
    refused: u64,
    recent: Vec<(String, Instant)>,
}

impl People {
    pub(crate) fn new(org: Arc<Org>, seed: u64) -> Self {
        let mut ids: Vec<String> = org
            .users()
            .into_iter()
            .filter(|user| {
                user.text("UserType") == Some("Standard")
                    && !user.text("Email").is_some_and(|email| email.ends_with(".invalid"))
            })
            .map(|user| user.id)
            .collect();
        ids.retain(|id| *id != org.integration_user_id() && *id != org.admin_id());
        Self {
            org,
            random: StdRng::seed_from_u64(seed ^ 0x5eed),
            ids,
            made: 0,
            refused: 0,
            recent: Vec::new(),
        }
    }

    /// How many changes were made.
    pub(crate) fn made(&self) -> u64 {
        self.made
    }

    /// Whom changes concerned since the last call, and when.
    pub(crate) fn drain(&mut self) -> Vec<(String, Instant)> {
        std::mem::take(&mut self.recent)
    }

    /// One change.
    pub(crate) fn change(&mut self) {
        if self.ids.is_empty() {
            self.made += 1;
            return;
        }
        let number = self.made;
        let id = self.ids[self.random.random_range(0..self.ids.len())].clone();
        let done = match self.random.random_range(0..100_u32) {
            0..4 => self.hire(number),
            4..12 => self
                .org
                .update_user(&id, json!({ "IsActive": false }))
                .map(|()| id)
                .ok(),
            12..22 => self.org.update_user(&id, json!({ "IsActive": true })).map(|()| id).ok(),
            _ => {
                let edit = self.edit(number);
                self.org.update_user(&id, edit).map(|()| id).ok()
            }
        };
        self.made += 1;
        match done {
            Some(id) => self.recent.push((id, clock::monotonic())),
            // The org's own rules (a user name that is taken) apply to the sandbox too.
            None => self.refused += 1,
        }
    }

    fn edit(&mut self, number: u64) -> Value {
        match self.random.random_range(0..8_u32) {
            0 => json!({ "Department": format!("Department {}", number % 17) }),
            1 => json!({ "Title": null }),
            2 => json!({ "Title": format!("Title {number}"), "Phone": format!("+44 20 7946 {:04}", number % 10_000) }),
            3 => json!({ "LastName": format!("O'Brien-{number}") }),
            4 => json!({ "Email": format!("person+{number}@acme.example") }),
            5 => json!({ "Username": format!("renamed.{number}@acme.example") }),
            6 => json!({ "Badge__c": format!("B-{number}"), "MobilePhone": null }),
            _ => {
                let manager = self.ids[self.random.random_range(0..self.ids.len())].clone();
                json!({ "ManagerId": manager })
            }
        }
    }

    fn hire(&mut self, number: u64) -> Option<String> {
        let template = self.org.user(&self.ids[0])?;
        let id = self.org.create_user(json!({
            "Username": format!("new.{number}@acme.example"), "Email": format!("new.{number}@acme.example"),
            "FirstName": "Zoë", "LastName": format!("Newcomer {number}"), "Alias": format!("n{}", number % 1_000_000),
            "CommunityNickname": format!("newcomer{number}"), "ProfileId": template.text("ProfileId"), "IsActive": true,
            "TimeZoneSidKey": "Europe/London", "LocaleSidKey": "en_GB", "LanguageLocaleKey": "en_US", "EmailEncodingKey": "UTF-8",
            "Department": "Onboarding",
        }));
        let id = id.ok()?;
        self.ids.push(id.clone());
        Some(id)
    }
}
