//! One invented person: name, addresses, work, custom fields, some of them blank.
//!
//! Leaves out the records around a person (`mod.rs`).

use std::sync::Arc;

use rand::{RngExt as _, rngs::StdRng};

use super::{
    Builder, DOMAIN, PROFILES,
    names::{CULTURES, Culture, DEPARTMENTS, DIVISIONS, TITLES},
};
use crate::{
    clock::{self, DAY_MS},
    field::FieldKind,
    value::FieldValue,
};

impl Builder<'_> {
    pub(super) fn person(&mut self, number: usize, managers: &[Arc<str>]) -> Vec<(&'static str, FieldValue)> {
        let culture = self.culture();
        let rng = &mut self.rng;
        let pick = |rng: &mut StdRng, list: &[&'static str]| list[rng.random_range(0..list.len())];
        let (given, given_ascii) = culture.given[rng.random_range(0..culture.given.len())];
        let (family, family_ascii) = culture.family[rng.random_range(0..culture.family.len())];
        let local = format!("{given_ascii}.{family_ascii}.{number}");
        let email = match number % 97 {
            13 => format!("{given_ascii}+salesforce{number}@{DOMAIN}"),
            // A sandbox refresh marks addresses like this.
            29 => format!("{local}@{DOMAIN}.invalid"),
            41 => format!("{given_ascii}.{number}@Mixed-Case.Example.COM"),
            _ => format!("{local}@{DOMAIN}"),
        };
        let kind = match number % 50 {
            17 => 4,
            33 if number % 100 == 33 => 5,
            _ => rng.random_range(1..4),
        };
        let standard = kind < 4;
        let active = !rng.random_ratio(1, 12);
        let text = FieldValue::text;
        let maybe = |rng: &mut StdRng, out_of: u32, value: FieldValue| {
            if rng.random_ratio(1, out_of) {
                FieldValue::Null
            } else {
                value
            }
        };
        let login = clock::whole_seconds(self.now_ms - rng.random_range(0..90) * DAY_MS - rng.random_range(0..DAY_MS));
        let nickname: String = local.chars().take(40).collect();
        let alias: String = format!("u{number}").chars().take(8).collect();
        let mut fields = vec![
            ("Username", text(&format!("{local}@{DOMAIN}"))),
            ("FirstName", maybe(rng, 40, text(given))),
            ("LastName", text(family)),
            ("Email", text(&email)),
            ("Alias", text(&alias)),
            ("CommunityNickname", text(&nickname)),
            ("IsActive", FieldValue::Bool(active)),
            ("UserType", text(PROFILES[kind].1)),
            ("ProfileId", FieldValue::Text(Arc::clone(&self.profiles[kind]))),
            ("TimeZoneSidKey", text(pick(rng, culture.time_zones))),
            ("LocaleSidKey", text(culture.locale)),
            ("LanguageLocaleKey", text(culture.language)),
            ("EmailEncodingKey", text("UTF-8")),
            ("LastLoginDate", maybe(rng, 10, FieldValue::DateTime(login))),
            ("ReceivesInfoEmails", FieldValue::Bool(rng.random_ratio(1, 3))),
            ("UserPermissionsMarketingUser", FieldValue::Bool(rng.random_ratio(1, 5))),
            ("UserPreferencesLightningExperiencePreferred", FieldValue::Bool(true)),
            (
                "UserPreferencesActivityRemindersPopup",
                FieldValue::Bool(rng.random_ratio(1, 2)),
            ),
        ];
        if standard {
            let city = pick(rng, culture.cities);
            let phone = format!("{} {:04}", culture.dial, number % 10_000);
            let role = Arc::clone(&self.roles[rng.random_range(0..self.roles.len())]);
            let manager = Arc::clone(&managers[rng.random_range(0..managers.len())]);
            let (division, department, title) = (pick(rng, &DIVISIONS), pick(rng, &DEPARTMENTS), pick(rng, &TITLES));
            fields.extend([
                ("CompanyName", text("Acme")),
                ("Division", maybe(rng, 2, text(division))),
                ("Department", maybe(rng, 12, text(department))),
                ("Title", maybe(rng, 12, text(title))),
                ("EmployeeNumber", maybe(rng, 9, text(&format!("{:06}", number + 1000)))),
                ("Phone", maybe(rng, 5, text(&phone))),
                ("MobilePhone", maybe(rng, 2, text(&phone))),
                ("Extension", maybe(rng, 3, text(&(number % 1000).to_string()))),
                ("City", maybe(rng, 4, text(city))),
                ("Country", maybe(rng, 6, text(culture.country))),
                (
                    "Street",
                    maybe(rng, 3, text(&format!("{} Main Street\nFloor 2", number % 300))),
                ),
                ("UserRoleId", maybe(rng, 10, FieldValue::Text(role))),
                ("ManagerId", maybe(rng, 15, FieldValue::Text(manager))),
                (
                    "FederationIdentifier",
                    maybe(rng, 3, text(&format!("{local}@idp.example.com"))),
                ),
            ]);
        }
        fields.extend(self.custom(number, active));
        fields
    }

    fn culture(&mut self) -> &'static Culture {
        let mut rest = self
            .rng
            .random_range(0..CULTURES.iter().map(|culture| culture.weight).sum::<u32>());
        for culture in &CULTURES {
            if rest < culture.weight {
                return culture;
            }
            rest -= culture.weight;
        }
        &CULTURES[0]
    }

    fn custom(&mut self, number: usize, active: bool) -> Vec<(&'static str, FieldValue)> {
        let midnight = self.now_ms.div_euclid(DAY_MS) * DAY_MS;
        let rng = &mut self.rng;
        let days = if active {
            rng.random_range(1..700)
        } else {
            -rng.random_range(1..400)
        };
        let termination = if !active || rng.random_ratio(1, 30) {
            FieldValue::Date(midnight + days * DAY_MS)
        } else {
            FieldValue::Null
        };
        let badge = if rng.random_ratio(1, 6) {
            FieldValue::Null
        } else {
            FieldValue::text(&format!("B-{number}"))
        };
        let declared = |name: &str, kind: FieldKind| {
            let def = &self.state.users().def;
            def.position(name)
                .is_some_and(|position| def.fields[position].kind == kind)
        };
        [
            ("Badge__c", FieldKind::Text, badge),
            ("Termination_Date__c", FieldKind::Date, termination),
            (
                "Record_Calls__c",
                FieldKind::Boolean,
                FieldValue::Bool(number.is_multiple_of(3)),
            ),
            (
                "Level__c",
                FieldKind::Double,
                FieldValue::Double(f64::from(rng.random_range(2..14u8)) / 2.0),
            ),
        ]
        .into_iter()
        .filter(|(name, kind, _)| declared(name, *kind))
        .map(|(name, _, value)| (name, value))
        .collect()
    }
}
