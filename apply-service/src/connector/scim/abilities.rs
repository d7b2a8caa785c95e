//! What a target has shown that it can do: told by discovery, learnt from answers.
//!
//! Plain state without I/O, shared by the exchanges of one connector. Discovery is advice (RFC 7644 section 4;
//! seen on several servers): what an answer proves outranks it, and configuration outranks both. Lost on restart, because
//! it is cheap to learn again and a target may have been upgraded.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    catalogue::{Choice, Sought},
    config::{EtagMode, FilterMode, Paging, PatchMode, RemoveMember, ScimConfig},
    discovery::ServiceProvider,
    index::Index,
    patch::Style,
    path::Path,
    resource,
};
use crate::logic::account::RemoteId;

/// How far an empty result of a filter is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Not seen to work yet: a hit is believed (we look at it), an empty result is not.
    Unproven,
    /// It found an account that was known to exist.
    Proven,
    /// Ignored, refused, or blind for accounts that exist.
    Unusable,
}

/// Learnt state of one target.
#[derive(Debug, Default)]
pub(crate) struct Abilities {
    /// What discovery said.
    pub(crate) provider: ServiceProvider,
    /// Answered 405 or 501 to a PATCH.
    pub(crate) patch_refused: bool,
    /// Encoding that had to be used.
    pub(crate) style: Style,
    /// Answered 415 to `application/scim+json`.
    pub(crate) plain_json: bool,
    /// Refused the configured form of multi-valued look-ups and took the other.
    pub(crate) other_lookup_form: bool,
    /// Refused the first cursor.
    pub(crate) cursor_refused: bool,
    /// Page size after a "too many".
    pub(crate) page_size: Option<u32>,
    /// Trust in filters by look-up path.
    trust: BTreeMap<String, Trust>,
    /// A value that an account was seen to hold, by look-up path: what a filter can be proven with.
    samples: BTreeMap<String, String>,
    /// Every path that was looked up by: what a listing is indexed by, so that one serves all.
    lookup_paths: Vec<Path>,
    /// Whether looking up groups by name works.
    pub(crate) group_filter: Option<Trust>,
    /// Refused `excludedAttributes`.
    pub(crate) groups_whole: bool,
    /// Refused the configured form of removing members and took the other.
    pub(crate) other_remove_form: bool,
    /// The last complete listing.
    pub(crate) index: Option<Index>,
    /// Entries of the application's own lists that were seen.
    pub(crate) choices: BTreeMap<Sought, Choice>,
    /// Time at the target by the newest `Date` header, in seconds since 1970.
    pub(crate) target_time: Option<i64>,
}

impl Abilities {
    /// Whether changes are written with PUT.
    pub(crate) fn uses_put(&self, config: &ScimConfig) -> bool {
        match config.patch {
            PatchMode::Put => true,
            PatchMode::Auto => self.patch_refused || self.provider.patch == Some(false),
            PatchMode::Path | PatchMode::Pathless => false,
        }
    }

    /// The encoding of a PATCH.
    pub(crate) fn patch_style(&self, config: &ScimConfig) -> Style {
        Style {
            pathless: config.patch == PatchMode::Pathless,
            ..self.style
        }
    }

    /// How members are removed.
    pub(crate) fn remove_form(&self, config: &ScimConfig) -> RemoveMember {
        match (config.groups.remove, self.other_remove_form) {
            (RemoveMember::ValuePath, false) | (RemoveMember::Value, true) => RemoveMember::ValuePath,
            (RemoveMember::Value, false) | (RemoveMember::ValuePath, true) => RemoveMember::Value,
        }
    }

    /// Whether versions count: declared by the target, because an ETag header alone does not prove support
    /// (observed on scimmy-routers 1.3.2 behind Express: a body hash, and a stale If-Match went through).
    pub(crate) fn versions(&self, config: &ScimConfig) -> bool {
        config.etag == EtagMode::Auto && self.provider.etag == Some(true)
    }

    /// How far an empty result by this path is believed.
    pub(crate) fn trust(&self, path: &Path, config: &ScimConfig) -> Trust {
        let learnt = self.trust.get(&path.to_string()).copied();
        match config.filter {
            FilterMode::None => Trust::Unusable,
            _ if !self.may_filter(path, config) => Trust::Unusable,
            FilterMode::Trusted if learnt != Some(Trust::Unusable) => Trust::Proven,
            _ if learnt.is_none() && self.provider.filter == Some(false) => Trust::Unusable,
            FilterMode::Auto | FilterMode::Trusted => learnt.unwrap_or(Trust::Unproven),
        }
    }

    /// Whether the dialect lets this path be filtered by.
    fn may_filter(&self, path: &Path, config: &ScimConfig) -> bool {
        let named = |name: &String| {
            Path::parse(name, &config.vocabulary()).is_ok_and(|named| named.attribute_name() == path.attribute_name())
        };
        config.filter_by.is_empty() || config.filter_by.iter().any(named)
    }

    /// A filter by this path was seen to work, or not to.
    pub(crate) fn learn_trust(&mut self, path: &Path, trust: Trust) {
        self.trust.insert(path.to_string(), trust);
    }

    /// Adds paths that are looked up by; returns all of them.
    pub(crate) fn learn_lookup_paths(&mut self, asked: &[Path]) -> Vec<Path> {
        for path in asked {
            if !self.lookup_paths.contains(path) {
                self.lookup_paths.push(path.clone());
            }
        }
        self.lookup_paths.clone()
    }

    /// Remembers what an account holds at the paths that are looked up by.
    pub(crate) fn learn_sample(&mut self, paths: &[Path], held: &Value) {
        for path in paths {
            if let Some(value) = sample_of(held, path) {
                self.samples.insert(path.to_string(), value);
            }
        }
    }

    /// A value to prove a filter with.
    pub(crate) fn sample(&self, path: &Path) -> Option<&String> {
        self.samples.get(&path.to_string())
    }

    /// Forgets a sample that did not prove anything: the account may have changed.
    pub(crate) fn forget_sample(&mut self, path: &Path) {
        self.samples.remove(&path.to_string());
    }

    /// How many accounts to ask for.
    pub(crate) fn page_size(&self, config: &ScimConfig) -> u32 {
        let offered = [
            self.page_size,
            self.provider.filter_max_results,
            self.provider.max_page_size,
        ];
        offered
            .into_iter()
            .flatten()
            .filter(|size| *size > 0)
            .fold(config.page_size, u32::min)
    }

    /// Whether the first page is asked for by cursor (RFC 9865 section 2).
    pub(crate) fn starts_with_cursor(&self, config: &ScimConfig) -> bool {
        match config.paging {
            Paging::Cursor => true,
            Paging::Index => false,
            Paging::Auto => self.provider.cursor == Some(true) && !self.cursor_refused,
        }
    }

    /// Notes an account as written or read, so that the listing does not contradict what we know.
    pub(crate) fn note_account(&mut self, id: &RemoteId, held: &Value) {
        if let Some(index) = &mut self.index {
            index.put(id, held);
        }
        let paths = self.lookup_paths.clone();
        self.learn_sample(&paths, held);
        self.learn_sample(&[Path::external_id()], held);
    }

    /// Notes what was written to an account that was not shown afterwards.
    pub(crate) fn note_values(&mut self, id: &RemoteId, values: &[(Path, Value)]) {
        if let Some(index) = &mut self.index {
            index.overwrite(id, values);
        }
    }

    /// Notes an account as gone.
    pub(crate) fn note_gone(&mut self, id: &RemoteId) {
        if let Some(index) = &mut self.index {
            index.remove(id);
        }
    }
}

fn sample_of(held: &Value, path: &Path) -> Option<String> {
    let values = resource::read_all(held, path);
    values
        .into_iter()
        .find_map(Value::as_str)
        .filter(|value| !value.is_empty())
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_outranks_discovery_and_configuration_outranks_both() {
        let mut abilities = Abilities::default();
        let auto = ScimConfig::default();
        assert!(!abilities.uses_put(&auto), "PATCH is assumed");
        abilities.provider.patch = Some(true);
        abilities.patch_refused = true;
        assert!(abilities.uses_put(&auto));
        assert!(!abilities.uses_put(&ScimConfig {
            patch: PatchMode::Path,
            ..auto.clone()
        }));
        assert!(!abilities.versions(&auto), "not declared");
        abilities.provider.etag = Some(true);
        assert!(abilities.versions(&auto));
        assert!(!abilities.versions(&ScimConfig {
            etag: EtagMode::Never,
            ..auto
        }));
    }

    #[test]
    fn an_empty_result_is_not_believed_before_it_is_proven() {
        let (mut abilities, auto, path) = (Abilities::default(), ScimConfig::default(), Path::external_id());
        let trusted = ScimConfig {
            filter: FilterMode::Trusted,
            ..auto.clone()
        };
        assert_eq!(abilities.trust(&path, &auto), Trust::Unproven);
        assert_eq!(abilities.trust(&path, &trusted), Trust::Proven);
        abilities.provider.filter = Some(false);
        assert_eq!(abilities.trust(&path, &auto), Trust::Unusable);
        abilities.learn_trust(&path, Trust::Proven);
        assert_eq!(
            abilities.trust(&path, &auto),
            Trust::Proven,
            "an answer outranks discovery"
        );
        abilities.learn_trust(&path, Trust::Unusable);
        assert_eq!(abilities.trust(&path, &trusted), Trust::Unusable, "and trust");
    }

    #[test]
    fn the_smallest_page_counts() {
        let mut abilities = Abilities::default();
        let config = ScimConfig::default();
        assert_eq!(abilities.page_size(&config), 100);
        abilities.provider.filter_max_results = Some(50);
        abilities.provider.max_page_size = Some(0);
        assert_eq!(abilities.page_size(&config), 50);
        abilities.note_account(&RemoteId("1".to_owned()), &json!({"externalId": "x"}));
        assert_eq!(abilities.sample(&Path::external_id()).map(String::as_str), Some("x"));
    }
}
