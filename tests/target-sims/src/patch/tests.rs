//! PATCH by example: one person, one request, what is there afterwards.

use serde_json::json;

use super::*;
use crate::schema::{ENTERPRISE_URN, GROUP, USER};

fn ada() -> Map<String, Value> {
    let ada = json!({
        "userName": "ada", "active": true, "title": "AE",
        "name": {"familyName": "Byron", "givenName": "Ada"},
        "emails": [
            {"value": "ada@work", "type": "work", "primary": true},
            {"value": "ada@home", "type": "home"},
        ],
        ENTERPRISE_URN: {"department": "Sales", "manager": {"value": "m1"}},
    });
    ada.as_object().cloned().unwrap_or_default()
}

fn patch(operations: Value) -> Result<Value, ScimError> {
    let body = json!({"schemas": [PATCH_SCHEMA], "Operations": operations});
    apply(&USER, &ada(), &body, false).map(Value::Object)
}

/// Applies one operation and returns the attribute at `pointer`.
#[track_caller]
fn after(operation: Value, pointer: &str) -> Value {
    let changed = patch(json!([operation])).unwrap_or_else(|error| panic!("{operation}: {error:?}"));
    changed.pointer(pointer).cloned().unwrap_or_default()
}

#[track_caller]
fn refused(operation: Value, scim_type: &str) {
    let error = patch(json!([operation])).expect_err(&operation.to_string());
    assert_eq!(error.scim_type, Some(scim_type), "{operation}: {error:?}");
}

#[test]
fn simple_paths_set_and_unset() {
    let op = json!({"op": "replace", "path": "title", "value": "CEO"});
    assert_eq!(after(op, "/title"), "CEO");
    let op = json!({"op": "Add", "path": "NICKNAME", "value": "A"});
    assert_eq!(after(op, "/nickName"), "A");
    let op = json!({"op": "remove", "path": "title"});
    assert_eq!(after(op, "/title"), Value::Null);
    let op = json!({"op": "replace", "path": "title", "value": null});
    assert_eq!(after(op, "/title"), Value::Null);
    let op = json!({"op": "remove", "path": "nickName"});
    assert_eq!(after(op, "/userName"), "ada");
}

#[test]
fn sub_attributes_leave_their_siblings_alone() {
    let op = json!({"op": "replace", "path": "name.familyName", "value": "King"});
    assert_eq!(after(op, "/name"), json!({"familyName": "King", "givenName": "Ada"}));
    let op = json!({"op": "replace", "path": "name", "value": {"familyName": "King"}});
    assert_eq!(after(op, "/name"), json!({"familyName": "King", "givenName": "Ada"}));
    let op = json!({"op": "remove", "path": "name.givenName"});
    assert_eq!(after(op, "/name"), json!({"familyName": "Byron"}));
}

#[test]
fn extension_attributes_are_reached_by_urn() {
    let pointer = "/urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
    let path = format!("{ENTERPRISE_URN}:department");
    let op = json!({"op": "replace", "path": path, "value": "EMEA"});
    assert_eq!(after(op, &format!("{pointer}/department")), "EMEA");
    let path = format!("{ENTERPRISE_URN}:manager.value");
    let op = json!({"op": "replace", "path": path, "value": "m2"});
    assert_eq!(after(op, &format!("{pointer}/manager/value")), "m2");
    let op = json!({"op": "remove", "path": ENTERPRISE_URN});
    assert_eq!(after(op, pointer), Value::Null);
    let op = json!({"op": "add", "path": ENTERPRISE_URN, "value": {"division": "D"}});
    assert_eq!(after(op, &format!("{pointer}/department")), "Sales");
    let path = format!("{}:active", USER.urn);
    let op = json!({"op": "replace", "path": path, "value": false});
    assert_eq!(after(op, "/active"), false);
}

#[test]
fn value_filters_reach_one_element() {
    let op = json!({"op": "replace", "path": "emails[type eq \"work\"].value", "value": "new@work"});
    let emails = after(op, "/emails");
    assert_eq!(emails[0]["value"], "new@work");
    assert_eq!(emails[1]["value"], "ada@home");
    let op = json!({"op": "remove", "path": "emails[type eq \"work\"]"});
    assert_eq!(after(op, "/emails"), json!([{"value": "ada@home", "type": "home"}]));
    let op = json!({"op": "replace", "path": "emails[type eq \"home\"].primary", "value": true});
    let emails = after(op, "/emails");
    assert_eq!(
        (&emails[0]["primary"], &emails[1]["primary"]),
        (&json!(false), &json!(true))
    );
    let op = json!({"op": "replace", "path": "emails[primary eq true]", "value": {"value": "only"}});
    assert_eq!(after(op, "/emails/0"), json!({"value": "only"}));
}

#[test]
fn lists_grow_without_duplicates_and_with_one_primary() {
    let equal = json!({"value": "ada@home", "type": "home"});
    let op = json!({"op": "add", "path": "emails", "value": [equal]});
    assert_eq!(after(op, "/emails").as_array().map(Vec::len), Some(2));
    let op = json!({"op": "add", "path": "emails", "value": {"value": "x", "primary": true}});
    let emails = after(op, "/emails");
    assert_eq!(
        (&emails[0]["primary"], &emails[2]["primary"]),
        (&json!(false), &json!(true))
    );
    let op = json!({"op": "replace", "path": "emails", "value": [{"value": "x"}]});
    assert_eq!(after(op, "/emails"), json!([{"value": "x"}]));
    let op = json!({"op": "replace", "path": "emails", "value": []});
    assert_eq!(after(op, "/emails"), Value::Null);
}

#[test]
fn a_path_less_value_sets_each_attribute() {
    let department = format!("{ENTERPRISE_URN}:department");
    let op =
        json!({"op": "replace", "value": {"active": false, department: "EMEA", ENTERPRISE_URN: {"division": "D"}}});
    let changed = patch(json!([op])).unwrap();
    assert_eq!(changed["active"], false);
    assert_eq!(changed[ENTERPRISE_URN]["department"], "EMEA");
    assert_eq!(changed[ENTERPRISE_URN]["division"], "D");
}

#[test]
fn refusals_carry_the_type_of_the_rfc() {
    refused(json!({"op": "remove"}), "noTarget");
    refused(
        json!({"op": "replace", "path": "emails[type eq \"other\"].value", "value": "x"}),
        "noTarget",
    );
    refused(
        json!({"op": "add", "path": "emails[type eq \"other\"].value", "value": "x"}),
        "noTarget",
    );
    refused(json!({"op": "replace", "path": "shoeSize", "value": 1}), "invalidPath");
    refused(
        json!({"op": "replace", "path": "emails[type eq work].value", "value": "x"}),
        "invalidPath",
    );
    refused(
        json!({"op": "replace", "value": {"name.givenName": "x"}}),
        "invalidPath",
    );
    refused(json!({"op": "replace", "path": "id", "value": "x"}), "mutability");
    refused(
        json!({"op": "add", "path": "groups", "value": [{"value": "g"}]}),
        "mutability",
    );
    refused(json!({"op": "remove", "path": "userName"}), "mutability");
    refused(
        json!({"op": "replace", "path": "active", "value": "False"}),
        "invalidValue",
    );
    refused(json!({"op": "replace", "path": "title"}), "invalidValue");
    refused(
        json!({"op": "remove", "path": "emails", "value": [{"value": "ada@work"}]}),
        "invalidValue",
    );
    refused(json!({"op": "move", "path": "title"}), "invalidSyntax");
    let error = apply(&USER, &ada(), &json!({"Operations": []}), false).unwrap_err();
    assert_eq!(error.scim_type, Some("invalidSyntax"));
}

#[test]
fn one_bad_operation_undoes_the_good_ones_before_it() {
    let operations = json!([
        {"op": "replace", "path": "title", "value": "CEO"},
        {"op": "replace", "path": "shoeSize", "value": 1},
    ]);
    assert!(patch(operations).is_err());
    // `apply` takes the resource by shared reference: there is nothing else to undo.
}

#[test]
fn members_are_added_and_removed_but_not_edited() {
    let group = json!({"displayName": "G", "members": [{"value": "u1"}, {"value": "u2"}]});
    let group = group.as_object().cloned().unwrap_or_default();
    let run = |operation: Value| {
        let body = json!({"schemas": [PATCH_SCHEMA], "Operations": [operation]});
        apply(&GROUP, &group, &body, false).map(|group| group.get("members").cloned().unwrap_or_default())
    };
    let op = json!({"op": "remove", "path": "members[value eq \"u1\"]"});
    assert_eq!(run(op), Ok(json!([{"value": "u2"}])));
    let op = json!({"op": "add", "path": "members", "value": [{"value": "u2"}, {"value": "u3"}]});
    assert_eq!(run(op).map(|members| members.as_array().map(Vec::len)), Ok(Some(3)));
    let op = json!({"op": "replace", "path": "members[value eq \"u1\"].value", "value": "u9"});
    assert_eq!(run(op).unwrap_err().scim_type, Some("mutability"));
}
