//! Gong's public REST API, as far as it reads members: an access key by basic authorization, pages by a cursor that the page
//! before has given out, 404 for a page without users, ids of up to twenty digits that are none of SCIM's. It writes nobody.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Gong, VendorAnswer, VendorRequest, decoded};

/// `gong-key:gong-secret`.
const BASIC: &str = "Basic Z29uZy1rZXk6Z29uZy1zZWNyZXQ=";
const REQUEST_ID: &str = "4al018gzaztcr8nbukw";
/// Above 64 bits.
const ID_BASE: u128 = 18_446_744_073_709_551_616;

/// What of the API is a switch, and what it remembers.
#[derive(Debug)]
pub struct GongRest {
    /// Users of a page.
    pub page_size: usize,
    /// Whether a page that is full names a next one although nobody is on it: that one is answered with 404.
    pub cursor_after_full_page: bool,
    /// Whether the access key has the scope `api:users:read`.
    pub may_read_users: bool,
    /// Cursors that were given out.
    cursors: BTreeSet<String>,
}

impl Default for GongRest {
    fn default() -> GongRest {
        GongRest {
            page_size: 100,
            cursor_after_full_page: true,
            may_read_users: true,
            cursors: BTreeSet::new(),
        }
    }
}

fn refusal(status: u16, words: &str) -> VendorAnswer {
    VendorAnswer::json(status, &json!({"requestId": REQUEST_ID, "errors": [words]}))
}

/// What the API answers; `path` is the whole path.
pub(super) fn handle(gong: &mut Gong, request: &VendorRequest, path: &str) -> VendorAnswer {
    if request.header("authorization") != BASIC {
        return refusal(401, "the access key is missing or wrong");
    }
    match (request.method.as_str(), path.strip_prefix("/v2/users")) {
        ("GET", Some(below)) if below.is_empty() || below.starts_with('/') => {
            if !gong.rest.may_read_users {
                return refusal(403, "the scope api:users:read is missing");
            }
            match below.strip_prefix('/') {
                None => page(gong, &request.query),
                Some(id) => match gong.rest_users().into_iter().find(|user| user["id"] == id) {
                    Some(user) => VendorAnswer::json(200, &json!({"requestId": REQUEST_ID, "user": user})),
                    None => refusal(404, "no such user"),
                },
            }
        }
        // Users are written by provisioning alone.
        (_, Some(_)) => refusal(405, "method not allowed"),
        (_, None) => refusal(404, "not found"),
    }
}

fn page(gong: &mut Gong, query: &str) -> VendorAnswer {
    let cursor = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("cursor="))
        .map(decoded);
    let number = match cursor {
        None => 0,
        Some(cursor) if gong.rest.cursors.contains(&cursor) => {
            let number = cursor.rsplit('.').next().and_then(|number| number.parse().ok());
            number.unwrap_or_default()
        }
        Some(_) => return refusal(400, "the cursor is none that was given out"),
    };
    let users = gong.rest_users();
    let (size, from) = (gong.rest.page_size, number * gong.rest.page_size);
    let shown: Vec<&Value> = users.iter().skip(from).take(size).collect();
    if shown.is_empty() {
        return refusal(404, "no users were found");
    }
    let follows = from + size < users.len() || (shown.len() == size && gong.rest.cursor_after_full_page);
    let mut records = json!({"totalRecords": users.len(), "currentPageSize": shown.len(), "currentPageNumber": number});
    if follows {
        let cursor = format!("eyJhbGciOiJIUzI1NiJ9+/.{}", number + 1);
        records["cursor"] = json!(cursor);
        gong.rest.cursors.insert(cursor);
    }
    VendorAnswer::json(
        200,
        &json!({"requestId": REQUEST_ID, "records": records, "users": shown}),
    )
}

impl Gong {
    /// Everybody as the API shows them.
    pub fn rest_users(&self) -> Vec<Value> {
        let users = self.state.users.all();
        users
            .map(|user| {
                // As a value: what a member does not have is null.
                let user = Value::Object(user.clone());
                let number = user["id"]
                    .as_str()
                    .and_then(|id| id.rsplit('-').next()?.parse::<u128>().ok());
                let email = user["emails"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .find(|email| email["type"] == "work");
                json!({"id": (ID_BASE + number.unwrap_or_default()).to_string(),
                    "emailAddress": email.map_or(&user["userName"], |email| &email["value"]),
                    "active": user["active"], "firstName": user["name"]["givenName"],
                    "lastName": user["name"]["familyName"], "title": user["title"], "emailAliases": [],
                    "settings": {"webConferencesRecorded": true}, "managerId": null})
            })
            .collect()
    }

    /// Changes a member by hand, as an administrator does on Gong's own pages. Panics if there is none of the name.
    pub fn change_by_hand(&mut self, name: &str, change: &Value) {
        let mut user = self.user(name).expect("a member of this name");
        for (attribute, value) in change.as_object().expect("attributes") {
            user[attribute] = value.clone();
        }
        let id = user["id"].as_str().unwrap_or_default().to_owned();
        let body = user.as_object().cloned().unwrap_or_default();
        self.state
            .users
            .replace(&id, body)
            .expect("a change that the store takes");
    }

    /// Takes a member away, as only Gong's support can.
    pub fn vanish(&mut self, name: &str) {
        let user = self.user(name).expect("a member of this name");
        let gone = self.state.users.delete(user["id"].as_str().unwrap_or_default());
        gone.expect("a member that is there");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn company(people: u32) -> Gong {
        let mut gong = Gong::default();
        gong.rest.page_size = 2;
        for n in 0..people {
            let email = format!("p{n}@acme.example");
            gong.seed(
                json!({"userName": email, "name": {"givenName": "P", "familyName": "Q"}, "active": true,
                "emails": [{"type": "work", "value": email}]}),
            );
        }
        gong
    }

    fn cursor(answer: &VendorAnswer) -> Option<String> {
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        body["records"]["cursor"]
            .as_str()
            .map(|cursor| format!("cursor={}", cursor.replace('+', "%2B")))
    }

    #[test]
    fn pages_lead_to_the_next_one_and_one_without_users_is_not_found() {
        let mut gong = company(4);
        let first = page(&mut gong, "cursor=");
        assert_eq!(first.status, 400, "an empty cursor is none that was given out");
        let first = page(&mut gong, "");
        let second = page(&mut gong, &cursor(&first).unwrap());
        assert_eq!((first.status, second.status), (200, 200));
        assert_eq!(page(&mut gong, &cursor(&second).unwrap()).status, 404);
        gong.rest.cursor_after_full_page = false;
        assert_eq!(cursor(&page(&mut gong, &cursor(&first).unwrap())), None);
        assert_eq!(page(&mut gong, "cursor=made-up").status, 400);
        assert_eq!(page(&mut company(0), "").status, 404);
    }

    #[test]
    fn ids_are_above_64_bits_and_nobodys_of_scim() {
        let gong = company(1);
        let id = gong.rest_users()[0]["id"].as_str().unwrap().to_owned();
        assert!(id.len() == 20 && id.parse::<u64>().is_err(), "{id}");
    }
}
