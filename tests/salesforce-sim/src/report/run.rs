//! Runs a report: the first 2,000 rows and no more, `allData` telling the truth (vendor documentation).
//!
//! Labels are for people and localized; values are raw. Leaves out saving: ad-hoc changes never modify the report.

use serde_json::{Map, Value, json};

use super::{
    columns::{self, Column},
    definition::{ReportDefinition, ReportFilter, ReportFormat},
    filter::{self, Logic},
};
use crate::{
    clock,
    config::IdForm,
    error::SalesforceError,
    field::FieldKind,
    id,
    org::state::{Row, State},
    value::FieldValue,
};

fn refused(message: impl Into<String>) -> SalesforceError {
    SalesforceError::bad_request("BAD_REQUEST", message)
}

/// Applies the `reportMetadata` of a POST to a copy of the definition.
pub(crate) fn changed(
    mut definition: ReportDefinition,
    metadata: &Map<String, Value>,
) -> Result<ReportDefinition, SalesforceError> {
    let texts = |value: &Value| -> Option<Vec<String>> {
        value
            .as_array()?
            .iter()
            .map(|entry| entry.as_str().map(ToOwned::to_owned))
            .collect()
    };
    if let Some(columns) = metadata.get("detailColumns") {
        definition.columns = texts(columns).ok_or_else(|| refused("detailColumns is not a list of names."))?;
    }
    if let Some(filters) = metadata.get("reportFilters") {
        let filters = filters
            .as_array()
            .ok_or_else(|| refused("reportFilters is not a list."))?;
        if filters.len() > 20 {
            return Err(refused("You can't use more than 20 custom field filters."));
        }
        definition.filters = filters.iter().map(read_filter).collect::<Result<_, _>>()?;
        // A saved boolean filter does not fit another list of filters.
        if !metadata.contains_key("reportBooleanFilter") && definition.boolean_filter.is_some() {
            Logic::parse(definition.boolean_filter.as_deref(), definition.filters.len())?;
        }
    }
    if let Some(logic) = metadata.get("reportBooleanFilter") {
        definition.boolean_filter = logic.as_str().map(ToOwned::to_owned);
    }
    if let Some(sort) = metadata.get("sortBy").and_then(Value::as_array) {
        if sort.len() > 1 {
            return Err(refused("Only one sort column is allowed."));
        }
        definition.sort = sort.first().map(|entry| {
            let column = entry["sortColumn"].as_str().unwrap_or_default().to_owned();
            let descending = entry["sortOrder"]
                .as_str()
                .is_some_and(|order| order.eq_ignore_ascii_case("desc"));
            (column, descending)
        });
    }
    if let Some(limit) = metadata.get("topRows") {
        definition.row_limit = limit["rowLimit"].as_u64().and_then(|limit| usize::try_from(limit).ok());
    }
    Ok(definition)
}

fn read_filter(json: &Value) -> Result<ReportFilter, SalesforceError> {
    let text = |key: &str| json[key].as_str().map(ToOwned::to_owned);
    let value = match &json["value"] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match (text("column"), text("operator")) {
        (Some(column), Some(operator)) => Ok(ReportFilter {
            column,
            operator,
            value,
        }),
        _ => Err(refused("A report filter needs column and operator.")),
    }
}

/// The columns of a definition; one that no longer exists is an error of the run.
fn selected(definition: &ReportDefinition, known: &[Column]) -> Result<Vec<Column>, SalesforceError> {
    if definition.columns.len() > 100 {
        return Err(refused("The report can't have more than 100 columns."));
    }
    definition
        .columns
        .iter()
        .map(|name| {
            known
                .iter()
                .find(|column| column.name == *name)
                .cloned()
                .ok_or_else(|| refused(format!("The detail column {name} is invalid.")))
        })
        .collect()
}

/// The columns of the report's type. Those of other types have the same names here and show other records.
fn columns_of(state: &State, definition: &ReportDefinition) -> Vec<Column> {
    let mut known = columns::all(state);
    if definition.report_type != "User" {
        for column in &mut known {
            column.entity = column
                .entity
                .replacen("User.", &format!("{}.", definition.report_type), 1);
        }
    }
    known
}

/// `describe`: columns that no longer exist are dropped from the list, silently.
pub(crate) fn describe(state: &State, report_id: &str, definition: &ReportDefinition) -> Value {
    let known = columns_of(state, definition);
    let mut definition = definition.clone();
    definition
        .columns
        .retain(|name| known.iter().any(|column| column.name == *name));
    let shown: Vec<Column> = selected(&definition, &known).unwrap_or_default();
    let categories: Map<String, Value> = known
        .iter()
        .map(|column| (column.name.clone(), column.info()))
        .collect();
    json!({
        "attributes": attributes(report_id, &definition.name),
        "reportMetadata": definition.metadata(report_id),
        "reportExtendedMetadata": extended(&shown),
        "reportTypeMetadata": {
            "categories": [{"label": "User", "columns": categories}],
            "dataTypeFilterOperatorMap": {}, "standardFilterInfos": {}, "divisionInfo": {}, "scopeInfo": {},
        },
    })
}

fn attributes(report_id: &str, name: &str) -> Value {
    let base = format!("/services/data/v66.0/analytics/reports/{report_id}");
    json!({
        "type": "Report", "reportId": report_id, "reportName": name, "describeUrl": format!("{base}/describe"),
        "instancesUrl": format!("{base}/instances"),
    })
}

fn extended(shown: &[Column]) -> Value {
    let info: Map<String, Value> = shown
        .iter()
        .map(|column| (column.name.clone(), column.info()))
        .collect();
    json!({
        "detailColumnInfo": info,
        "aggregateColumnInfo": {"RowCount": {"label": "Record Count", "dataType": "int", "acrossGroupingContext": null, "downGroupingContext": null}},
        "groupingColumnInfo": {},
    })
}

/// How a run is shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Show {
    pub(crate) details: bool,
    pub(crate) rows_max: usize,
    pub(crate) ids: IdForm,
    pub(crate) localized: bool,
}

/// Runs the definition as it stands.
pub(crate) fn run(
    state: &State,
    report_id: &str,
    definition: &ReportDefinition,
    show: Show,
) -> Result<Value, SalesforceError> {
    let known = columns_of(state, definition);
    let shown = selected(definition, &known)?;
    let filters = definition
        .filters
        .iter()
        .map(|filter| filter::bind(filter, &known))
        .collect::<Result<Vec<_>, _>>()?;
    let logic = Logic::parse(definition.boolean_filter.as_deref(), filters.len())?;
    let mut rows: Vec<&Row> = if definition.report_type == "User" {
        state
            .users()
            .rows
            .values()
            .filter(|row| logic.holds(&|number| filters[number].matches(&row.values)))
            .collect()
    } else {
        Vec::new()
    };
    if let Some((name, descending)) = &definition.sort {
        let column = shown
            .iter()
            .find(|column| column.name == *name)
            .ok_or_else(|| refused(format!("The sort column {name} must be one of the selected columns.")))?;
        rows.sort_by(|left, right| {
            let order = filter::order(column.kind, left.get(column.field), right.get(column.field));
            if *descending { order.reverse() } else { order }
        });
    }
    if let Some(limit) = definition.row_limit {
        rows.truncate(limit);
    }
    let total = rows.len();
    let all = total <= show.rows_max;
    rows.truncate(show.rows_max);
    let cells: Vec<Value> = rows
        .iter()
        .filter(|_| show.details)
        .map(|row| json!({"dataCells": shown.iter().map(|column| cell(state, row, column, show)).collect::<Vec<_>>()}))
        .collect();
    let mut facts = Map::new();
    let mut total_fact = Map::new();
    total_fact.insert(
        "aggregates".into(),
        json!([{"label": total.to_string(), "value": total}]),
    );
    if show.details {
        total_fact.insert("rows".into(), Value::Array(cells));
    }
    let key = if definition.format == ReportFormat::Tabular {
        "T!T"
    } else {
        "0!T"
    };
    facts.insert(key.into(), Value::Object(total_fact));
    Ok(json!({
        "attributes": attributes(report_id, &definition.name),
        "allData": all,
        "hasDetailRows": show.details,
        "hasExceededTabularRowLimit": !all,
        "reportMetadata": definition.metadata(report_id),
        "reportExtendedMetadata": extended(&shown),
        "groupingsDown": {"groupings": []},
        "groupingsAcross": {"groupings": []},
        "factMap": facts,
    }))
}

fn cell(state: &State, row: &Row, column: &Column, show: Show) -> Value {
    let value = row.get(column.field);
    let id_text = |text: &str| {
        if show.ids == IdForm::Short {
            id::short(text).to_owned()
        } else {
            text.to_owned()
        }
    };
    if column.entity == "User.Name" {
        return json!({"label": label_or_dash(value), "value": id_text(&row.id)});
    }
    match (column.kind, value) {
        (FieldKind::Boolean, _) => {
            let words = if show.localized {
                ["Wahr", "Falsch"]
            } else {
                ["True", "False"]
            };
            json!({"label": words[usize::from(!value.is_true())], "value": value.is_true()})
        }
        (_, FieldValue::Null) => json!({"label": "-", "value": null}),
        (FieldKind::Id, FieldValue::Text(text)) => {
            json!({"label": id_text(text), "value": id_text(text)})
        }
        (FieldKind::Reference, FieldValue::Text(text)) => {
            json!({"label": name_of(state, text).unwrap_or_else(|| id_text(text)), "value": id_text(text)})
        }
        (_, FieldValue::DateTime(ms)) => {
            let raw = clock::report_datetime(*ms);
            let label = if show.localized {
                format!("{}.{}.{}, {}", &raw[8..10], &raw[5..7], &raw[..4], &raw[11..16])
            } else {
                format!("{}/{}/{} {}", &raw[5..7], &raw[8..10], &raw[..4], &raw[11..16])
            };
            json!({"label": label, "value": raw})
        }
        (_, FieldValue::Date(ms)) => {
            let raw = clock::iso_date(*ms);
            json!({"label": format!("{}.{}.{}", &raw[8..10], &raw[5..7], &raw[..4]), "value": raw})
        }
        (_, FieldValue::Double(number)) => {
            let plain = number.to_string();
            let label = if show.localized { plain.replace('.', ",") } else { plain };
            json!({"label": label, "value": number})
        }
        _ => json!({"label": label_or_dash(value), "value": value.to_json()}),
    }
}

fn label_or_dash(value: &FieldValue) -> String {
    value.as_text().unwrap_or("-").to_owned()
}

fn name_of(state: &State, id: &str) -> Option<String> {
    state.tables.values().find_map(|table| {
        let row = table.rows.get(id)?;
        row.get(table.def.position("Name")?).as_text().map(ToOwned::to_owned)
    })
}
