//! Groups of the application, and groups of the source that let people in.

use usher_contract::{GroupRef, Known, User};

use super::*;
use crate::logic::{
    groups::rules::GroupSource,
    policy::TargetPolicy,
    scope::Belonging,
    testing::{at, person},
};

fn target(more: &str) -> Result<(TargetPolicy, Vec<String>), Vec<String>> {
    let text = format!("{GOOD}\n{more}\n");
    let policy = read(&[("policy/helpdesk.yaml", &text)]).map_err(|error| error.0)?;
    let target = policy.targets.values().next().unwrap().policy.as_ref().clone();
    Ok((target, policy.warnings.clone()))
}

#[test]
fn groups_are_read_with_their_defaults() {
    let (plain, _) = target("").unwrap();
    assert_eq!(plain.groups, None);
    let (found, _) = target("groups: { from: [groups] }").unwrap();
    let rules = found.groups.unwrap();
    assert_eq!(rules.from, [GroupSource::Groups]);
    assert_eq!(
        (rules.same_name, rules.create, rules.remove_stale, rules.remove_leavers),
        (true, true, false, false)
    );
    assert_eq!(rules.abilities.at_once, 100);
    assert_ne!(found.hash, plain.hash, "who is where is part of what is wanted");
    let (found, _) = target(
        "groups:\n  from: [permissionSets, role, profile]\n  map: { EMEA: sf-emea, 00G000000000001: apac, Everyone: null }\n  \
         unmapped: ignore\n  create: false\n  removeStale: true\n  leavers: remove",
    )
    .unwrap();
    let rules = found.groups.unwrap();
    assert_eq!((rules.same_name, rules.create), (false, false));
    assert_eq!((rules.remove_stale, rules.remove_leavers), (true, true));
    let keys: Vec<&str> = rules.map.keys().map(String::as_str).collect();
    assert_eq!(keys.len(), 3);
    assert!(keys.contains(&"emea") && keys.contains(&"everyone"), "{keys:?}");
    assert!(
        keys.iter().any(|key| key.len() == 18),
        "an id in its long form: {keys:?}"
    );
    let (off, _) = target("groups: { from: [groups] }\nfeatures: { groups: false }").unwrap();
    assert_eq!(off.groups, None);
    assert_eq!(
        off.groups_off.unwrap().from,
        [GroupSource::Groups],
        "what is not done is said"
    );
    assert_eq!(target("groups: { from: [groups] }").unwrap().0.groups_off, None);
}

#[test]
fn mistakes_about_groups_are_shown_where_they_stand() {
    for (more, place, words) in [
        (
            "features: { groups: true }",
            "features.groups",
            "there is no section `groups`",
        ),
        ("groups: {}", "groups.from", "is required"),
        ("groups: { from: [] }", "groups.from", "an empty list has no groups"),
        ("groups: { from: [group] }", "groups.from", "did you mean `groups`?"),
        ("groups: { from: [role, role] }", "groups.from", "has role twice"),
        ("groups: { from: [assignments] }", "groups.from", "this target has none"),
        (
            "groups: { from: [groups], unmapped: ignore }",
            "groups.unmapped",
            "nobody would be in any group",
        ),
        (
            "groups: { from: [groups], unmapped: keep }",
            "groups.unmapped",
            "unknown variant",
        ),
        (
            "groups: { from: [groups], leavers: remove }",
            "groups.leavers",
            "needs groups.removeStale: true",
        ),
        (
            "groups: { from: [groups], map: { A: ' ' } }",
            "groups.map.A",
            "must be the name of a group",
        ),
        (
            "groups: { from: [groups], map: { A: x, a: z } }",
            "groups.map",
            "stands there twice",
        ),
        (
            "groups: { from: [groups], removestale: true }",
            "groups.removestale",
            "did you mean `removeStale`?",
        ),
        ("access: []", "access", "would let nobody in"),
        (
            "access: [{ group: ' ' }]",
            "access.0.group",
            "must be the name or the id",
        ),
        (
            "access: [{ group: A, name: x }, { group: B, name: X }]",
            "access.1.name",
            "the name of another access policy",
        ),
        ("access: [{ grop: A }]", "access", "unknown field `grop`"),
        (
            "connection: { scim: { groups: { membersMax: 0 } } }",
            "connection.scim",
            "groups.membersMax 0",
        ),
    ] {
        let text = if more.starts_with("connection") {
            GOOD.replace("connection: {", "connection: { scim: { groups: { membersMax: 0 } },")
        } else {
            format!("{GOOD}\n{more}\n")
        };
        let problems = read(&[("a.yaml", &text)]).map(|_| ()).unwrap_err().0;
        let found = problems
            .iter()
            .any(|problem| problem.contains(place) && problem.contains(words));
        assert!(found, "{more}: {problems:#?}");
    }
}

#[test]
fn an_application_without_groups_says_so() {
    let text = "target: desk\npreset: spinify-api\nmode: observe\nsources: [00D000000000001EAA]\nscope: { filter: all }\n\
                connection: { auth: none }\n\
                groups: { from: [groups] }\n";
    let problems = read(&[("a.yaml", text)]).map(|_| ()).unwrap_err().0;
    let words = "offers no way to put people into groups";
    assert!(problems.iter().any(|problem| problem.contains(words)), "{problems:#?}");
}

fn in_groups(names: &[(&str, &str)]) -> User {
    let mut user = person(1).user;
    let of = |(id, name): &(&str, &str)| GroupRef {
        id: id.parse().unwrap(),
        name: Known::Value((*name).to_owned()),
        direct: true,
    };
    user.groups = Known::Value(names.iter().map(of).collect());
    user
}

#[test]
fn joining_a_linked_group_lets_in_and_leaving_it_is_leaving_the_scope() {
    let (found, warnings) = target(
        "access:\n  - { group: \"Sales EMEA's\", name: Gong sellers, login: password }\n  - { group: 00G000000000002 }",
    )
    .unwrap();
    assert!(
        warnings.iter().any(|warning| warning.contains("is only reported")),
        "{warnings:#?}"
    );
    let judged = |user: &User| found.scope.judge(user, &(), at(0)).0;
    let sales = in_groups(&[("00G000000000001", "sales emea's")]);
    assert_eq!(judged(&sales), Belonging::In);
    let access = found.scope.access_of(&sales).unwrap();
    assert_eq!(
        access.in_words(),
        "access policy Gong sellers of group Sales EMEA's, login by password"
    );
    let second = in_groups(&[("00G000000000002", "whatever it is called")]);
    assert_eq!(judged(&second), Belonging::In);
    let out = "in none of the groups of access: Sales EMEA's, 00G000000000002";
    for outside in [in_groups(&[]), in_groups(&[("00G000000000003", "IT")])] {
        assert_eq!(judged(&outside), Belonging::Out(out.to_owned()));
    }
    let mut unknown = in_groups(&[]);
    unknown.groups = Known::Unknown;
    assert_eq!(judged(&unknown), Belonging::Unknown(vec!["groups".to_owned()]));
    // In a group that is nested in it: the source lists the outer one as well, as not direct.
    let mut nested = in_groups(&[("00G000000000003", "Berlin"), ("00G000000000001", "Sales EMEA's")]);
    if let Known::Value(groups) = &mut nested.groups {
        groups[1].direct = false;
    }
    assert_eq!(judged(&nested), Belonging::In);
    assert!(found.scope.access_of(&nested).is_some());
    // A group whose name could not be read may be the one, unless another one is.
    let nameless = |user: &mut User, place: usize| {
        if let Known::Value(groups) = &mut user.groups {
            groups[place].name = Known::Unknown;
        }
    };
    let mut open = in_groups(&[("00G000000000003", "IT")]);
    nameless(&mut open, 0);
    assert_eq!(judged(&open), Belonging::Unknown(vec!["groups".to_owned()]));
    nameless(&mut nested, 0);
    assert_eq!(judged(&nested), Belonging::In);
    let mut by_id = second;
    nameless(&mut by_id, 0);
    assert_eq!(judged(&by_id), Belonging::In);
}

#[test]
fn the_login_method_is_written_where_the_application_keeps_it() {
    let (found, warnings) =
        target("settings: { login: { attribute: nickName } }\naccess: [{ group: Sales, login: password }]").unwrap();
    assert!(
        !warnings.iter().any(|warning| warning.contains("is only reported")),
        "{warnings:#?}"
    );
    let rows = &found.scope.access[0].rows;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].path.0, "nickName");
    assert!(found.paths().any(|path| path.0 == "nickName"), "read back as well");
}

#[test]
fn mistakes_in_the_calls_about_groups_are_shown_at_their_place() {
    for (groups, place, words) in [
        ("membersMax: 0", "groups.membersMax", "at least 1"),
        ("id: 'x'", "groups.id", "is no JSONPath"),
        (
            "add: { form: { g: '{{ team.id }}' } }",
            "groups.add.form.g",
            "`team.id` is not known here",
        ),
        (
            "add: { form: { g: '{{ page.size }}' } }",
            "groups.add.form.g",
            "group.id, group.name, member.id, members",
        ),
        (
            "list: { accounts: $ }",
            "groups.list.accounts",
            "is called `entries` here",
        ),
        (
            "members: { entries: null }",
            "groups.members.entries",
            "is required: a JSONPath to the list of members",
        ),
    ] {
        let text = format!(
            "target: academy\npreset: skyprep\nmode: enforce\nsources: [00D000000000001EAA]\nscope: {{ filter: all }}\n\
             connection: {{ rest: {{ secrets: {{ apiKey: /a, acctKey: /b }}, groups: {{ {groups} }} }} }}\n"
        );
        let Err(PolicyError(problems)) = read(&[("a.yaml", &text)]) else {
            panic!("taken: {groups}");
        };
        let place = format!("connection.rest.{place}: ");
        let found = problems
            .iter()
            .any(|problem| problem.contains(&place) && problem.contains(words));
        assert!(found, "{groups}: {problems:#?}");
    }
}

#[test]
fn calls_that_nothing_can_be_done_without_are_asked_for() {
    let text = "target: desk\npreset: rest\nmode: enforce\nsources: [00D000000000001EAA]\nscope: { filter: all }\n\
                match: { by: [externalId] }\nfeatures: { create: false, update: false, deactivate: false, reactivate: false }\n\
                connection:\n  auth: none\n  baseUrl: https://desk.example/api\n  rest:\n    \
                account: { id: $.id, fields: { externalId: { read: $.ref, send: ref } } }\n    \
                operations: { list: { method: GET, path: /users, accounts: $ } }\n    \
                groups: { id: $.id, name: $.name }\n";
    let Err(PolicyError(problems)) = read(&[("a.yaml", text)]) else {
        panic!("taken");
    };
    for words in [
        "needs `list` or `find`: no group could be found",
        "needs `add`: nobody could be put",
    ] {
        let found = |problem: &String| problem.contains("connection.rest.groups: ") && problem.contains(words);
        assert!(problems.iter().any(found), "{words}: {problems:#?}");
    }
}
