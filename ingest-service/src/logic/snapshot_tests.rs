//! Tests of report shapes, paging and completeness.

use super::*;

const COLUMNS: &[(&str, &str)] = &[
    ("USERS.ID", "User.Id"),
    ("USERS.FIRST_NAME", "User.FirstName"),
    ("USERS.LAST_NAME", "User.LastName"),
    ("USERS.EMAIL", "User.Email"),
    ("USERS.ACTIVE", "User.IsActive"),
    ("USERS.TIME_ZONE", "User.TimeZoneSidKey"),
];

fn describe(columns: &[(&str, &str)], change: impl Fn(&mut Value)) -> Value {
    let info: Map<String, Value> = columns
        .iter()
        .map(|(name, entity)| {
            (
                (*name).to_owned(),
                json!({ "entityColumnName": entity, "filterable": true }),
            )
        })
        .collect();
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let mut describe = json!({
        "reportMetadata": { "name": "All Users", "reportFormat": "TABULAR", "detailColumns": names, "reportFilters": [],
                            "reportBooleanFilter": null, "reportType": { "type": "UserList", "label": "Users" } },
        "reportExtendedMetadata": { "detailColumnInfo": info } });
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

fn answer(all_data: bool, rows: &[Value]) -> Value {
    json!({ "allData": all_data, "factMap": { "T!T": { "rows": rows } } })
}

#[test]
fn values_are_read_by_position_and_ids_become_18_characters() {
    let page = shape(COLUMNS, |_| {})
        .unwrap()
        .read_page(&answer(true, &[row("005ZL000000M0x1", false)]))
        .unwrap();
    let (id, raw) = &page.rows[0];
    assert_eq!(id.as_str(), "005ZL000000M0x1YAC");
    assert_eq!((&raw["IsActive"], &raw["Email"]), (&json!(false), &json!("a@b")));
    assert!(!raw.contains_key("Department"), "a report speaks only for its columns");
    assert_eq!(page.next, None);
}

#[test]
fn every_missing_column_is_named() {
    let errors = shape(&COLUMNS[..4], |_| {}).unwrap_err();
    let missing: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(missing.len(), 2, "{missing:?}");
    assert!(missing[0].contains("lacks the column Active") && missing[1].contains("lacks the column Time Zone"));
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
fn grouped_foreign_and_filtered_reports_are_refused() {
    let grouped = shape(COLUMNS, |d| d["reportMetadata"]["reportFormat"] = json!("SUMMARY")).unwrap_err();
    assert!(matches!(grouped[..], [ReportError::NotTabular(..)]));
    let leads = shape(&[("LEAD.NAME", "Lead.Name")], |d| {
        d["reportMetadata"]["reportType"]["label"] = json!("Leads")
    })
    .unwrap_err();
    assert_eq!(leads, [ReportError::NotUsers("All Users".into(), "Leads".into())]);
    let active = shape(COLUMNS, |d| {
        d["reportMetadata"]["reportFilters"] =
            json!([{"column": "USERS.ACTIVE", "operator": "equals", "value": "True"}])
    });
    assert_eq!(active.unwrap_err(), [ReportError::FiltersActive("All Users".into())]);
}

#[test]
fn the_next_page_starts_after_the_last_value_and_keeps_the_reports_own_filters() {
    let shape = shape(COLUMNS, |d| {
        d["reportMetadata"]["reportFilters"] = json!([{"column": "USERS.EMAIL", "operator": "contains", "value": "@"}]);
        d["reportMetadata"]["reportBooleanFilter"] = json!("1");
    })
    .unwrap();
    assert_eq!(
        shape.run_body(None),
        json!({"reportMetadata": {"sortBy": [{"sortColumn": "USERS.ID", "sortOrder": "Asc"}]}})
    );
    let page = shape
        .read_page(&answer(false, &[row("005ZL000000M0x1", true)]))
        .unwrap();
    assert_eq!(page.next.as_deref(), Some("005ZL000000M0x1"), "as the org wrote it");
    let body = shape.run_body(page.next.as_deref());
    assert_eq!(body["reportMetadata"]["reportBooleanFilter"], "(1) AND 2");
    assert_eq!(
        body["reportMetadata"]["reportFilters"][1],
        json!({"column": "USERS.ID", "operator": "greaterThan", "value": "005ZL000000M0x1"})
    );
}

#[test]
fn pages_that_turn_in_circles_are_noticed() {
    let shape = shape(COLUMNS, |_| {}).unwrap();
    let page = shape
        .read_page(&answer(false, &[row("005ZL000000M0x1", true)]))
        .unwrap();
    let mut paging = Paging::default();
    paging.page("r", &page).unwrap();
    assert!(paging.page("r", &page).is_err());
}

#[test]
fn an_answer_of_another_form_proves_nothing() {
    let shape = shape(COLUMNS, |_| {}).unwrap();
    assert!(shape.read_page(&json!({"allData": true})).is_err());
    assert!(shape.read_page(&json!({"factMap": {"T!T": {"rows": []}}})).is_err());
    assert!(shape.read_page(&answer(true, &[json!({"dataCells": []})])).is_err());
}

#[test]
fn a_snapshot_is_complete_only_when_its_size_is_plausible() {
    assert!(complete(0, None).is_err());
    assert!(complete(100, None).is_ok());
    assert!(complete(80, Some(100)).is_ok());
    assert!(complete(79, Some(100)).is_err());
    assert!(complete(121, Some(100)).is_err());
}
