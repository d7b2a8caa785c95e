//! Whatever is written as a template: what it does and the memory it takes are bounded where it is evaluated. A process of its
//! own, because the peak of its memory is looked at.

use std::cell::Cell;

use apply_service::logic::template::Template;
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use usher_contract::{Known, User, UserKey};

/// What came out at most, `OUTPUT_MAX`.
const OUTPUT_MAX: usize = 4_096;
/// By so much the peak may grow while thousands of templates are tried. What one of them may make is below a megabyte; a
/// single one that is not bounded asks for gigabytes.
const GROWTH_MAX_KIB: u64 = 96 * 1024;

/// The largest resident size of this process so far.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a peak");
    line.split_whitespace()
        .nth(1)
        .and_then(|number| number.parse().ok())
        .expect("kB")
}

fn user(long: usize) -> User {
    let key = UserKey::new(
        "00D000000000001EAA".parse().expect("an id"),
        "005000000000001AAA".parse().expect("an id"),
    );
    let mut user = User::unknown(key);
    let text = |text: &str| Known::Value(text.repeat(long));
    user.title = text("a;b, ");
    user.email = text("x@y");
    user.department = text("ß﷽");
    user
}

/// Expressions that try to grow.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("title".to_owned()),
        Just("email".to_owned()),
        Just("department".to_owned()),
        Just("'}}'".to_owned()),
        Just("'{# %} x'".to_owned()),
        Just("''".to_owned()),
        Just("'%255Y%255Y%255Y'".to_owned()),
        Just("'2027-01-31'".to_owned()),
        Just("[title, email]".to_owned()),
        Just("9".to_owned()),
        Just("1000000000".to_owned()),
    ];
    leaf.prop_recursive(6, 40, 3, |inner| {
        let two = (inner.clone(), inner.clone());
        prop_oneof![
            (
                two.clone(),
                prop_oneof![
                    Just("*"),
                    Just("~"),
                    Just("+"),
                    Just("**"),
                    Just("in"),
                    Just("=="),
                    Just("or")
                ]
            )
                .prop_map(|((left, right), operator)| format!("({left} {operator} {right})")),
            (inner.clone(), two.clone()).prop_map(|(text, (from, to))| format!("({text} | replace({from}, {to}))")),
            two.clone()
                .prop_map(|(text, by)| format!("({text} | split({by}) | join({text}))")),
            two.clone().prop_map(|(list, by)| format!("({list} | join({by}))")),
            two.clone()
                .prop_map(|(text, other)| format!("({text} | default({other}))")),
            two.prop_map(|(text, format)| format!("({text} | date_format({format}))")),
            (
                inner.clone(),
                prop_oneof![
                    Just("upper"),
                    Just("title"),
                    Just("slug"),
                    Just("ascii"),
                    Just("hash"),
                    Just("phone"),
                    Just("first")
                ]
            )
                .prop_map(|(text, filter)| format!("({text} | {filter})")),
            inner.clone().prop_map(|text| format!("({text})[::-1]")),
            (inner.clone(), inner).prop_map(|(text, other)| format!("({text} if title else {other})")),
        ]
    })
}

fn template() -> impl Strategy<Value = String> {
    prop_oneof![
        expression().prop_map(|one| format!("{{{{ {one} }}}}{{{{ title }}}}")),
        (expression(), expression())
            .prop_map(|(one, two)| format!("{{% if ({one}) == ({two}) %}}{{{{ email }}}}{{% endif %}}")),
        (expression(), expression()).prop_map(|(one, two)| format!(
            "{{% for c in {one} %}}{{% for d in {two} %}}{{{{ title }}}}{{% endfor %}}{{% endfor %}}"
        )),
        (expression(), expression()).prop_map(|(one, two)| format!(
            "{{% for c in {one} recursive %}}{{{{ loop({two}) }}}}{{{{ title }}}}{{% endfor %}}"
        )),
        "\\PC{0,60}",
    ]
}

#[test]
fn no_template_does_or_makes_more_than_it_may() {
    let people = [user(1), user(700), user(20_000)];
    // Everything that is only set up once is there.
    let warm = Template::parse("{{ title | upper }}").expect("a template");
    people.iter().for_each(|user| drop(warm.render(user)));
    let before = peak_kib();
    let config = Config {
        cases: 2_000,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let (rendered, refused) = (Cell::new(0), Cell::new(0));
    let count = |cell: &Cell<u32>| cell.set(cell.get() + 1);
    let result = runner.run(&template(), |text| {
        if let Ok(template) = Template::parse(&text) {
            for user in &people {
                match template.render(user) {
                    Ok(Ok(out)) => {
                        count(&rendered);
                        prop_assert!(out.len() <= OUTPUT_MAX, "{text}");
                    }
                    Ok(Err(_)) => {}
                    Err(_) => count(&refused),
                }
            }
        } else {
            count(&refused);
        }
        prop_assert!(
            peak_kib() - before < GROWTH_MAX_KIB,
            "{} KiB after {text}",
            peak_kib() - before
        );
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    let counts = (rendered.get(), refused.get());
    assert!(counts.0 > 100 && counts.1 > 100, "rendered and refused: {counts:?}");
}

/// Those that were made for it.
#[test]
fn what_is_hidden_from_a_look_at_the_text_is_bounded_all_the_same() {
    let people = [user(1), user(10_000)];
    for text in [
        "{{ '}}' * 2000000000 }}{{ title }}",
        "{{ \"}}\" ~ ('x' * 2000000000) }}{{ title }}",
        "{{ ('}}' * 1000) * 1000 }}{{ title }}",
        "{{ [title] * 2000000000 }}",
        "{{ ([title] * 100000) | join('xxxxxxxxxxxxxxxx') }}",
        "{{ title | replace('', 'x' * 300000) }}",
        "{{ title | replace('', title) | replace('', title) | replace('', title) }}",
        "{{ email | split('') | join(email) }}",
        "{{ '2027-01-31' | date_format('%255Y' * 2000) }}{{ title }}",
        "{% for a in title %}{% for b in title %}{% for c in title %}{% endfor %}{% endfor %}{% endfor %}{{ '}}' * 9 }}",
        "{% if title ~ title ~ title ~ title == 'x' * 500000 %}x{% endif %}{{ title }}",
        "{% for x in [title] recursive %}{{ loop([x ~ x]) }}{% endfor %}",
    ] {
        let before = peak_kib();
        let outcome = Template::parse(text).map(|template| {
            let of = |user| {
                template
                    .render(user)
                    .ok()
                    .and_then(Result::ok)
                    .map_or(0, |out| out.len())
            };
            people.iter().map(of).max()
        });
        if let Ok(Some(longest)) = outcome {
            assert!(longest <= OUTPUT_MAX, "{text}: {longest}");
        }
        let grown = peak_kib() - before;
        assert!(grown < GROWTH_MAX_KIB, "{text}: {grown} KiB");
    }
}
