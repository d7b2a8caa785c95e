//! The resources of one kind, with indexes for everything that clients look up.
//!
//! Stored bodies carry `id` and `meta`; `schemas`, `groups` and the removal of secrets belong to the answer (`query`).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value, json};

use crate::clock;
use crate::error::ScimError;
use crate::filter::{Filter, matches};
use crate::schema::ResourceType;

type Body = Map<String, Value>;

/// All resources of a kind, in order of creation.
#[derive(Debug)]
pub(crate) struct Store {
    kind: &'static ResourceType,
    base_url: String,
    next: u64,
    version: u64,
    items: BTreeMap<u64, Body>,
    ids: HashMap<String, u64>,
    /// Keys are lower case where the schema says that case does not count.
    user_names: HashMap<String, u64>,
    external_ids: Index,
    emails: Index,
    /// Of groups: who is in which.
    members: Index,
}

#[derive(Debug, Default)]
struct Index(HashMap<String, BTreeSet<u64>>);

impl Index {
    fn add(&mut self, key: &str, item: u64) {
        self.0.entry(key.to_owned()).or_default().insert(item);
    }

    fn remove(&mut self, key: &str, item: u64) {
        if let Some(items) = self.0.get_mut(key) {
            items.remove(&item);
            if items.is_empty() {
                self.0.remove(key);
            }
        }
    }

    fn get(&self, key: &str) -> Vec<u64> {
        self.0.get(key).into_iter().flatten().copied().collect()
    }
}

impl Store {
    pub(crate) fn new(kind: &'static ResourceType, base_url: &str) -> Store {
        Store {
            kind,
            base_url: base_url.to_owned(),
            next: 1,
            version: 0,
            items: BTreeMap::new(),
            ids: HashMap::new(),
            user_names: HashMap::new(),
            external_ids: Index::default(),
            emails: Index::default(),
            members: Index::default(),
        }
    }

    pub(crate) fn kind(&self) -> &'static ResourceType {
        self.kind
    }

    /// Stores a checked body under a new id.
    pub(crate) fn create(&mut self, mut body: Body) -> Result<&Body, ScimError> {
        self.check_unique(&body, None)?;
        let item = self.next;
        self.next += 1;
        // Opaque to clients, readable to people: the number is the order of creation.
        let id = format!("{}-{item:08}", self.kind.name.to_ascii_lowercase());
        let now = clock::stamp();
        let location = format!("{}/{}/{id}", self.base_url, self.kind.endpoint);
        body.insert(
            "meta".to_owned(),
            json!({"resourceType": self.kind.name, "created": now, "location": location}),
        );
        body.insert("id".to_owned(), Value::from(id.clone()));
        self.ids.insert(id, item);
        Ok(self.put(item, body))
    }

    /// Puts `body` in the place of an existing resource, whose `id` and creation time stay. An equal body changes nothing,
    /// not even the version.
    pub(crate) fn replace(&mut self, id: &str, mut body: Body) -> Result<&Body, ScimError> {
        let item = self.item(id)?;
        let before = &self.items[&item];
        for kept in ["id", "meta"] {
            body.insert(kept.to_owned(), before[kept].clone());
        }
        if body == *before {
            return Ok(&self.items[&item]);
        }
        self.check_unique(&body, Some(item))?;
        self.unindex(item);
        Ok(self.put(item, body))
    }

    pub(crate) fn delete(&mut self, id: &str) -> Result<(), ScimError> {
        let item = self.item(id)?;
        self.unindex(item);
        self.items.remove(&item);
        self.ids.remove(id);
        Ok(())
    }

    pub(crate) fn get(&self, id: &str) -> Result<&Body, ScimError> {
        self.item(id).map(|item| &self.items[&item])
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Body> {
        self.items.values()
    }

    /// Those that match, in order of creation. Looks into the indexes first, so that a look-up costs the same with many users.
    pub(crate) fn search<'a>(&'a self, filter: &'a Filter) -> Box<dyn Iterator<Item = &'a Body> + 'a> {
        match self.candidates(filter) {
            Some(items) => Box::new(
                items
                    .into_iter()
                    .filter_map(|item| self.items.get(&item))
                    .filter(|body| matches(filter, body)),
            ),
            None => Box::new(self.all().filter(|body| matches(filter, body))),
        }
    }

    /// Whoever has this external id or user name, for the log of refused creates.
    pub(crate) fn find_id(&self, external_id: Option<&str>, user_name: Option<&str>) -> Option<&str> {
        let by_external_id = external_id.and_then(|value| self.external_ids.get(value).first().copied());
        let item = by_external_id.or_else(|| self.user_names.get(&user_name?.to_lowercase()).copied())?;
        self.items.get(&item)?["id"].as_str()
    }

    /// The groups that have this member.
    pub(crate) fn with_member(&self, id: &str) -> impl Iterator<Item = &Body> {
        self.members
            .get(id)
            .into_iter()
            .filter_map(|item| self.items.get(&item))
    }

    fn candidates(&self, filter: &Filter) -> Option<Vec<u64>> {
        if let Some(id) = filter.required_text("id", None) {
            return Some(self.ids.get(id).copied().into_iter().collect());
        }
        if let Some(value) = filter.required_text("externalId", None) {
            return Some(self.external_ids.get(value));
        }
        if let Some(name) = filter.required_text("userName", None) {
            return Some(self.user_names.get(&name.to_lowercase()).copied().into_iter().collect());
        }
        if let Some(email) = filter.required_text("emails", Some("value")) {
            return Some(self.emails.get(&email.to_lowercase()));
        }
        let member = filter.required_text("members", Some("value"))?;
        Some(self.members.get(member))
    }

    fn item(&self, id: &str) -> Result<u64, ScimError> {
        self.ids
            .get(id)
            .copied()
            .ok_or_else(|| ScimError::new(404, format!("{} {id:?} does not exist", self.kind.name)))
    }

    /// `userName` is unique, whatever its case. Group names may repeat; the RFC does not forbid it.
    fn check_unique(&self, body: &Body, own: Option<u64>) -> Result<(), ScimError> {
        let holder = user_name(body).and_then(|name| self.user_names.get(&name).copied());
        match holder {
            Some(holder) if Some(holder) != own => Err(ScimError::uniqueness("userName is taken by another user")),
            _ => Ok(()),
        }
    }

    fn put(&mut self, item: u64, mut body: Body) -> &Body {
        self.version += 1;
        body["meta"]["lastModified"] = Value::from(clock::stamp());
        body["meta"]["version"] = Value::from(format!("W/\"{}\"", self.version));
        if let Some(name) = user_name(&body) {
            self.user_names.insert(name, item);
        }
        if let Some(value) = body.get("externalId").and_then(Value::as_str) {
            self.external_ids.add(value, item);
        }
        for value in list_values(&body, "emails") {
            self.emails.add(&value.to_lowercase(), item);
        }
        for value in list_values(&body, "members") {
            self.members.add(value, item);
        }
        self.items.insert(item, body);
        &self.items[&item]
    }

    fn unindex(&mut self, item: u64) {
        let Some(body) = self.items.get(&item) else {
            return;
        };
        if let Some(name) = user_name(body) {
            self.user_names.remove(&name);
        }
        if let Some(value) = body.get("externalId").and_then(Value::as_str) {
            self.external_ids.remove(value, item);
        }
        for value in list_values(body, "emails") {
            self.emails.remove(&value.to_lowercase(), item);
        }
        for value in list_values(body, "members") {
            self.members.remove(value, item);
        }
    }
}

fn user_name(body: &Body) -> Option<String> {
    body.get("userName").and_then(Value::as_str).map(str::to_lowercase)
}

fn list_values<'a>(body: &'a Body, list: &str) -> impl Iterator<Item = &'a str> {
    body.get(list)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|element| element["value"].as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::parse;
    use crate::path::Scope;
    use crate::schema::USER;

    fn body(name: &str, email: &str) -> Body {
        let body = json!({"userName": name, "externalId": format!("x-{name}"), "emails": [{"value": email}]});
        body.as_object().cloned().unwrap_or_default()
    }

    fn found(store: &Store, filter: &str) -> Vec<String> {
        let filter = parse(Scope::Resource(&USER), filter).expect(filter);
        store
            .search(&filter)
            .map(|body| body["userName"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    #[test]
    fn indexes_follow_changes() {
        let mut store = Store::new(&USER, "http://x");
        let id = store.create(body("ada", "A@x")).unwrap()["id"]
            .as_str()
            .unwrap()
            .to_owned();
        store.create(body("bob", "a@x")).unwrap();
        assert_eq!(found(&store, r#"emails.value eq "a@X""#), ["ada", "bob"]);
        assert_eq!(found(&store, r#"externalId eq "x-ada""#), ["ada"]);

        store.replace(&id, body("Ada2", "new@x")).unwrap();
        assert_eq!(found(&store, r#"emails.value eq "a@x""#), ["bob"]);
        assert_eq!(found(&store, r#"userName eq "ada""#), Vec::<String>::new());
        assert_eq!(found(&store, r#"userName eq "ADA2""#), ["Ada2"]);

        store.delete(&id).unwrap();
        assert_eq!(found(&store, r#"userName eq "ada2""#), Vec::<String>::new());
        assert_eq!(store.get(&id).unwrap_err().status, 404);
        assert!(store.create(body("ada2", "y@x")).is_ok(), "the name is free again");
    }

    #[test]
    fn user_names_are_unique_whatever_their_case() {
        let mut store = Store::new(&USER, "http://x");
        store.create(body("ada", "1@x")).unwrap();
        let bob = store.create(body("bob", "2@x")).unwrap()["id"]
            .as_str()
            .unwrap()
            .to_owned();
        assert_eq!(store.create(body("ADA", "3@x")).unwrap_err().status, 409);
        let error = store.replace(&bob, body("Ada", "2@x")).unwrap_err();
        assert_eq!(error.scim_type, Some("uniqueness"));
        assert!(
            store.replace(&bob, body("BOB", "2@x")).is_ok(),
            "one's own name in another case"
        );
    }

    #[test]
    fn an_equal_body_keeps_the_version() {
        let mut store = Store::new(&USER, "http://x");
        let created = store.create(body("ada", "1@x")).unwrap().clone();
        let id = created["id"].as_str().unwrap();
        let same = store.replace(id, body("ada", "1@x")).unwrap();
        assert_eq!(same["meta"]["version"], created["meta"]["version"]);
        let other = store.replace(id, body("ada", "2@x")).unwrap();
        assert_ne!(other["meta"]["version"], created["meta"]["version"]);
    }
}
