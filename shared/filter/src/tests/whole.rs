//! Whole queries, what a filter reads, printing, and what no text may do.

use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::{
    rules::{Table, key},
    *,
};

fn parse(text: &str) -> Filter {
    Filter::parse(text, &Fields::default()).unwrap_or_else(|error| panic!("{}", error.render(text)))
}

#[test]
fn a_whole_query_says_the_same_as_its_condition() {
    let condition = "IsActive = true AND Title = 'x'";
    for query in [
        "SELECT Id FROM User WHERE IsActive = true AND Title = 'x'",
        "select Id, Manager.Email, Profile.Name from user where isActive = TRUE and Title = 'x'",
        "SELECT Id, (SELECT Id FROM Cases WHERE Subject = 'FROM'), toLabel(UserType) FROM User WHERE IsActive = true AND Title = 'x'",
        "SELECT COUNT() FROM User WHERE IsActive = true AND Title = 'x'",
        "\u{feff}SELECT\tu.Id\r\nFROM User u\nWHERE (IsActive = true)\u{a0}AND (Title = 'x')\n",
        "WHERE IsActive = true AND Title = 'x'",
        "((IsActive = true AND ((Title = 'x'))))",
    ] {
        let (query, condition) = (parse(query), parse(condition));
        assert_eq!(query.to_string().to_lowercase(), condition.to_string().to_lowercase());
        assert!(query.notes().is_empty());
    }
    let aliased = parse("SELECT u.Id FROM User AS u WHERE u.IsActive = true AND u.Manager.Email != null");
    assert_eq!(
        aliased.reads(),
        parse("IsActive = true AND Manager.Email != null").reads()
    );
}

#[test]
fn an_order_is_passed_over_and_that_is_said() {
    let filter = parse("SELECT Id FROM User WHERE IsActive = true ORDER BY LastName DESC NULLS LAST, Manager.Name");
    assert_eq!(
        filter.notes(),
        ["ORDER BY has no effect: a filter says who belongs, not in which order"]
    );
    assert_eq!(filter.to_string(), "IsActive = true");
}

#[test]
fn a_filter_says_what_it_reads() {
    let reads = parse(
        "Department = 'x' AND Manager.Manager.Profile.Name = 'y' AND Badge__c = 'z' AND CreatedDate = LAST_N_DAYS:3 \
         AND Id IN (SELECT UserOrGroupId FROM GroupMember WHERE Group.Name = 'g')",
    )
    .reads();
    let fields: Vec<&str> = reads.fields.iter().map(String::as_str).collect();
    assert_eq!(
        fields,
        [
            "createdAt",
            "custom.Badge__c",
            "department",
            "groups",
            "manager.manager.profile.name",
            "manager.managerId",
            "managerId",
        ]
    );
    assert_eq!((reads.managers, reads.time), (2, true));
    let plain = parse("Title = 'x' AND Manager.Id != null").reads();
    assert_eq!((plain.managers, plain.time), (0, false));
}

#[test]
fn a_filter_is_printed_with_the_parentheses_that_it_needs() {
    for (written, printed) in [
        ("title='x'", "title = 'x'"),
        (
            "(a__c=1 and b__c<>2)or(not c__c>=3)",
            "(a__c = 1 AND b__c != 2) OR (NOT c__c >= 3)",
        ),
        ("NOT(NOT(Title='x'))", "NOT (NOT Title = 'x')"),
        (r"Title in('a','it\'s')", r"Title IN ('a', 'it\'s')"),
        ("a__c includes('x;y','z')", "a__c INCLUDES ('x;y', 'z')"),
        ("CreatedDate>last_n_days:3", "CreatedDate > LAST_N_DAYS:3"),
        (
            "id not in(select AssigneeId from PermissionSetAssignment where PermissionSet.Label like 'x%')",
            "id NOT IN (SELECT AssigneeId FROM PermissionSetAssignment WHERE PermissionSet.Label LIKE 'x%')",
        ),
    ] {
        assert_eq!(parse(written).to_string(), printed);
        assert_eq!(parse(printed), parse(written));
    }
}

/// Texts of filters that are valid, of every construct.
fn valid() -> impl Strategy<Value = String> {
    let field = prop::sample::select(vec![
        "Title",
        "Manager.Email",
        "profile.name",
        "Badge__c",
        "Manager.Manager.X__c",
    ]);
    let text = prop::sample::select(vec!["'a'", r"'it\'s'", r"'\u00e9\n'", "''", "null", "'a%b_'"]);
    let date = prop::sample::select(vec!["CreatedDate", "Manager.LastModifiedDate", "Start__c"]);
    let moment = prop::sample::select(vec!["TODAY", "LAST_N_DAYS:30", "NEXT_N_FISCAL_QUARTERS:2", "this_week"]);
    let order = prop::sample::select(vec!["=", "!=", "<>", "<", "<=", ">", ">="]);
    let leaf = prop_oneof![
        (field.clone(), prop::sample::select(vec!["=", "!=", "<>"]), text.clone())
            .prop_map(|(field, operator, text)| format!("{field} {operator} {text}")),
        (field.clone(), "[a-z%_]{0,5}").prop_map(|(field, pattern)| format!("{field} LIKE '{pattern}'")),
        (
            field,
            prop::sample::select(vec!["IN", "NOT IN"]),
            prop::collection::vec(text, 1..4)
        )
            .prop_map(|(field, operator, texts)| format!("{field} {operator} ({})", texts.join(","))),
        (date, order.clone(), moment).prop_map(|(field, operator, value)| format!("{field}{operator}{value}")),
        (order, -100..100).prop_map(|(operator, number)| format!("Level__c {operator} {number}.5")),
        Just("terminationDate >= 2026-01-31".to_owned()),
        Just("CreatedDate < 2026-01-31T10:00:00.5+02:00".to_owned()),
        Just("IsActive = true".to_owned()),
        Just("Skills__c EXCLUDES ('a;b', 'c')".to_owned()),
        Just("ManagerId IN ('0055f0000000001', '0055f0000000002AAA')".to_owned()),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(") AND ("))),
            prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(") OR ("))),
            inner.prop_map(|inner| format!("NOT ({inner})")),
        ]
    })
}

/// Evaluates with nothing known, so that every comparison is reached.
fn judge(filter: &Filter) {
    let clock = Clock::new("2026-03-11T09:00:00Z".parse().unwrap(), TimeZone::UTC);
    let user = User::unknown(key(1));
    let _ = filter.evaluate(&user, &Table::default(), &clock);
    let _ = filter.unknowns(&user, &Table::default(), &clock);
    let _ = filter.next_change(&user, &Table::default(), &clock);
    let _ = filter.reads();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8 * ProptestConfig::default().cases, ..ProptestConfig::default() })]

    #[test]
    fn what_is_printed_is_parsed_to_the_same(text in valid()) {
        let filter = parse(&text);
        let printed = filter.to_string();
        prop_assert_eq!(&parse(&printed), &filter, "{}", printed);
        prop_assert_eq!(parse(&printed).to_string(), printed);
        judge(&filter);
    }

    #[test]
    fn no_text_does_harm(text in any::<String>()) {
        if let Err(error) = Filter::parse(&text, &Fields::default()) {
            prop_assert!(!error.render(&text).is_empty());
        }
    }

    /// Words, signs and values of the language in any order.
    #[test]
    fn no_order_of_words_does_harm(words in prop::collection::vec(prop::sample::select(vec![
        "SELECT", "FROM", "User", "WHERE", "AND", "OR", "NOT", "IN", "LIKE", "INCLUDES", "(", ")", ",", "=", "!=", "<", ":",
        "'", "'a'", "\"", "\\", "3", "-", "2026-01-31", "2026-01-31T00:00:00Z", "TODAY", "LAST_N_DAYS:3", "null", "true",
        "Title", "Manager.Email", "X__c", "Id", "GroupMember", "UserOrGroupId", "Group.Name", "ORDER", "BY", "é", "😀", "",
    ]), 0..24)) {
        for text in [words.join(" "), words.concat()] {
            match Filter::parse(&text, &Fields::default()) {
                Ok(filter) => judge(&filter),
                Err(error) => prop_assert!(text.get(error.span.clone()).is_some() || error.span.start >= text.len(), "{}", text),
            }
        }
    }

    /// Valid filters with some characters changed, left out or doubled.
    #[test]
    fn no_slip_does_harm(text in valid(), slips in prop::collection::vec((any::<prop::sample::Index>(), any::<char>(), 0..4_u8), 1..5)) {
        let mut letters: Vec<char> = text.chars().collect();
        for (place, letter, how) in slips {
            let place = place.index(letters.len());
            match how {
                0 => letters[place] = letter,
                1 => letters.insert(place, letter),
                2 => letters.insert(place, letters[place]),
                _ if letters.len() > 1 => { letters.remove(place); }
                _ => {}
            }
        }
        let text: String = letters.into_iter().collect();
        match Filter::parse(&text, &Fields::default()) {
            Ok(filter) => judge(&filter),
            Err(error) => prop_assert!(error.render(&text).contains('^')),
        }
    }
}

/// The worst texts that there is room for come to an end: nothing looks back again and again. The bound is no speed, only the
/// difference between an end and none.
#[test]
#[expect(clippy::disallowed_methods, reason = "how long something takes is what is tested")]
fn the_worst_texts_come_to_an_end() {
    let room = 99_000;
    let fill = |piece: &str| piece.repeat(room / piece.len());
    let texts = [
        fill("("),
        fill("NOT "),
        fill("(NOT "),
        fill("'"),
        fill("\\"),
        fill("a."),
        fill("1-"),
        fill("Id IN (SELECT "),
        fill("\u{e9}"),
        format!("SELECT {}", fill("(")),
        format!("Title = '{}'", "\\n".repeat(4_000)),
        format!("Title IN ('a'{})", ",'a'".repeat(20_000)),
        format!("Title LIKE '{}'", "%a".repeat(2_000)),
        format!("{} = 1", "x".repeat(room)),
    ];
    for text in texts {
        let began = Instant::now();
        let shown = match Filter::parse(&text, &Fields::default()) {
            Ok(filter) => {
                judge(&filter);
                filter.to_string()
            }
            Err(error) => error.render(&text),
        };
        let short: String = text.chars().take(20).collect();
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "{short}: {:?}",
            began.elapsed()
        );
        assert!(shown.len() <= 3 * 100_000);
    }
}

/// A pattern with many `%` against a long text that almost fits.
#[test]
#[expect(clippy::disallowed_methods, reason = "how long something takes is what is tested")]
fn the_worst_pattern_ends_soon() {
    let filter = parse(&format!("Title LIKE '{}b'", "%a_".repeat(1_300)));
    let title = usher_contract::Known::Value("a".repeat(10_000));
    let user = User {
        title,
        ..User::unknown(key(1))
    };
    let clock = Clock::new("2026-03-11T09:00:00Z".parse().unwrap(), TimeZone::UTC);
    let began = Instant::now();
    assert_eq!(filter.evaluate(&user, &(), &clock), Truth::False);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
