//! Known differences of vendors' SCIM servers: `dialects/<vendor>.yaml`, laid between a target's preset and its own keys.
//!
//! A file has keys of `connection.scim` and `pace`, and says in its head where they come from. What cannot be said by a key (which
//! attributes a vendor wants) is said there as well.

/// Keys that stand below a target's file.
#[derive(Debug, Clone, Copy)]
pub struct VendorDialect {
    /// As `connection.scim.dialect` names it.
    pub name: &'static str,
    /// YAML.
    pub text: &'static str,
}

impl VendorDialect {
    /// What its head says, in one line.
    #[must_use]
    pub fn about(&self) -> String {
        let head = self.text.lines().map_while(|line| line.strip_prefix('#'));
        head.map(str::trim).collect::<Vec<_>>().join(" ")
    }
}

macro_rules! dialects {
    ($($name:literal),* $(,)?) => {
        &[$(VendorDialect { name: $name, text: include_str!(concat!("../../dialects/", $name, ".yaml")) }),*]
    };
}

/// All that are known, by name.
pub const DIALECTS: &[VendorDialect] = dialects![
    "atlassian",
    "aws-identity-center",
    "databricks",
    "deel",
    "entra-style",
    "github-enterprise",
    "github-organization",
    "google-cloud-identity",
    "keycloak",
    "miro",
    "peakon",
    "quickbase",
    "slack",
    "twilio",
    "zoom",
    "zscaler",
];

#[cfg(test)]
mod tests {
    use usher_runtime::yaml::Document;

    use super::*;
    use crate::{
        connector::scim::ScimConfig,
        policy::{self, Dialect, Target},
    };

    fn load(scim: &str, more: &str) -> Result<Target, String> {
        let text = format!(
            "target: t\npreset: scim\nmode: observe\nsources: [00D000000000001EAA]\nscope: {{ filter: all }}\nconnection:\n  \
             baseUrl: https://example.com/scim/v2\n  auth: {{ bearerTokenFile: /token }}\n  scim: {scim}\n{more}\n"
        );
        let files = [(std::path::PathBuf::from("t.yaml"), text)];
        let policy = policy::from_texts(&files).map_err(|error| error.to_string())?;
        Ok(policy.targets.into_values().next().unwrap())
    }

    fn scim(target: &Target) -> ScimConfig {
        match &target.connection.dialect {
            Dialect::Scim(config) => (**config).clone(),
            Dialect::Rest(_) | Dialect::Roster(_) => panic!("SCIM"),
        }
    }

    #[test]
    fn a_dialect_stands_over_the_preset_and_below_the_file() {
        let plain = load("{ dialect: zoom }", "").unwrap();
        assert!(scim(&plain).active_by_patch && scim(&plain).verify_writes);
        assert_eq!(plain.policy.pace.per_second, 1.0, "not the preset's 20");
        let own = load("{ dialect: zoom, verifyWrites: false }", "pace: { perSecond: 7 }").unwrap();
        assert!(scim(&own).active_by_patch && !scim(&own).verify_writes);
        assert_eq!(own.policy.pace.per_second, 7.0);
    }

    #[test]
    fn an_unknown_dialect_is_refused_at_its_place() {
        let error = load("{ dialect: zom }", "").unwrap_err();
        assert!(error.contains("t.yaml:9:"), "{error}");
        assert!(
            error.contains("there is no dialect `zom`; did you mean `zoom`?"),
            "{error}"
        );
        let error = load("{ dialect: zoom, patch: path }", "").unwrap_err();
        assert!(error.contains("activeByPatch: only with patch: put"), "{error}");
    }

    #[test]
    fn every_file_is_compiled_in_and_has_only_keys_of_a_dialect() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/dialects");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().replace(".yaml", ""))
            .collect();
        files.sort();
        let names: Vec<&str> = DIALECTS.iter().map(|dialect| dialect.name).collect();
        assert_eq!(files, names);
        for dialect in DIALECTS {
            let value = Document::parse(dialect.name, dialect.text).unwrap().value();
            let sections: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
            assert!(
                sections.iter().all(|key| ["connection", "pace"].contains(key)),
                "{}",
                dialect.name
            );
            let connection = value["connection"].as_object().unwrap();
            assert!(connection.keys().all(|key| key == "scim"), "{}", dialect.name);
            let config: ScimConfig = serde_json::from_value(connection["scim"].clone()).unwrap();
            assert_eq!(config.validate(), Vec::<String>::new(), "{}", dialect.name);
            assert_eq!(config.dialect, None, "a dialect stands on no other");
            assert!(dialect.about().contains("Source: "), "{}", dialect.name);
        }
    }
}
