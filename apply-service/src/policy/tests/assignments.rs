//! Settings by assignment, and what is left to managers.

use super::*;

const SETTINGS: &str = r#"
settings:
  profile: { attribute: 'roles[primary eq "True"].value', needs: gong }
  seats: { attribute: 'entitlements[type eq "{item}"].value', value: granted }
  workspaces: { attribute: 'roles[type eq "{key}"].value' }
  level: { attribute: nickName }
"#;

fn assigned(assignments: &str) -> Result<(Vec<crate::logic::assignments::Assignment>, Vec<String>), Vec<String>> {
    let text = format!("{GOOD}{SETTINGS}{assignments}");
    let policy = read(&[("policy/helpdesk.yaml", &text)]).map_err(|error| error.0)?;
    let target = &policy.targets.values().next().unwrap().policy;
    Ok((target.assignments.clone(), policy.warnings.clone()))
}

#[test]
fn assignments_become_rows_of_the_mapping() {
    let (found, warnings) = assigned(
        r#"
assignments:
  - name: sellers
    filter: "Profile.Name = 'Sales User'"
    set: { seats: [gong, engage], profile: AE, workspaces: { Main: Member, "West \"A\"": { from: custom.West__c } }, level: { template: "{{ title | upper }}" } }
  - { name: guests, filter: all, updates: manual, set: { seats: [], level: guest, profile: AE } }
"#,
    )
    .unwrap_or_else(|problems| panic!("{problems:#?}"));
    let paths = |number: usize| {
        found[number]
            .rows
            .iter()
            .map(|row| row.path.0.as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        paths(0),
        [
            "nickName",
            r#"roles[primary eq true].value"#,
            r#"entitlements[type eq "gong"].value"#,
            r#"entitlements[type eq "engage"].value"#,
            r#"roles[type eq "Main"].value"#,
            r#"roles[type eq "West \"A\""].value"#,
        ]
    );
    assert_eq!(
        (paths(1), found[1].manual, found[0].manual),
        (vec!["nickName"], true, false)
    );
    assert_eq!(
        found[1].pending,
        ["profile waits for the seat gong, which is not granted"]
    );
    assert!(
        warnings
            .iter()
            .any(|warning| warning.contains("profile waits for the seat gong")),
        "{warnings:?}"
    );
    assert_ne!(found[0].settings, found[1].settings);
    let (basic, _) = assigned("set: { level: { from: custom.Level__c, default: basic } }\n").unwrap();
    assert_eq!(
        (basic.len(), basic[0].filter.is_none(), basic[0].rows.len()),
        (1, true, 1)
    );
}

#[test]
fn fields_of_the_source_decide_about_settings() {
    let user = &mut crate::logic::testing::person(1).user;
    for (field, value) in [
        ("Seat__c", "gong"),
        ("Profile__c", "AE"),
        ("Main__c", "Member"),
        ("Calls__c", "on"),
    ] {
        user.custom.insert(field.to_owned(), value.into());
    }
    let text = format!(
        "{GOOD}settings:\n  seats: {{ attribute: 'entitlements[type eq \"seat\"].value' }}\n  \
         profile: {{ attribute: 'roles[primary eq \"True\"].value', needs: gong }}\n  \
         workspaces: {{ attribute: 'roles[type eq \"{{key}}\"].value' }}\n  \
         dataCapture: {{ attribute: 'roles[display eq \"{{key}}\"].value', capture: true }}\n\
         set: {{ seats: {{ from: custom.Seat__c }}, profile: {{ from: custom.Profile__c }}, \
         workspaces: {{ Main: {{ from: custom.Main__c }} }}, dataCapture: {{ calls: {{ from: custom.Calls__c }} }} }}\n"
    );
    let policy = read(&[("policy/helpdesk.yaml", &text)]).unwrap_or_else(|error| panic!("{error}"));
    let target = &policy.targets.values().next().unwrap().policy;
    let assignment = &target.assignments[0];
    assert_eq!(
        assignment.pending,
        Vec::<String>::new(),
        "which seat it is decides the field"
    );
    for (path, value) in [
        (r#"entitlements[type eq "seat"].value"#, "gong"),
        (r#"roles[primary eq true].value"#, "AE"),
        (r#"roles[type eq "Main"].value"#, "Member"),
        (r#"roles[display eq "calls"].value"#, "on"),
    ] {
        let row = assignment.rows.iter().find(|row| row.path.0 == path);
        let row = row.unwrap_or_else(|| panic!("{path}: {:#?}", assignment.rows));
        assert_eq!(
            crate::logic::map::value_of(user, row, target),
            Some(value.into()),
            "{path}"
        );
    }
    let captured: Vec<&str> = assignment.capture.iter().map(|path| path.0.as_str()).collect();
    assert_eq!(captured, [r#"roles[display eq "calls"].value"#]);
}

#[test]
fn a_setting_takes_effect_as_soon_as_its_seat_is_granted() {
    let of = |seats: &str| {
        let set = format!("assignments: [{{ name: a, filter: all, set: {{ seats: [{seats}], profile: AE }} }}]\n");
        let (found, warnings) = assigned(&set).unwrap();
        let about = warnings
            .iter()
            .filter(|warning| warning.contains("has no effect"))
            .count();
        (found[0].clone(), about)
    };
    let profile = |assignment: &crate::logic::assignments::Assignment| {
        let is = |row: &&crate::logic::policy::AttributeRule| row.path.0.starts_with("roles[primary");
        assignment.rows.iter().find(is).map(|row| format!("{:?}", row.source))
    };
    let (without, warned) = of("engage");
    assert_eq!((profile(&without), without.pending.len(), warned), (None, 1, 1));
    let (with, warned) = of("engage, gong");
    assert!(
        profile(&with).is_some_and(|source| source.contains("AE")),
        "{:#?}",
        with.rows
    );
    assert_eq!((with.pending.len(), warned), (0, 0));
    assert_ne!(
        with.settings, without.settings,
        "the settings are other ones: they are written"
    );
}

#[test]
fn what_is_wrong_with_assignments_is_said_where_it_stands() {
    for (text, words) in [
        ("assignments: []", "an empty list would leave everybody out"),
        (
            "assignments: [{ name: a, filter: all }]\nset: { level: x }",
            "stands beside assignments",
        ),
        (
            "assignments: [{ name: a, filter: all }, { name: A, filter: all }]",
            "no other assignment",
        ),
        (
            "assignments: [{ name: a, filter: all }, { name: b, filter: all }]",
            "it goes last",
        ),
        ("assignments: [{ name: a, filter: \"Profil.Name = 'x'\" }]", "Profil"),
        (
            "assignments: [{ name: a, filter: all, set: { levle: x } }]",
            "did you mean `level`?",
        ),
        (
            "assignments: [{ name: a, filter: all, set: { level: [x] } }]",
            "must be a text, a number, true/false, or a row",
        ),
        (
            "assignments: [{ name: a, filter: all, set: { seats: x } }]",
            "must be a list of texts",
        ),
        (
            "assignments: [{ name: a, filter: all, set: { workspaces: x } }]",
            "must be a map of names to values",
        ),
        (
            "assignments: [{ name: a, filter: all, set: { level: { from: titel } } }]",
            "did you mean `title`?",
        ),
        (
            "assignments: [{ name: a, filter: all, set: { level: { from: title, write: onCreate } } }]",
            "say updates: manual",
        ),
        (
            "assignments: [{ name: a, filter: all, updates: sometimes }]",
            "unknown variant",
        ),
        (
            "assignments: [{ name: a, filter: all, updates: manual, applyOnChange: true }]",
            "has no use with updates: manual",
        ),
        ("set: { level: x }\nattributes2: {}", "unknown key"),
    ] {
        let found = assigned(&format!("{text}\n")).unwrap_err();
        assert!(
            found
                .iter()
                .any(|problem| problem.contains(words) && problem.contains("helpdesk.yaml:")),
            "{text}: {found:#?}"
        );
    }
    let doubled = format!("{GOOD}settings: {{ job: {{ attribute: title }} }}\nset: {{ job: x }}\n");
    assert!(problems(&doubled)[0].contains("is written for everybody by a row of attributes"));
}

#[test]
fn the_hierarchy_can_be_left_to_the_application_and_taken_back_at_any_time() {
    let rows = |organization: &str| {
        let policy = read(&[("policy/helpdesk.yaml", &format!("{GOOD}{organization}"))]).unwrap();
        let target = &policy.targets.values().next().unwrap().policy;
        let managed = |rule: &crate::logic::policy::AttributeRule| rule.path.0.ends_with("manager.value");
        (
            target.attributes.iter().any(managed),
            target.hash,
            policy
                .warnings
                .iter()
                .filter(|warning| warning.contains("organization.managers"))
                .count(),
        )
    };
    let assigned = format!("{SETTINGS}assignments: [{{ name: a, filter: all, set: {{ level: x }} }}]\n");
    // With one set of settings for all, and with assignments: the option is the target's.
    for track in ["", assigned.as_str()] {
        let (with, ignoring) = (
            rows(track),
            rows(&format!("{track}organization: {{ managers: false }}\n")),
        );
        assert!(with.0 && !ignoring.0, "{track}");
        assert_eq!((with.2, ignoring.2), (0, 1), "an option that is on is said");
        assert!(rows(&format!("{track}organization: {{ managers: true }}\n")).0);
        assert_ne!(with.1, ignoring.1, "everybody is planned again");
    }
}

#[test]
fn capture_is_left_to_managers_where_the_policy_says_so() {
    let capture = |organization: &str| {
        let text = format!(
            "{GOOD}settings: {{ calls: {{ attribute: nickName, capture: true }}, level: {{ attribute: costCenter }} }}\n\
             set: {{ calls: 'on', level: {{ from: department }} }}\n{organization}"
        )
        .replace("costCenter", "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:costCenter");
        let policy = read(&[("policy/helpdesk.yaml", &text)]).unwrap_or_else(|error| panic!("{error}"));
        let target = &policy.targets.values().next().unwrap().policy;
        let write = |end: &str| {
            target.assignments[0]
                .rows
                .iter()
                .find(|row| row.path.0.ends_with(end))
                .unwrap()
                .write
        };
        (write("nickName"), write("costCenter"))
    };
    assert_eq!(capture(""), (Write::Always, Write::Always));
    assert_eq!(
        capture("organization: { managersControlCapture: true }\n"),
        (Write::OnCreate, Write::Always)
    );
}
