//! Mistakes word for word: `mistakes.txt` has for each what is written, what is marked, what is said and advised.

use super::*;

const TABLE: &str = include_str!("mistakes.txt");

#[test]
fn every_mistake_is_marked_and_explained() {
    let lines: Vec<&str> = TABLE.lines().collect();
    assert_eq!(lines.len() % 3, 0);
    for row in lines.chunks(3) {
        let [text, marked, told] = row else { unreachable!() };
        let error = Filter::parse(text, &Fields::default()).expect_err(text);
        let found = format!(
            "{text}\n    {}\n    {error}",
            text.get(error.span.clone()).unwrap_or_default()
        );
        assert_eq!(Some(marked.trim_start()), text.get(error.span.clone()), "{found}");
        assert_eq!(told.trim_start(), error.to_string(), "{found}");
    }
}

#[test]
fn what_is_too_much_is_refused() {
    let parse = |text: &str| Filter::parse(text, &Fields::default());
    let nested = |depth| format!("{}Title = 'x'{}", "(".repeat(depth), ")".repeat(depth));
    assert!(parse(&nested(50)).is_ok());
    assert_eq!(
        parse(&nested(51)).unwrap_err().message,
        "parentheses are nested more than 50 deep"
    );
    assert!(parse(&nested(40_000)).is_err());
    let chain = |terms| vec!["Title = 'x'"; terms].join(" OR ");
    assert!(parse(&chain(2_000)).is_ok());
    assert_eq!(
        parse(&chain(2_001)).unwrap_err().message,
        "2001 comparisons are more than the 2000 that a filter may have"
    );
    let long = |length: usize| format!("Title = 'x'{}", " ".repeat(length - 11));
    assert!(parse(&long(100_000)).is_ok());
    assert_eq!(
        parse(&long(100_001)).unwrap_err().message,
        "the filter is longer than 100000 characters"
    );
    let text = |length| format!("Title = '{}'", "é".repeat(length));
    assert!(parse(&text(4_000)).is_ok());
    assert_eq!(
        parse(&text(4_001)).unwrap_err().message,
        "the text is longer than 4000 characters"
    );
    assert!(parse("").unwrap_err().hint.contains("all"));
    let joins = ["Id IN (SELECT UserOrGroupId FROM GroupMember WHERE Group.Name = 'x')"; 3].join(" AND ");
    assert!(parse(&joins).unwrap_err().message.contains("two queries"));
}

#[test]
fn a_mistake_is_shown_with_a_caret() {
    let text = "IsActive = true AND\n  Departmnt = 'Sales'";
    let error = Filter::parse(text, &Fields::default()).unwrap_err();
    assert_eq!(
        error.render(text),
        "2:3: unknown field `Departmnt`; did you mean `Department`?\n  |   Departmnt = 'Sales'\n  |   ^^^^^^^^^"
    );
}
