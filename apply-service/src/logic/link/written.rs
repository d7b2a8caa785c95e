//! What is known per attribute, as a small map. The paths are the same for nearly everybody, so they are shared.

use std::{fmt, sync::Arc};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};

use super::Written;
use crate::logic::account::AttributePath;

/// By path, in ascending order.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct WrittenAttributes {
    paths: Arc<Vec<AttributePath>>,
    /// As many as paths.
    written: Vec<Written>,
}

impl WrittenAttributes {
    /// `written` of `paths`, one for one; the paths ascend.
    pub(super) fn over(paths: Arc<Vec<AttributePath>>, written: Vec<Written>) -> Self {
        debug_assert!(paths.len() == written.len() && paths.is_sorted());
        Self { paths, written }
    }
    pub(super) fn paths(&self) -> &Arc<Vec<AttributePath>> {
        &self.paths
    }
    pub(super) fn values(&self) -> &[Written] {
        &self.written
    }

    /// Not by halves: the lengths of a dozen paths are compared sooner than the beginnings of a few, which are alike.
    fn place(&self, path: &str) -> Option<usize> {
        self.paths.iter().position(|known| known.0 == path)
    }

    /// What is known of an attribute.
    #[must_use]
    pub fn get(&self, path: &AttributePath) -> Option<&Written> {
        self.named(&path.0)
    }
    /// The same by the text of its path.
    #[must_use]
    pub fn named(&self, path: &str) -> Option<&Written> {
        self.place(path).map(|place| &self.written[place])
    }
    /// For a look at many paths in ascending order, or nearly so.
    #[must_use]
    pub fn walk(&self) -> Walk<'_> {
        Walk { known: self, next: 0 }
    }
    /// The same, to be changed.
    pub fn get_mut(&mut self, path: &AttributePath) -> Option<&mut Written> {
        self.place(&path.0).map(|place| &mut self.written[place])
    }
    /// Whether anything is known of it.
    #[must_use]
    pub fn contains_key(&self, path: &AttributePath) -> bool {
        self.place(&path.0).is_some()
    }
    /// Puts it in the place of what was known.
    pub fn insert(&mut self, path: AttributePath, written: Written) {
        match self.paths.binary_search(&path) {
            Ok(place) => self.written[place] = written,
            Err(place) => {
                Arc::make_mut(&mut self.paths).insert(place, path);
                self.written.insert(place, written);
            }
        }
    }
    /// Forgets an attribute.
    pub fn remove(&mut self, path: &AttributePath) {
        if let Some(place) = self.place(&path.0) {
            Arc::make_mut(&mut self.paths).remove(place);
            self.written.remove(place);
        }
    }
    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.written.is_empty()
    }
    /// Each attribute, what is known of it to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&AttributePath, &mut Written)> {
        self.paths.iter().zip(&mut self.written)
    }
    /// Each attribute.
    pub fn iter(&self) -> impl Iterator<Item = (&AttributePath, &Written)> {
        self.paths.iter().zip(&self.written)
    }
}

/// Looks first where the next path ought to be: one comparison instead of a search, a dozen times per person and decision.
#[derive(Debug)]
pub struct Walk<'a> {
    known: &'a WrittenAttributes,
    next: usize,
}

impl<'a> Walk<'a> {
    /// What is known of an attribute.
    pub fn find(&mut self, path: &AttributePath) -> Option<&'a Written> {
        let known = self.known;
        let expected = known.paths.get(self.next).is_some_and(|next| next == path);
        let place = if expected { self.next } else { known.place(&path.0)? };
        self.next = place + 1;
        Some(&known.written[place])
    }
}

impl FromIterator<(AttributePath, Written)> for WrittenAttributes {
    /// Of one path the last counts.
    fn from_iter<I: IntoIterator<Item = (AttributePath, Written)>>(attributes: I) -> Self {
        let mut found = Self::default();
        for (path, written) in attributes {
            found.insert(path, written);
        }
        found
    }
}

impl fmt::Debug for WrittenAttributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for WrittenAttributes {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for WrittenAttributes {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = WrittenAttributes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("what was written, by attribute")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<WrittenAttributes, A::Error> {
                let (mut paths, mut written) = (Vec::with_capacity(16), Vec::with_capacity(16));
                while let Some((path, value)) = entries.next_entry::<AttributePath, Written>()? {
                    paths.push(path);
                    written.push(value);
                }
                if paths.is_sorted_by(|one, next| one < next) {
                    return Ok(WrittenAttributes {
                        paths: Arc::new(paths),
                        written,
                    });
                }
                Ok(paths.into_iter().zip(written).collect())
            }
        }
        d.deserialize_map(Entries)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::{collection, prelude::*};
    use usher_contract::StateHash;

    use super::*;

    fn written(n: u8) -> Written {
        Written::now(StateHash::of_text(&n.to_string()), None, None)
    }

    proptest! {
        #[test]
        fn it_is_a_map(acts in collection::vec((any::<bool>(), "[a-c]{1,2}", any::<u8>()), 0..40)) {
            let (mut map, mut truth) = (WrittenAttributes::default(), BTreeMap::new());
            for (puts, path, n) in acts {
                let path = AttributePath(path);
                if puts {
                    map.insert(path.clone(), written(n));
                    truth.insert(path, written(n));
                } else {
                    map.remove(&path);
                    truth.remove(&path);
                }
            }
            prop_assert!(map.iter().eq(&truth));
            for (path, value) in &truth {
                prop_assert_eq!((map.get(path), map.contains_key(path)), (Some(value), true));
            }
            // In order, in any other order, and with paths that are not there.
            let strange = AttributePath("zz".to_owned());
            for order in [truth.keys().collect::<Vec<_>>(), truth.keys().rev().collect()] {
                let mut walk = map.walk();
                for path in order.into_iter().flat_map(|path| [path, &strange]) {
                    prop_assert_eq!(walk.find(path), truth.get(path));
                }
            }
            let text = serde_json::to_string(&map).unwrap();
            prop_assert_eq!(&text, &serde_json::to_string(&truth).unwrap());
            prop_assert_eq!(&serde_json::from_str::<WrittenAttributes>(&text).unwrap(), &map);
        }
    }

    #[test]
    fn records_in_any_order_are_read_and_of_two_the_last_counts() {
        let value = |n| serde_json::to_string(&written(n)).unwrap();
        let text = format!(r#"{{"b":{},"a":{},"b":{}}}"#, value(1), value(2), value(3));
        let map: WrittenAttributes = serde_json::from_str(&text).unwrap();
        let expected = [("a", 2), ("b", 3)].map(|(path, n)| (AttributePath(path.to_owned()), written(n)));
        assert_eq!(map, expected.into_iter().collect());
    }

    #[test]
    fn what_one_link_forgets_others_keep() {
        let path = AttributePath("title".to_owned());
        let one: WrittenAttributes = [(path.clone(), written(1))].into_iter().collect();
        let mut other = one.clone();
        assert!(Arc::ptr_eq(&one.paths, &other.paths), "shared");
        other.remove(&path);
        assert!(one.contains_key(&path) && other.is_empty());
    }
}
