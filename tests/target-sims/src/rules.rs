//! What vendors do differently, as data: `servers/<vendor>.yaml`, from what they publish.
//!
//! Shares nothing with the dialects of the product: both are written from the same facts, and each shows mistakes of the other.
//! Left out: limits per minute, which a planned fault stands in for.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::error::ScimError;
use crate::filter::Filter;

/// The servers that are described, with their files.
const SERVERS: [(&str, &str); 16] = [
    ("atlassian", include_str!("../servers/atlassian.yaml")),
    (
        "aws-identity-center",
        include_str!("../servers/aws-identity-center.yaml"),
    ),
    ("databricks", include_str!("../servers/databricks.yaml")),
    ("deel", include_str!("../servers/deel.yaml")),
    ("entra-style", include_str!("../servers/entra-style.yaml")),
    ("github-enterprise", include_str!("../servers/github-enterprise.yaml")),
    (
        "github-organization",
        include_str!("../servers/github-organization.yaml"),
    ),
    (
        "google-cloud-identity",
        include_str!("../servers/google-cloud-identity.yaml"),
    ),
    ("keycloak", include_str!("../servers/keycloak.yaml")),
    ("miro", include_str!("../servers/miro.yaml")),
    ("peakon", include_str!("../servers/peakon.yaml")),
    ("quickbase", include_str!("../servers/quickbase.yaml")),
    ("slack", include_str!("../servers/slack.yaml")),
    ("twilio", include_str!("../servers/twilio.yaml")),
    ("zoom", include_str!("../servers/zoom.yaml")),
    ("zscaler", include_str!("../servers/zscaler.yaml")),
];

/// The rules of one vendor; the default is the RFC's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Rules {
    pub discovery: Discovery,
    pub patch: Patch,
    /// A replace or add by a value filter that meets nothing makes the element (servers tuned to Entra ID).
    pub patch_makes_elements: bool,
    pub patch_answer: PatchAnswer,
    /// What can be filtered by, as `userName` or `emails`; empty: everything.
    pub filter_by: Vec<String>,
    /// A filter by something else answers 200 and nothing, instead of 400.
    pub filter_hides_ignorance: bool,
    /// User names are compared by case in filters.
    pub filter_minds_case: bool,
    /// A filter is ignored: everybody is answered.
    pub filter_ignored: bool,
    /// So many look-ups by filter do not see an account that was just made.
    pub unseen_for: u32,
    /// Attributes without which nothing is stored, as `displayName` or `name.familyName`.
    pub required: Vec<String>,
    /// Attributes that may not be sent.
    pub refused: Vec<String>,
    /// Lists that hold one element.
    pub single: Vec<String>,
    /// Lists of which one element is primary.
    pub primary: Vec<String>,
    pub user_name: UserName,
    pub active: Active,
    pub deactivate: Deactivate,
    pub delete: Delete,
    pub taken: Taken,
    /// `startIndex` and `count` are ignored.
    pub one_page: bool,
    /// Attributes that lists leave out although reading one account shows them.
    pub list_omits: Vec<String>,
    /// A request without User-Agent answers 403.
    pub wants_user_agent: bool,
    /// `externalId` is taken and forgotten.
    pub forgets_external_id: bool,
    /// Versions are given and checked.
    pub versions: bool,
    /// The most resources in one answer; 0 is the simulator's own number.
    pub page_size_max: usize,
}

/// Where the ServiceProviderConfig is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Discovery {
    #[default]
    Singular,
    /// As SCIM 1.1 had it.
    Plural,
    Absent,
}

/// Which PATCH is understood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Patch {
    #[default]
    Any,
    /// 501.
    None,
    /// Only `active`; everything else by PUT.
    OnlyActive,
    /// No `[...]` in paths.
    NoValueFilters,
    /// Only without a path.
    PathLess,
}

/// What a PATCH answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PatchAnswer {
    #[default]
    Resource,
    /// 204.
    Nothing,
    /// The resource as it was before.
    Before,
}

/// What a user name must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum UserName {
    #[default]
    Any,
    /// Stored in lower case.
    LowerCase,
    /// Without spaces, at most 255 characters.
    NoSpaces,
    /// The address of the primary e-mail.
    PrimaryEmail,
}

/// How `active` is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Active {
    #[default]
    Boolean,
    /// "True" or "False".
    Text,
}

/// What `active: false` does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Deactivate {
    #[default]
    Keeps,
    /// The account and its id are gone.
    Removes,
    /// The account answers 404; a create with its user name brings it back.
    Hides,
    /// Nothing, without a word.
    Ignored,
}

/// What DELETE does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Delete {
    #[default]
    Removes,
    Deactivates,
    /// The account is gone, its user name is not given out again.
    KeepsName,
}

/// How a user name that is taken is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Taken {
    /// 409 uniqueness.
    #[default]
    Typed,
    /// 409 and words.
    Untyped,
    /// 400 and words.
    BadRequest,
    /// 500, as from a constraint of a database.
    ServerError,
}

impl Rules {
    /// The vendors that are described.
    pub fn vendors() -> impl Iterator<Item = &'static str> {
        SERVERS.iter().map(|(name, _)| *name)
    }

    /// The rules of a vendor. Panics when there is no such vendor.
    #[must_use]
    pub fn of(vendor: &str) -> Rules {
        let Some((_, text)) = SERVERS.iter().find(|(name, _)| *name == vendor) else {
            panic!("no server is called {vendor:?}");
        };
        serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("servers/{vendor}.yaml: {error}"))
    }

    /// Whether this body may be stored.
    pub(crate) fn check(&self, body: &Map<String, Value>) -> Result<(), ScimError> {
        let whole = Value::Object(body.clone());
        let at = |path: &str| path.split('.').try_fold(&whole, |value, name| value.get(name));
        for path in &self.required {
            if at(path).is_none_or(|value| value == "") {
                return Err(ScimError::invalid_value(format!("{path} is required")));
            }
        }
        for path in &self.refused {
            if at(path).is_some() {
                return Err(ScimError::invalid_value(format!("{path} is not supported")));
            }
        }
        let items = |name: &str| body.get(name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for name in &self.single {
            if items(name).len() > 1 {
                return Err(ScimError::invalid_value(format!("{name} holds one value")));
            }
        }
        for name in &self.primary {
            let list = items(name);
            if !list.is_empty() && !list.iter().any(|item| item["primary"] == true) {
                return Err(ScimError::invalid_value(format!("one of {name} must be primary")));
            }
        }
        let name = body.get("userName").and_then(Value::as_str).unwrap_or_default();
        let fits = match self.user_name {
            UserName::Any | UserName::LowerCase => true,
            UserName::NoSpaces => !name.contains(' ') && name.len() <= 255,
            UserName::PrimaryEmail => items("emails")
                .iter()
                .any(|email| email["primary"] == true && email["value"].as_str() == Some(name)),
        };
        if fits {
            Ok(())
        } else {
            Err(ScimError::invalid_value("this userName is not allowed"))
        }
    }

    /// Whether a filter is understood; `false`: it finds nothing, without a word.
    pub(crate) fn check_filter(&self, filter: &Filter) -> Result<bool, ScimError> {
        let mut names = Vec::new();
        filter.attributes(&mut names);
        let known = |name: &&str| self.filter_by.iter().any(|listed| listed == name);
        if self.filter_by.is_empty() || names.iter().all(known) {
            return Ok(true);
        }
        if self.filter_hides_ignorance {
            return Ok(false);
        }
        Err(ScimError::invalid_filter("this attribute cannot be filtered by"))
    }

    /// Whether a PATCH is of a kind that is understood.
    pub(crate) fn check_patch(&self, body: &Value) -> Result<(), ScimError> {
        let operations = body["Operations"].as_array().map_or(&[][..], Vec::as_slice);
        let path = |operation: &Value| operation["path"].as_str().map(str::to_owned);
        let plain = |detail: &str| Err(ScimError::new(400, detail));
        match self.patch {
            Patch::None => Err(ScimError::new(501, "PATCH is not supported")),
            Patch::OnlyActive if !operations.iter().all(touches_only_active) => plain("only active can be patched"),
            Patch::NoValueFilters if operations.iter().filter_map(path).any(|path| path.contains('[')) => {
                plain("this path is not supported")
            }
            Patch::PathLess
                if operations
                    .iter()
                    .any(|operation| operation["op"] != "remove" && path(operation).is_some()) =>
            {
                plain("a path is not supported")
            }
            Patch::Any | Patch::OnlyActive | Patch::NoValueFilters | Patch::PathLess => Ok(()),
        }
    }

    /// The body with `active` as a boolean, whatever it must look like here.
    pub(crate) fn read_active(&self, mut body: Value) -> Result<Value, ScimError> {
        if self.active == Active::Boolean {
            return Ok(body);
        }
        let convert = |value: &mut Value| match value.as_str() {
            Some("True") => {
                *value = json!(true);
                Ok(())
            }
            Some("False") => {
                *value = json!(false);
                Ok(())
            }
            _ => Err(ScimError::invalid_value("active must be \"True\" or \"False\"")),
        };
        if let Some(active) = body.get_mut("active") {
            convert(active)?;
        }
        for operation in body
            .get_mut("Operations")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            let named = operation["path"] == "active";
            let value = operation.get_mut("value");
            let active = if named {
                value
            } else {
                value.and_then(|value| value.get_mut("active"))
            };
            if let Some(active) = active {
                convert(active)?;
            }
        }
        Ok(body)
    }

    /// The refusal of a user name that is taken, as this vendor words it.
    pub(crate) fn taken(&self, error: ScimError) -> ScimError {
        if error.status != 409 {
            return error;
        }
        match self.taken {
            Taken::Typed => error,
            Taken::Untyped => ScimError::new(409, "a user with this name exists"),
            Taken::BadRequest => ScimError::new(400, "User already exists"),
            Taken::ServerError => ScimError::new(500, "duplicate key value violates unique constraint"),
        }
    }
}

fn touches_only_active(operation: &Value) -> bool {
    match operation["path"].as_str() {
        Some(path) => path == "active",
        None => operation["value"]
            .as_object()
            .is_some_and(|object| object.keys().all(|key| key == "active")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_read_and_says_something() {
        for vendor in Rules::vendors() {
            let rules = Rules::of(vendor);
            let (_, text) = SERVERS.iter().find(|(name, _)| *name == vendor).unwrap();
            assert!(text.starts_with('#'), "{vendor} names its source");
            assert!(rules != Rules::default() || text.contains("nothing else"), "{vendor}");
        }
    }

    #[test]
    fn a_body_is_held_against_the_rules() {
        let rules = Rules {
            required: vec!["name.familyName".to_owned()],
            refused: vec!["photos".to_owned()],
            single: vec!["emails".to_owned()],
            primary: vec!["emails".to_owned()],
            user_name: UserName::PrimaryEmail,
            ..Rules::default()
        };
        let good =
            json!({"userName": "a@b", "name": {"familyName": "B"}, "emails": [{"value": "a@b", "primary": true}]});
        let check = |change: fn(&mut Value)| {
            let mut body = good.clone();
            change(&mut body);
            rules.check(body.as_object().unwrap()).is_ok()
        };
        assert!(check(|_| {}));
        let changes: [fn(&mut Value); 5] = [
            |body| body["name"] = json!({}),
            |body| body["photos"] = json!([{"value": "x"}]),
            |body| body["emails"] = json!([{"value": "a@b", "primary": true}, {"value": "c"}]),
            |body| body["emails"] = json!([{"value": "a@b"}]),
            |body| body["userName"] = json!("other"),
        ];
        for change in changes {
            assert!(!check(change));
        }
    }

    #[test]
    fn kinds_of_patch_and_of_active_are_told_apart() {
        let by_path = json!({"Operations": [{"op": "replace", "path": "title", "value": "x"}]});
        let active = json!({"Operations": [{"op": "replace", "value": {"active": "False"}}]});
        let filtered =
            json!({"Operations": [{"op": "replace", "path": "emails[type eq \"work\"].value", "value": "x"}]});
        for (patch, fits) in [
            (Patch::Any, [true, true, true]),
            (Patch::None, [false, false, false]),
            (Patch::OnlyActive, [false, true, false]),
            (Patch::NoValueFilters, [true, true, false]),
            (Patch::PathLess, [false, true, false]),
        ] {
            let rules = Rules {
                patch,
                ..Rules::default()
            };
            assert_eq!(
                [&by_path, &active, &filtered].map(|body| rules.check_patch(body).is_ok()),
                fits,
                "{patch:?}"
            );
        }
        let text = Rules {
            active: Active::Text,
            ..Rules::default()
        };
        assert_eq!(
            text.read_active(active).unwrap()["Operations"][0]["value"]["active"],
            false
        );
        assert!(text.read_active(json!({"active": true})).is_err());
    }
}
