//! An index over a complete listing, for targets whose filters cannot be used.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{path::Path, resource};
use crate::logic::account::RemoteId;

/// A complete listing by the values that look-ups ask for. Only ids and those values are kept: list entries may lack
/// fields that a read shows (seen: Zoom), so a hit is always read again.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Index {
    paths: Vec<Path>,
    by_value: BTreeMap<(usize, String), BTreeSet<RemoteId>>,
    by_id: BTreeMap<RemoteId, Vec<(usize, String)>>,
    /// Time at the target when the listing began.
    as_of: Option<i64>,
    uses: u32,
}

/// Look-ups that an index may answer when the target does not tell its time. Few, because its age is unknown then.
const USES_WITHOUT_TIME: u32 = 200;

impl Index {
    pub(crate) fn new(paths: Vec<Path>) -> Self {
        Self {
            paths,
            by_value: BTreeMap::new(),
            by_id: BTreeMap::new(),
            as_of: None,
            uses: 0,
        }
    }

    /// The target's time when its first page came; later calls change nothing.
    pub(crate) fn begins(&mut self, target_time: Option<i64>) {
        self.as_of = self.as_of.or(target_time);
    }

    /// Adds or replaces an account.
    pub(crate) fn put(&mut self, id: &RemoteId, held: &Value) {
        self.remove(id);
        let mut keys = Vec::new();
        for (number, path) in self.paths.iter().enumerate() {
            for value in resource::read_all(held, path).into_iter().filter_map(Value::as_str) {
                let key = (number, value.to_lowercase());
                self.by_value.entry(key.clone()).or_default().insert(id.clone());
                keys.push(key);
            }
        }
        self.by_id.insert(id.clone(), keys);
    }

    /// Changes what an account is found by after a write that did not show it. Where the written path is not the
    /// indexed one, old and new value both lead to the account: a candidate is read before it counts.
    pub(crate) fn overwrite(&mut self, id: &RemoteId, values: &[(Path, Value)]) {
        let mut keys = self.by_id.get(id).cloned().unwrap_or_default();
        for (path, value) in values {
            for (number, known) in self.paths.iter().enumerate() {
                if known.attribute_name() != path.attribute_name() {
                    continue;
                }
                if known == path {
                    keys.retain(|(other, _)| *other != number);
                }
                if let Some(text) = value.as_str() {
                    keys.push((number, text.to_lowercase()));
                }
            }
        }
        self.remove(id);
        for key in &keys {
            self.by_value.entry(key.clone()).or_default().insert(id.clone());
        }
        self.by_id.insert(id.clone(), keys);
    }

    /// Forgets an account.
    pub(crate) fn remove(&mut self, id: &RemoteId) {
        for key in self.by_id.remove(id).unwrap_or_default() {
            if let Some(ids) = self.by_value.get_mut(&key) {
                ids.remove(id);
                if ids.is_empty() {
                    self.by_value.remove(&key);
                }
            }
        }
    }

    /// Whether it knows all these paths and is young enough; counts the use.
    pub(crate) fn serves(&mut self, paths: &[Path], now: Option<i64>, age_max: u32) -> bool {
        self.uses += 1;
        let fresh = match (self.as_of, now) {
            (Some(then), Some(now)) => now.saturating_sub(then) <= i64::from(age_max),
            _ => self.uses <= USES_WITHOUT_TIME,
        };
        fresh && paths.iter().all(|path| self.paths.contains(path))
    }

    /// Accounts that may hold this value; the caller reads and judges each.
    pub(crate) fn candidates(&self, path: &Path, value: &str) -> Vec<RemoteId> {
        let Some(number) = self.paths.iter().position(|known| known == path) else {
            return Vec::new();
        };
        let found = self.by_value.get(&(number, value.to_lowercase()));
        found.map(|ids| ids.iter().cloned().collect()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_index_follows_our_own_writes_and_grows_old() {
        let user_name = Path::parse("userName", &Default::default()).unwrap();
        let paths = vec![Path::external_id(), user_name.clone()];
        let mut index = Index::new(paths.clone());
        index.begins(Some(1000));
        index.begins(Some(2000));
        let id = RemoteId("7".to_owned());
        index.put(&id, &json!({"userName": "Ada", "externalId": "x"}));
        assert_eq!(index.candidates(&user_name, "ADA"), std::slice::from_ref(&id));
        index.put(&id, &json!({"userName": "Byron"}));
        assert!(index.candidates(&user_name, "ada").is_empty());
        assert_eq!(index.candidates(&user_name, "byron"), std::slice::from_ref(&id));
        index.overwrite(&id, &[(user_name.clone(), json!("Countess"))]);
        assert!(index.candidates(&user_name, "byron").is_empty());
        assert_eq!(index.candidates(&user_name, "countess"), std::slice::from_ref(&id));
        index.overwrite(&id, &[(user_name.clone(), json!("Byron"))]);
        assert!(index.serves(&paths, Some(1600), 600));
        assert!(!index.serves(&paths, Some(1601), 600));
        let email = Path::parse("emails.value", &Default::default()).unwrap();
        assert!(!index.serves(&[email], Some(1000), 600), "a path it does not know");
        index.remove(&id);
        assert!(index.candidates(&user_name, "byron").is_empty());
    }
}
