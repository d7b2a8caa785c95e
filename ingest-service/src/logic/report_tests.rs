//! Tests of what a report must be like, and of reading it page by page.

use serde_json::json;
use usher_contract::UserId;

use super::*;
use crate::logic::normalize::RawUser;

#[path = "report_paging_tests.rs"]
mod paging;

const COLUMNS: &[(&str, &str)] = &[
    ("USERS.ID", "User.Id"),
    ("USERS.FIRST_NAME", "User.FirstName"),
    ("USERS.LAST_NAME", "User.LastName"),
    ("USERS.EMAIL", "User.Email"),
    ("USERS.ACTIVE", "User.IsActive"),
    ("USERS.TIME_ZONE", "User.TimeZoneSidKey"),
];

fn describe(columns: &[(&str, &str)], change: impl Fn(&mut Value)) -> Value {
    let info: serde_json::Map<String, Value> = columns
        .iter()
        .map(|(name, entity)| {
            let info = json!({ "entityColumnName": entity, "filterable": true });
            ((*name).to_owned(), info)
        })
        .collect();
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let mut describe = json!({
        "reportMetadata": { "name": "All Users", "reportFormat": "TABULAR", "detailColumns": names, "reportFilters": [],
                            "reportBooleanFilter": null, "reportType": { "type": "UserList", "label": "Users" },
                            "scope": "organization", "crossFilters": [], "standardFilters": null, "topRows": null,
                            "standardDateFilter": { "column": "CREATED_DATE", "startDate": null, "endDate": null } },
        "reportExtendedMetadata": { "detailColumnInfo": info },
        "reportTypeMetadata": { "categories": [{ "columns": { "HIDDEN_ACTIVE": { "entityColumnName": "User.IsActive" } } }] } });
    change(&mut describe);
    describe
}

fn shape(columns: &[(&str, &str)], change: impl Fn(&mut Value)) -> Result<ReportShape, Vec<ReportError>> {
    ReportShape::try_new(&describe(columns, change), &BTreeMap::new())
}

fn row(id: &str, active: bool) -> Value {
    let cells = [
        json!(id),
        json!("Ada"),
        json!("Byron"),
        json!("a@b"),
        json!(active),
        json!("Europe/London"),
    ];
    json!({ "dataCells": cells.iter().map(|value| json!({ "label": "localized", "value": value })).collect::<Vec<_>>() })
}

/// An answer with the columns that the row function has.
fn answer(all_data: bool, rows: &[Value]) -> Value {
    let names: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
    json!({ "allData": all_data, "factMap": { "T!T": { "rows": rows } },
            "reportMetadata": { "reportFormat": "TABULAR", "detailColumns": names, "reportFilters": [] } })
}

fn id(number: u32) -> String {
    format!("005{number:012}")
}

fn pages() -> Pages {
    Pages::new(shape(COLUMNS, |_| {}).unwrap())
}

fn ids(rows: &[(UserId, RawUser)]) -> Vec<String> {
    rows.iter().map(|(id, _)| id.as_str()[..15].to_owned()).collect()
}

#[test]
fn values_are_read_by_position_and_ids_become_18_characters() {
    let mut pages = pages();
    let rows = pages.take(&answer(true, &[row("005ZL000000M0x1", false)])).unwrap();
    let (id, raw) = &rows[0];
    assert_eq!(id.as_str(), "005ZL000000M0x1YAC");
    assert_eq!((&raw["IsActive"], &raw["Email"]), (&json!(false), &json!("a@b")));
    assert!(!raw.contains_key("Department"), "a report speaks only for its columns");
    assert!(pages.done() && pages.rows() == 1 && !pages.describes_again());
}

#[test]
fn every_missing_column_is_named() {
    for missing in 0..COLUMNS.len() {
        let mut columns = COLUMNS.to_vec();
        columns.remove(missing);
        let errors = shape(&columns, |_| {}).unwrap_err();
        let shown: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let labels = ["User ID", "First Name", "Last Name", "Email", "Active", "Time Zone"];
        assert_eq!(shown.len(), 1, "{shown:?}");
        assert!(
            shown[0].contains(&format!("lacks the column {}", labels[missing])),
            "{shown:?}"
        );
    }
}

#[test]
fn a_report_that_lacks_several_columns_is_told_all_of_them() {
    let errors = shape(&COLUMNS[..2], |_| {}).unwrap_err();
    let shown: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let all = shown.join("\n");
    assert_eq!(shown.len(), 4, "{all}");
    for label in ["Last Name", "Email", "Active", "Time Zone"] {
        assert!(all.contains(&format!("lacks the column {label};")), "{all}");
    }
}

#[test]
fn a_column_may_be_named_in_the_configuration() {
    let mut columns = COLUMNS.to_vec();
    columns[5] = ("TZ", "");
    assert!(shape(&columns, |_| {}).is_err());
    let configured = BTreeMap::from([("TimeZoneSidKey".to_owned(), "TZ".to_owned())]);
    assert!(ReportShape::try_new(&describe(&columns, |_| {}), &configured).is_ok());
}

#[test]
fn reports_that_hide_or_repeat_people_are_refused_with_the_way_out() {
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 9] = [
        (|m| m["reportFormat"] = json!("SUMMARY"), "change the format to Tabular"),
        (
            |m| m["reportFormat"] = json!("MULTI_BLOCK"),
            "change the format to Tabular",
        ),
        (
            |m| m["reportFilters"] = json!([{"column": "USERS.ACTIVE", "operator": "equals", "value": "True"}]),
            "filters on the column Active",
        ),
        (
            |m| m["reportFilters"] = json!([{"column": "HIDDEN_ACTIVE", "operator": "equals", "value": "1"}]),
            "filters on the column Active",
        ),
        (|m| m["scope"] = json!("activeUsers"), "the scope \"activeUsers\" only"),
        (|m| m["scope"] = json!("mine"), "the scope \"mine\" only"),
        (
            |m| m["standardFilters"] = json!([{"name": "show", "value": "Active Users"}]),
            "inactive users must be in it",
        ),
        (
            |m| m["topRows"] = json!({"rowLimit": 50, "direction": "Asc"}),
            "a row limit of 50; remove it",
        ),
        (
            |m| m["crossFilters"] = json!([{"primaryEntityField": "Id", "relatedEntity": "Case"}]),
            "has a cross filter; remove it",
        ),
    ];
    for (change, words) in cases {
        let errors = shape(COLUMNS, |describe| change(&mut describe["reportMetadata"])).unwrap_err();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].to_string().contains(words), "{words} in {}", errors[0]);
    }
    let leads = shape(&[("LEAD.NAME", "Lead.Name")], |d| {
        d["reportMetadata"]["reportType"]["label"] = json!("Leads")
    })
    .unwrap_err();
    assert_eq!(leads, [ReportError::NotUsers("All Users".into(), "Leads".into())]);
}

#[test]
fn what_only_may_hide_people_is_said() {
    assert_eq!(shape(COLUMNS, |_| {}).unwrap().warnings(), [""; 0]);
    let shape = shape(COLUMNS, |describe| {
        let metadata = &mut describe["reportMetadata"];
        metadata["scope"] = json!("territory");
        metadata["standardFilters"] = json!([{"name": "show", "value": "all"}, {"name": "region", "value": "EMEA"}]);
        metadata["standardDateFilter"]["startDate"] = json!("2026-01-01");
    })
    .unwrap();
    assert_eq!(shape.warnings().len(), 3, "{:?}", shape.warnings());
}

#[test]
fn pages_begin_with_the_last_value_and_keep_the_reports_own_filters() {
    let change = |d: &mut Value| {
        d["reportMetadata"]["reportFilters"] = json!([{"column": "USERS.EMAIL", "operator": "contains", "value": "@"}]);
        d["reportMetadata"]["reportBooleanFilter"] = json!("1");
    };
    let mut pages = Pages::new(shape(COLUMNS, change).unwrap());
    let sorted = json!([{"sortColumn": "USERS.ID", "sortOrder": "Asc"}]);
    assert_eq!(pages.body(), json!({"reportMetadata": {"sortBy": sorted}}));
    let mut first = answer(false, &[row("005ZL000000M0x0", true), row("005ZL000000M0x1", true)]);
    change(&mut first);
    pages.take(&first).unwrap();
    let body = pages.body();
    assert_eq!(body["reportMetadata"]["reportBooleanFilter"], "(1) AND 2");
    assert_eq!(
        body["reportMetadata"]["reportFilters"][1],
        json!({"column": "USERS.ID", "operator": "greaterOrEqual", "value": "005ZL000000M0x1"}),
        "as the org wrote it"
    );
}

#[test]
fn rows_that_come_again_are_dropped_and_the_last_page_ends_it() {
    let mut pages = pages();
    let rows = |numbers: &[u32]| numbers.iter().map(|number| row(&id(*number), true)).collect::<Vec<_>>();
    assert_eq!(
        ids(&pages.take(&answer(false, &rows(&[1, 2, 3]))).unwrap()),
        [id(1), id(2), id(3)]
    );
    assert_eq!(
        ids(&pages.take(&answer(false, &rows(&[3, 4, 5]))).unwrap()),
        [id(4), id(5)]
    );
    assert!(!pages.done());
    assert_eq!(ids(&pages.take(&answer(true, &rows(&[5]))).unwrap()), [""; 0]);
    assert_eq!((pages.done(), pages.rows(), pages.describes_again()), (true, 5, true));
}

/// A page with the count that the source says.
fn counted(all_data: bool, count: u64, numbers: &[u32]) -> Value {
    let rows: Vec<Value> = numbers.iter().map(|number| row(&id(*number), true)).collect();
    let mut answer = answer(all_data, &rows);
    answer["reportMetadata"]["aggregates"] = json!(["RowCount"]);
    answer["factMap"]["T!T"]["aggregates"] = json!([{"label": "x", "value": count}]);
    answer
}

#[test]
fn pages_that_do_not_join_up_are_refused() {
    for (second, why) in [
        // The filter knows another order than the sorting: what lies between is lost.
        (counted(true, 2, &[4, 5]), "not on the next one"),
        (counted(false, 9, &[1, 2, 3]), "out of order"),
        (counted(false, 9, &[3, 5, 4]), "not sorted"),
        (counted(false, 2, &[3, 4, 5]), "counts 2 rows and returns 3"),
        (counted(true, 4, &[3, 4, 5]), "counts 4 rows and returns 3"),
        // Six were counted from the third on; now they are three.
        (
            counted(true, 3, &[3, 4, 5]),
            "3 rows that were counted before have gone",
        ),
    ] {
        let mut pages = pages();
        pages.take(&counted(false, 8, &[1, 2, 3])).unwrap();
        let error = pages.take(&second).unwrap_err().to_string();
        assert!(error.contains("do not join up") && error.contains(why), "{error}");
    }
}

#[test]
fn ids_may_be_sorted_with_or_without_case_but_must_be_sorted() {
    let page = |ids: &[&str]| answer(true, &ids.iter().map(|id| row(id, true)).collect::<Vec<_>>());
    for (order, sorted) in [
        (["005ZL000000M0B1", "005ZL000000M0a1", "005ZL000000M0b1"], true),
        (["005ZL000000M0a1", "005ZL000000M0B1", "005ZL000000M0c1"], true),
        (["005ZL000000M0c1", "005ZL000000M0B1", "005ZL000000M0a1"], false),
    ] {
        assert_eq!(pages().take(&page(&order)).is_ok(), sorted, "{order:?}");
    }
}

#[test]
fn circles_end() {
    let mut pages = pages();
    pages.take(&counted(false, 9, &[1, 2, 3])).unwrap();
    let error = pages.take(&counted(false, 9, &[3])).unwrap_err();
    assert!(matches!(error, ReportError::Ties(..)), "{error}");
    // The same page again and again, without counts.
    let mut pages = self::pages();
    let page = answer(false, &[row(&id(1), true), row(&id(2), true)]);
    pages.take(&page).unwrap();
    assert!(pages.take(&page).is_err());
}

const BY_DATE: &[(&str, &str)] = &[
    ("USERS.ID", "User.Id"),
    ("USERS.FIRST_NAME", "User.FirstName"),
    ("USERS.LAST_NAME", "User.LastName"),
    ("USERS.EMAIL", "User.Email"),
    ("USERS.ACTIVE", "User.IsActive"),
    ("USERS.TIME_ZONE", "User.TimeZoneSidKey"),
    ("CREATED", "User.CreatedDate"),
];

/// A report whose ids cannot be filtered: it is paged by its created dates, one per minute named.
fn by_date(rows: &[(u32, u32)], all_data: bool) -> (Pages, Value) {
    let describe = describe(BY_DATE, |d| {
        d["reportExtendedMetadata"]["detailColumnInfo"]["USERS.ID"]["filterable"] = json!(false);
    });
    let pages = Pages::new(ReportShape::try_new(&describe, &BTreeMap::new()).unwrap());
    (pages, dated(rows, all_data))
}

fn dated(rows: &[(u32, u32)], all_data: bool) -> Value {
    let rows: Vec<Value> = rows
        .iter()
        .map(|(number, minute)| {
            let mut row = row(&id(*number), true);
            let cell = json!({"label": "heute", "value": format!("2026-01-02T03:{minute:02}:00Z")});
            row["dataCells"].as_array_mut().unwrap().push(cell);
            row
        })
        .collect();
    let mut answer = answer(all_data, &rows);
    answer["reportMetadata"]["detailColumns"] = json!(BY_DATE.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    answer
}

#[test]
fn values_that_several_people_share_lose_and_repeat_nobody() {
    let (mut pages, first) = by_date(&[(7, 1), (3, 2), (9, 2)], false);
    assert_eq!(ids(&pages.take(&first).unwrap()), [id(7), id(3), id(9)]);
    // Two more of the same minute were behind the cut, in whatever order.
    let second = dated(&[(1, 2), (9, 2), (3, 2), (4, 2), (2, 3)], true);
    assert_eq!(ids(&pages.take(&second).unwrap()), [id(1), id(4), id(2)]);
    assert_eq!(pages.rows(), 6);
}

#[test]
fn a_value_that_fills_a_page_stops_with_the_way_out() {
    for first in [&[(1, 2), (2, 2), (3, 2)][..], &[(1, 1), (2, 2), (3, 2)]] {
        let (mut pages, first) = by_date(first, false);
        let stopped = pages
            .take(&first)
            .and_then(|_| pages.take(&dated(&[(2, 2), (3, 2), (4, 2)], false)));
        let error = stopped.unwrap_err().to_string();
        assert!(error.contains("make User ID filterable"), "{error}");
    }
}

#[test]
fn a_report_that_changes_while_it_is_read_is_not_complete() {
    type Change = fn(&mut Value);
    let changes: [Change; 4] = [
        |page| page["reportMetadata"]["detailColumns"] = json!(["USERS.ID"]),
        |page| page["reportMetadata"]["reportFormat"] = json!("SUMMARY"),
        |page| {
            page["reportMetadata"]["reportFilters"] =
                json!([{"column": "USERS.EMAIL", "operator": "contains", "value": "@"}])
        },
        |page| page["reportMetadata"]["reportBooleanFilter"] = json!("1"),
    ];
    for change in changes {
        let mut page = answer(true, &[row(&id(1), true)]);
        change(&mut page);
        let error = pages().take(&page).unwrap_err();
        assert!(matches!(error, ReportError::Changed(..)), "{error}");
    }
    let pages = pages();
    assert!(
        pages
            .described_again(&describe(COLUMNS, |_| {}), &BTreeMap::new())
            .is_ok()
    );
    let edited = describe(COLUMNS, |d| {
        d["reportMetadata"]["reportFilters"] = json!([{"column": "USERS.EMAIL", "operator": "contains", "value": "@"}]);
    });
    assert!(pages.described_again(&edited, &BTreeMap::new()).is_err());
    let inactive = describe(COLUMNS, |d| d["reportMetadata"]["scope"] = json!("activeUsers"));
    assert!(pages.described_again(&inactive, &BTreeMap::new()).is_err());
}

#[test]
fn an_answer_of_another_form_proves_nothing() {
    type Change = fn(&mut Value);
    let changes: [Change; 5] = [
        |page| page["factMap"] = json!({}),
        |page| page["allData"] = Value::Null,
        |page| page["factMap"]["T!T"]["rows"][0] = json!({"dataCells": []}),
        |page| page["factMap"]["T!T"]["rows"][0]["dataCells"][0]["value"] = json!("Ada Byron"),
        // A report of another type repeats people.
        |page| page["factMap"]["T!T"]["rows"] = json!([row(&id(1), true), row(&id(1), true)]),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut page = answer(true, &[row(&id(1), true)]);
        assert!(pages().take(&page).is_ok());
        change(&mut page);
        assert!(pages().take(&page).is_err(), "{number}");
    }
}

#[test]
fn either_sign_of_a_cut_counts() {
    for (all, exceeded, cut) in [
        (json!(true), Value::Null, false),
        (json!(false), Value::Null, true),
        (Value::Null, json!(true), true),
        (Value::Null, json!(false), false),
        (json!(true), json!(true), true),
    ] {
        let mut page = answer(true, &[row(&id(1), true), row(&id(2), true)]);
        page["allData"] = all;
        page["hasExceededTabularRowLimit"] = exceeded;
        let mut pages = pages();
        pages.take(&page).unwrap();
        assert_eq!(pages.done(), !cut, "{page}");
    }
}

#[test]
fn a_cut_report_without_a_column_to_page_by_is_refused() {
    let describe = describe(COLUMNS, |d| {
        d["reportExtendedMetadata"]["detailColumnInfo"]["USERS.ID"]["filterable"] = json!(false);
    });
    let shape = ReportShape::try_new(&describe, &BTreeMap::new()).unwrap();
    let page = |all| answer(all, &[row(&id(1), true), row(&id(2), true)]);
    assert!(Pages::new(shape.clone()).take(&page(true)).is_ok());
    let error = Pages::new(shape).take(&page(false)).unwrap_err();
    assert!(matches!(error, ReportError::NoCursor(_)));
}
