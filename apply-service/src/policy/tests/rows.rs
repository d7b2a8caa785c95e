//! The rows of the mapping, and what stands in outcomes of them.

use super::*;

#[test]
fn attributes_are_checked_against_the_connector() {
    for (row, words) in [
        ("nosuch: { from: title }", "nosuch"),
        ("active: { constant: true }", "is written by Usher itself"),
        ("nickName: { from: title, constant: x }", "needs exactly one of"),
        ("nickName: { template: x }", "names no field"),
        ("nickName: { from: 7 }", "expected the name of a field"),
        ("nickName: { from: title, whenBlank: drop }", "unknown variant `drop`"),
        ("userName: { drop: true }", "userName cannot be dropped"),
        (
            "nickName: { constant: 17 }",
            "`17` is a text at this application; write \"17\"",
        ),
        (
            "nickName: { from: title, map: { Sales: true } }",
            "`true` is a text at this application",
        ),
        (
            "'emails[type eq \"work\"].primary': { constant: 'no' }",
            "is true or false at this application",
        ),
        (
            "'emails[type eq \"work\"].primary': { from: [custom.Main__c, department] }",
            "`department` never says either; translate it with map",
        ),
    ] {
        let text = GOOD.replace("  timezone: { drop: true }", &format!("  {row}"));
        let found = problems(&text);
        assert!(
            found
                .iter()
                .any(|problem| problem.contains(words) && problem.contains(":14:")),
            "{row}: {found:#?}"
        );
    }
}

#[test]
fn values_in_outcomes_are_named_by_rows_and_warned_about() {
    let recorded = format!("{GOOD}outcomes: {{ values: [title, userType] }}\n");
    let policy = read(&[("policy/helpdesk.yaml", &recorded)]).unwrap();
    let target = &policy.targets.values().next().unwrap().policy;
    assert_eq!(target.recorded.len(), 2);
    assert!(
        policy
            .warnings
            .iter()
            .any(|warning| warning.contains("topic of outcomes"))
    );
    let found = problems(&recorded.replace("[title, userType]", "[titel, userType]"));
    assert!(
        found[0].contains("no row of attributes writes `titel`; did you mean `title`?"),
        "{found:#?}"
    );
    assert!(
        read(&[("policy/helpdesk.yaml", GOOD)])
            .unwrap()
            .targets
            .values()
            .all(|target| target.policy.recorded.is_empty())
    );
}

#[test]
fn what_may_be_true_or_false_is_taken_where_that_is_held() {
    for source in [
        "from: custom.Main__c",
        "from: active",
        "from: department, map: { Sales: true }, default: false",
        "template: \"{% if title %}true{% else %}false{% endif %}\"",
    ] {
        let row = format!("  'emails[type eq \"work\"].primary': {{ {source} }}");
        let text = GOOD.replace("  timezone: { drop: true }", &row);
        read(&[("policy/helpdesk.yaml", &text)]).unwrap_or_else(|error| panic!("{source}: {error}"));
    }
}

#[test]
fn templates_and_value_maps_are_checked_when_the_file_is_read() {
    let rows = |rows: &str| GOOD.replace("attributes:\n", &format!("attributes:\n{rows}"));
    let good = rows(
        "  displayName: { template: \"{{ givenName }} {{ familyName | upper }}\" }\n  nickName: { from: department, map: { Sales: seller, \"Sales Ops\": ops }, default: other }\n",
    );
    let policy = read(&[("policy/helpdesk.yaml", &good)]).unwrap();
    let target = &policy.targets.values().next().unwrap().policy;
    let row = |path: &str| target.attributes.iter().find(|rule| rule.path.0 == path).unwrap();
    assert!(matches!(&row("displayName").source, ValueSource::Template(template) if template.fields().len() == 2));
    assert_eq!(row("displayName").row, "policy/helpdesk.yaml:11");
    assert_eq!(row("name.familyName").row, "preset");
    assert_eq!(row("nickName").values.values.len(), 2);
    for (wrong, place, words) in [
        (
            "displayName: { template: \"{{ givenNam }}\" }",
            ":11:18: attributes.displayName.template",
            "did you mean `givenName`?",
        ),
        (
            "displayName: { template: \"{{ givenName | shout }}\" }",
            ":11:18",
            "filters are lower",
        ),
        ("displayName: { template: \"{{ givenName\" }", ":11:18", "line 1"),
        (
            "displayName: { template: x, from: title }",
            ":11:3",
            "needs exactly one of from, constant, template and drop",
        ),
        ("nickName: { from: title, map: { A: x, a: y } }", ":11:", "stands twice"),
        (
            "nickName: { from: title, map: { A: [x] } }",
            ":11:",
            "must be a text, a number or true/false",
        ),
        (
            "nickName: { constant: x, default: z }",
            ":11:",
            "have no use with a constant",
        ),
    ] {
        let found = problems(&rows(&format!("  {wrong}\n")));
        assert!(
            found[0].contains(place) && found[0].contains(words),
            "{wrong}: {found:#?}"
        );
    }
}
