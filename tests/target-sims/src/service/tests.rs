//! The protocol by value: one request in, one answer out.

use super::*;

fn state() -> State {
    State::new("http://sim/scim/v2", None, Behaviour::default())
}

fn request(method: &str, path: &str, body: Value) -> Request {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        content_type: Some("application/scim+json".to_owned()),
        body: if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        },
        ..Request::default()
    }
}

fn user(name: &str) -> Value {
    json!({"schemas": [USER.urn], "userName": name, "externalId": format!("x-{name}"), "active": true})
}

fn patch(path: &str, value: Value) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{"op": "replace", "path": path, "value": value}],
    })
}

fn create(state: &mut State, name: &str) -> String {
    let answer = state.handle(&request("POST", "/Users", user(name)));
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.resource.expect("a created user has an id")
}

#[test]
fn a_user_lives_from_create_to_delete() {
    let mut state = state();
    let answer = state.handle(&request("POST", "/Users", user("ada")));
    let id = answer.resource.clone().unwrap();
    let path = format!("/Users/{id}");
    assert_eq!(answer.status, 201);
    assert_eq!(answer.location, Some(format!("http://sim/scim/v2{path}")));
    assert_eq!(answer.etag.as_deref(), Some("W/\"1\""));

    assert_eq!(state.handle(&request("GET", &path, Value::Null)).status, 200);
    let put = state.handle(&request("PUT", &path, user("ada2")));
    assert_eq!(
        (put.status, put.body.unwrap()["userName"].clone()),
        (200, json!("ada2"))
    );
    let patched = state.handle(&request("PATCH", &path, patch("active", json!(false))));
    assert_eq!(patched.body.unwrap()["active"], false);
    assert_eq!(state.handle(&request("DELETE", &path, Value::Null)).status, 204);
    for method in ["GET", "DELETE"] {
        assert_eq!(state.handle(&request(method, &path, Value::Null)).status, 404);
    }
}

#[test]
fn a_refused_create_names_the_user_that_holds_the_name() {
    let mut state = state();
    let id = create(&mut state, "ada");
    let answer = state.handle(&request("POST", "/Users", user("ADA")));
    assert_eq!(answer.status, 409);
    assert_eq!(answer.body.unwrap()["scimType"], "uniqueness");
    assert_eq!(answer.resource, Some(id));
}

#[test]
fn paging_follows_the_rfc() {
    let mut state = state();
    for number in 0..5 {
        create(&mut state, &format!("u{number}"));
    }
    let mut page = |query: &str| {
        let answer = state.handle(&request("GET", &format!("/Users?{query}"), Value::Null));
        let body = answer.body.unwrap();
        let names: Vec<String> = body["Resources"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|user| user["userName"].as_str().unwrap().to_owned())
            .collect();
        (names, body["totalResults"].as_u64(), body["itemsPerPage"].as_u64())
    };
    assert_eq!(
        page("startIndex=2&count=2"),
        (vec!["u1".into(), "u2".into()], Some(5), Some(2))
    );
    assert_eq!(page("startIndex=-7&count=1").0, ["u0"]);
    assert_eq!(page("startIndex=6"), (vec![], Some(5), Some(0)));
    assert_eq!(page("count=0"), (vec![], Some(5), Some(0)));
    assert_eq!(page("count=-1"), (vec![], Some(5), Some(0)));
}

#[test]
fn filters_find_and_can_be_switched_off() {
    let mut state = state();
    create(&mut state, "ada");
    create(&mut state, "bob");
    let filter = request("GET", "/Users?filter=userName eq \"BOB\"", Value::Null);
    let body = state.handle(&filter).body.unwrap();
    assert_eq!(
        (body["totalResults"].clone(), body["Resources"][0]["userName"].clone()),
        (json!(1), json!("bob"))
    );
    let search = request("POST", "/Users/.search", json!({"filter": "externalId eq \"x-ada\""}));
    assert!(!search.is_write());
    assert_eq!(state.handle(&search).body.unwrap()["totalResults"], 1);
    state.behaviour.filter_supported = false;
    assert_eq!(state.handle(&filter).status, 501);
}

#[test]
fn a_stale_version_is_refused_unless_etags_are_off() {
    let mut state = state();
    let path = format!("/Users/{}", create(&mut state, "ada"));
    let mut change = request("PATCH", &path, patch("title", json!("AE")));
    change.if_match = Some("W/\"99\"".to_owned());
    assert_eq!(state.handle(&change).status, 412);
    change.if_match = Some("W/\"1\"".to_owned());
    assert_eq!(state.handle(&change).etag.as_deref(), Some("W/\"2\""));
    state.behaviour.etag_supported = false;
    let answer = state.handle(&change);
    assert_eq!((answer.status, answer.etag), (200, None));
}

#[test]
fn a_patch_that_changes_nothing_keeps_the_version() {
    let mut state = state();
    let path = format!("/Users/{}", create(&mut state, "ada"));
    let answer = state.handle(&request("PATCH", &path, patch("active", json!(true))));
    assert_eq!(answer.etag.as_deref(), Some("W/\"1\""));
}

#[test]
fn switches_change_what_happens_and_what_is_announced() {
    let mut state = state();
    let id = create(&mut state, "ada");
    let path = format!("/Users/{id}");
    state.behaviour.patch_supported = false;
    let title = request("PATCH", &path, patch("title", json!("AE")));
    assert_eq!(state.handle(&title).status, 501);
    let config = state.handle(&request("GET", "/ServiceProviderConfig", Value::Null));
    assert_eq!(config.body.unwrap()["patch"]["supported"], false);

    state.behaviour = Behaviour {
        protected: ["ADA".to_owned()].into(),
        ..Behaviour::default()
    };
    assert_eq!(state.handle(&title).status, 403);
    state.behaviour = Behaviour {
        read_only: true,
        ..Behaviour::default()
    };
    assert_eq!(state.handle(&request("POST", "/Users", user("bob"))).status, 403);
    assert_eq!(state.handle(&request("GET", &path, Value::Null)).status, 200);
    state.behaviour = Behaviour {
        lower_case_user_name: true,
        ..Behaviour::default()
    };
    let answer = state.handle(&request("PATCH", &path, patch("userName", json!("ADA@X"))));
    assert_eq!(answer.body.unwrap()["userName"], "ada@x");
    state.behaviour = Behaviour {
        patch_answers_nothing: true,
        ..Behaviour::default()
    };
    let answer = state.handle(&title);
    assert_eq!((answer.status, answer.body), (204, None));
}

#[test]
fn a_delete_may_only_deactivate_and_hide() {
    let mut state = state();
    state.behaviour.delete_deactivates = true;
    state.behaviour.hide_inactive = true;
    let path = format!("/Users/{}", create(&mut state, "ada"));
    assert_eq!(state.handle(&request("DELETE", &path, Value::Null)).status, 204);
    let answer = state.handle(&request("GET", &path, Value::Null));
    assert_eq!(answer.body.unwrap()["active"], false);
    let listed = state.handle(&request("GET", "/Users", Value::Null));
    assert_eq!(listed.body.unwrap()["totalResults"], 0);
    assert_eq!(state.handle(&request("POST", "/Users", user("ada"))).status, 409);
}

#[test]
fn members_show_up_in_the_groups_of_a_user() {
    let mut state = state();
    let id = create(&mut state, "ada");
    let group = json!({"schemas": [GROUP.urn], "displayName": "EMEA", "members": [{"value": id}]});
    assert_eq!(state.handle(&request("POST", "/Groups", group)).status, 201);
    let answer = state.handle(&request("GET", &format!("/Users/{id}"), Value::Null));
    assert_eq!(answer.body.unwrap()["groups"][0]["display"], "EMEA");
    let path = "/Groups?filter=displayName eq \"emea\"&excludedAttributes=members";
    let body = state.handle(&request("GET", path, Value::Null)).body.unwrap();
    assert_eq!(body["Resources"][0].get("members"), None);
    assert_eq!(body["Resources"][0]["displayName"], "EMEA");
}

#[test]
fn errors_are_scim_errors() {
    let mut state = state();
    state.bearer_token = Some("secret".to_owned());
    let mut get = request("GET", "/Users", Value::Null);
    let answer = state.handle(&get);
    assert_eq!(answer.status, 401);
    assert_eq!(answer.body.unwrap()["status"], "401");
    get.authorization = Some("bearer secret".to_owned());
    assert_eq!(state.handle(&get).status, 200);

    state.bearer_token = None;
    for (method, path, status) in [
        ("PATCH", "/Users", 405),
        ("POST", "/ServiceProviderConfig", 405),
        ("GET", "/Schemas?filter=id pr", 403),
        ("GET", "/Schemas/urn:none", 404),
        ("GET", "/Nothing", 404),
        ("GET", "/Me", 501),
        ("POST", "/Bulk", 501),
        ("GET", "/Users?filter=shoeSize pr", 400),
        ("GET", "/Users?count=many", 400),
    ] {
        assert_eq!(
            state.handle(&request(method, path, json!({}))).status,
            status,
            "{method} {path}"
        );
    }
    let mut text = request("POST", "/Users", user("ada"));
    text.content_type = Some("text/plain".to_owned());
    assert_eq!(state.handle(&text).status, 415);
    for path in ["/Schemas", "/ResourceTypes", "/ResourceTypes/User"] {
        assert_eq!(state.handle(&request("GET", path, Value::Null)).status, 200, "{path}");
    }
}
