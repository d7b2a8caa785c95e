//! Who a token belongs to: `userinfo` and the identity URL of the token answer.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{bearer, oauth};
use crate::org::Org;

fn who(org: &Org, headers: &HeaderMap) -> Option<Value> {
    let session = org.sessions().touch(bearer(headers)?, org.now_ms())?;
    let url = oauth::identity_url(org, &session.user);
    let user = org.record("User", &session.user)?;
    let org_id = org.state().org_id.to_string();
    let base = org.instance_url();
    Some(json!({
        "sub": url, "id": url, "user_id": user.id, "organization_id": org_id, "asserted_user": true,
        "username": user.text("Username"), "preferred_username": user.text("Username"), "nick_name": user.text("CommunityNickname"),
        "name": user.text("Name"), "display_name": user.text("Name"), "email": user.text("Email"),
        "email_verified": true, "given_name": user.text("FirstName"), "family_name": user.text("LastName"),
        "first_name": user.text("FirstName"), "last_name": user.text("LastName"),
        "zoneinfo": user.text("TimeZoneSidKey"), "timezone": user.text("TimeZoneSidKey"), "active": user.is_active(),
        "user_type": "STANDARD", "language": user.text("LanguageLocaleKey"), "locale": user.text("LocaleSidKey"),
        "is_app_installed": true, "photos": {"picture": "", "thumbnail": ""},
        "urls": {
            "rest": format!("{base}/services/data/v{{version}}/"),
            "sobjects": format!("{base}/services/data/v{{version}}/sobjects/"),
            "query": format!("{base}/services/data/v{{version}}/query/"),
            "custom_domain": base,
        },
    }))
}

fn answer(org: &Org, headers: &HeaderMap) -> Response {
    match who(org, headers) {
        Some(answer) => Json(answer).into_response(),
        None => (StatusCode::FORBIDDEN, "Bad_OAuth_Token").into_response(),
    }
}

pub(crate) async fn userinfo(State(org): State<Arc<Org>>, headers: HeaderMap) -> Response {
    answer(&org, &headers)
}

pub(crate) async fn identity(State(org): State<Arc<Org>>, headers: HeaderMap) -> Response {
    answer(&org, &headers)
}
