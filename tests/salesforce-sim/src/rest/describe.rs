//! What objects look like to the integration user: fields it may not read are absent (REST API guide, "sObject Describe").

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json,
    extract::{Extension, Path, State},
    response::IntoResponse as _,
};
use serde_json::{Map, Value, json};

use super::{Answer, Caller};
use crate::{field::ObjectDef, org::Org};

fn summary(def: &ObjectDef, version: &str) -> Map<String, Value> {
    let base = format!("/services/data/{version}/sobjects/{}", def.name);
    let described = json!({
        "name": def.name, "label": def.name, "labelPlural": format!("{}s", def.name), "keyPrefix": def.prefix,
        "custom": false, "createable": def.createable, "updateable": def.updateable, "deletable": def.deletable,
        "queryable": true, "retrieveable": true, "searchable": true, "undeletable": false, "replicateable": true,
        "triggerable": true, "layoutable": false, "mergeable": false, "feedEnabled": false, "activateable": false,
        "customSetting": false, "deprecatedAndHidden": false,
        "urls": {"sobject": base, "describe": format!("{base}/describe"), "rowTemplate": format!("{base}/{{ID}}")},
    });
    match described {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

pub(crate) async fn list(State(org): State<Arc<Org>>, Extension(caller): Extension<Caller>) -> Answer {
    let state = org.state();
    let objects: Vec<Value> = state
        .tables
        .values()
        .map(|table| Value::Object(summary(&table.def, &caller.version)))
        .collect();
    Ok(Json(json!({"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": objects})).into_response())
}

pub(crate) async fn basic(
    State(org): State<Arc<Org>>,
    Extension(caller): Extension<Caller>,
    Path(parameters): Path<HashMap<String, String>>,
) -> Answer {
    let object = org.object_name(&parameters["object"])?;
    let state = org.state();
    let described = summary(&state.table(object).def, &caller.version);
    Ok(Json(json!({"objectDescribe": described, "recentItems": []})).into_response())
}

pub(crate) async fn describe(
    State(org): State<Arc<Org>>,
    Extension(caller): Extension<Caller>,
    Path(parameters): Path<HashMap<String, String>>,
) -> Answer {
    let object = org.object_name(&parameters["object"])?;
    let state = org.state();
    let def = &state.table(object).def;
    let fields: Vec<Value> = def
        .fields
        .iter()
        .enumerate()
        .filter(|(position, _)| state.readable(object, *position))
        .map(|(_, field)| field.describe())
        .collect();
    let mut described = summary(def, &caller.version);
    described.insert("fields".into(), Value::Array(fields));
    described.insert("childRelationships".into(), json!([]));
    described.insert("recordTypeInfos".into(), json!([]));
    described.insert("supportedScopes".into(), json!([]));
    Ok(Json(Value::Object(described)).into_response())
}
