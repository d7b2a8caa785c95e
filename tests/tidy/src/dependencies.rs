//! Dependencies point one way: tests, services, runtime, contract. What proves shares no code with what is proven.

use serde_json::Value;

use crate::Violation;

/// A member of the workspace and what it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its folder, from the root.
    pub folder: String,
    /// Name and whether only its tests need it.
    pub needs: Vec<(String, bool)>,
}

/// Members as `cargo metadata --no-deps` tells them.
#[must_use]
pub fn members(metadata: &Value) -> Vec<Member> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let root = text(&metadata["workspace_root"]);
    let packages = metadata["packages"].as_array().cloned().unwrap_or_default();
    let member = |package: &Value| {
        let manifest = text(&package["manifest_path"]);
        let folder = manifest
            .strip_prefix(&root)
            .unwrap_or(&manifest)
            .trim_start_matches('/')
            .trim_end_matches("/Cargo.toml");
        let needs = package["dependencies"].as_array().cloned().unwrap_or_default();
        Member {
            name: text(&package["name"]),
            folder: folder.to_owned(),
            needs: needs
                .iter()
                .map(|need| (text(&need["name"]), need["kind"] == "dev"))
                .collect(),
        }
    };
    packages.iter().map(member).collect()
}

/// Where a crate stands; a need may only go down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Storey {
    /// Brokers, simulated systems, tidy: know nothing of ours.
    Proof,
    Contract,
    /// The condition language, and people as bytes: pure, like the contract, and know its shapes.
    Filter,
    Runtime,
    Service,
    /// Sandbox, scenarios: put it all together.
    Whole,
}

fn storey(member: &Member) -> Storey {
    match member.folder.as_str() {
        "shared/contract" => Storey::Contract,
        "shared/filter" | "shared/packed" => Storey::Filter,
        "shared/runtime" => Storey::Runtime,
        "tests/kafka" | "tests/salesforce-sim" | "tests/target-sims" | "tests/tidy" => Storey::Proof,
        folder if folder.starts_with("tests/") => Storey::Whole,
        _ => Storey::Service,
    }
}

/// Foreign crates that one folder keeps to itself: name, who may need it, why.
const KEPT: &[(&str, &[&str], &str)] = &[
    (
        "rdkafka",
        &["shared/runtime", "tests/"],
        "the Kafka client stays in shared/runtime",
    ),
    (
        "tonic",
        &["ingest-service", "tests/"],
        "gRPC is Salesforce's event stream only",
    ),
];
/// Foreign crates that the pure contract and filter do without.
const NOT_IN_CONTRACT: &[&str] = &["tokio", "rdkafka", "reqwest", "tracing", "rand", "axum", "tonic"];

/// Needs that point the wrong way.
#[must_use]
pub fn violations(members: &[Member]) -> Vec<Violation> {
    let mut found = Vec::new();
    for member in members {
        let own = storey(member);
        let place = format!("{}/Cargo.toml", member.folder);
        let mut report = |what: String| found.push(Violation::new(&place, 0, what));
        for (name, only_tests) in &member.needs {
            if let Some(needed) = members.iter().find(|other| other.name == *name) {
                let below = storey(needed);
                let allowed = match own {
                    Storey::Whole => true,
                    // Simulated systems serve the tests of everybody, and each other's.
                    _ if below == Storey::Proof => *only_tests,
                    Storey::Proof => false,
                    _ => below < own,
                };
                if !allowed {
                    report(format!(
                        "{} needs {name}: dependencies point from services to runtime to contract, and proofs stand apart",
                        member.name
                    ));
                }
            }
            // What only tests of the filter need may be anything: they ask a simulated org over HTTP.
            let pure = own == Storey::Contract || own == Storey::Filter && !only_tests;
            if pure && NOT_IN_CONTRACT.contains(&name.as_str()) {
                report(format!("{} needs {name}: it is pure", member.name));
            }
            let kept = KEPT.iter().find(|(kept, _, _)| kept == name).filter(|_| !only_tests);
            if let Some((_, keepers, why)) = kept
                && !keepers.iter().any(|keeper| member.folder.starts_with(keeper))
            {
                report(format!("{} needs {name}: {why}", member.name));
            }
        }
    }
    found
}

/// The foreign crates that any member needs, sorted.
#[must_use]
pub fn foreign(members: &[Member]) -> Vec<String> {
    let is_ours = |name: &String| members.iter().any(|member| member.name == *name);
    let mut names: Vec<String> = members
        .iter()
        .flat_map(|member| &member.needs)
        .map(|(name, _)| name.clone())
        .filter(|name| !is_ours(name))
        .collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn workspace(needs: &[(&str, &str, bool)]) -> Vec<Member> {
        let places = [
            ("usher-contract", "shared/contract"),
            ("usher-filter", "shared/filter"),
            ("usher-packed", "shared/packed"),
            ("usher-runtime", "shared/runtime"),
            ("ingest-service", "ingest-service"),
            ("apply-service", "apply-service"),
            ("kafka-harness", "tests/kafka"),
            ("salesforce-sim", "tests/salesforce-sim"),
            ("sandbox", "tests/sandbox"),
        ];
        let member = |(name, folder): (&str, &str)| Member {
            name: name.to_owned(),
            folder: folder.to_owned(),
            needs: needs
                .iter()
                .filter(|(who, _, _)| *who == name)
                .map(|(_, what, only_tests)| ((*what).to_owned(), *only_tests))
                .collect(),
        };
        places.into_iter().map(member).collect()
    }

    #[test]
    fn needs_may_go_down() {
        let fine = workspace(&[
            ("usher-runtime", "usher-contract", false),
            ("ingest-service", "usher-runtime", false),
            ("ingest-service", "usher-contract", false),
            ("ingest-service", "tonic", false),
            ("apply-service", "kafka-harness", true),
            ("salesforce-sim", "kafka-harness", true),
            ("sandbox", "apply-service", false),
            ("sandbox", "salesforce-sim", false),
            ("usher-runtime", "rdkafka", false),
            ("apply-service", "rdkafka", true),
            ("usher-contract", "serde", false),
            ("usher-filter", "usher-contract", false),
            ("usher-filter", "salesforce-sim", true),
            ("usher-filter", "tokio", true),
            ("apply-service", "usher-filter", false),
            ("ingest-service", "usher-packed", false),
        ]);
        assert_eq!(violations(&fine), []);
    }

    #[test]
    fn every_planted_need_in_the_wrong_direction_is_caught() {
        for planted in [
            ("usher-contract", "usher-runtime", false),
            ("usher-contract", "usher-runtime", true),
            ("usher-contract", "tokio", false),
            ("usher-contract", "usher-filter", false),
            ("usher-filter", "usher-runtime", false),
            ("usher-packed", "usher-filter", false),
            ("usher-filter", "tokio", false),
            ("usher-runtime", "apply-service", false),
            ("ingest-service", "apply-service", false),
            ("apply-service", "ingest-service", true),
            ("apply-service", "kafka-harness", false),
            ("apply-service", "rdkafka", false),
            ("apply-service", "tonic", false),
            ("salesforce-sim", "usher-contract", false),
            ("salesforce-sim", "ingest-service", true),
            ("kafka-harness", "sandbox", true),
        ] {
            assert_eq!(violations(&workspace(&[planted])).len(), 1, "{planted:?}");
        }
    }

    #[test]
    fn members_are_read_from_metadata() {
        let metadata = json!({"workspace_root": "/r", "packages": [
            {"name": "a", "manifest_path": "/r/shared/a/Cargo.toml", "dependencies": [{"name": "b", "kind": null}, {"name": "c", "kind": "dev"}]}
        ]});
        let expected = Member {
            name: "a".into(),
            folder: "shared/a".into(),
            needs: vec![("b".into(), false), ("c".into(), true)],
        };
        assert_eq!(members(&metadata), std::slice::from_ref(&expected));
        assert_eq!(foreign(&[expected]), ["b", "c"]);
    }
}
