//! What is checked on every RPC: the three metadata keys, the session, throttling, and ordered faults; and what a topic is.

use std::sync::Arc;

use tonic::{Code, Status, metadata::MetadataMap};

use super::status::{auth_error, status};
use crate::{id, org::Org};

/// An admitted caller.
#[derive(Debug, Clone)]
pub(crate) struct Admitted {
    pub(crate) token: String,
    pub(crate) rpc_id: String,
}

pub(crate) fn admit(org: &Org, metadata: &MetadataMap, method: &str) -> Result<Admitted, Status> {
    org.requests.record("RPC", method);
    let rpc_id = crate::random::uuid(&mut org.state_mut().rng);
    if let Some(fault) = org.faults.take_rpc() {
        if fault.suffix.is_empty() {
            return Err(Status::new(fault.code, "ordered by a test"));
        }
        return Err(status(fault.code, &fault.suffix, "ordered by a test", &rpc_id));
    }
    if org.faults.values().throttled {
        return Err(status(
            Code::ResourceExhausted,
            "service.protection.triggered",
            "The service is protecting itself. Try again later.",
            &rpc_id,
        ));
    }
    let text = |key: &str| {
        metadata
            .get(key)
            .and_then(|value| value.to_str().ok())
            .filter(|value| !value.is_empty())
    };
    let (Some(token), Some(instance), Some(tenant)) = (text("accesstoken"), text("instanceurl"), text("tenantid"))
    else {
        return Err(headers_invalid(&rpc_id));
    };
    let own = id::normalize(tenant).is_some_and(|tenant| *tenant == *org.state().org_id);
    if !own || !same_host(instance, &org.instance_url()) || token.starts_with("Bearer ") {
        return Err(headers_invalid(&rpc_id));
    }
    let admitted = Admitted {
        token: token.to_owned(),
        rpc_id,
    };
    check_session(org, &admitted)?;
    Ok(admitted)
}

fn headers_invalid(rpc_id: &str) -> Status {
    status(
        Code::Unauthenticated,
        "service.auth.headers.invalid",
        "The metadata accesstoken, instanceurl and tenantid are missing or invalid.",
        rpc_id,
    )
}

/// A stream keeps its session alive, and ends with it.
pub(crate) fn check_session(org: &Org, admitted: &Admitted) -> Result<(), Status> {
    match org.sessions().touch(&admitted.token, org.now_ms()) {
        Some(_) if org.permissions().api_enabled => Ok(()),
        _ => Err(auth_error(&admitted.rpc_id)),
    }
}

/// `localhost` and `127.0.0.1` are the same host; scheme and a slash at the end do not matter, the port does.
fn same_host(left: &str, right: &str) -> bool {
    let authority = |text: &str| {
        let url = url::Url::parse(text).ok()?;
        let host = url.host_str()?.replace("127.0.0.1", "localhost");
        Some((host, url.port_or_known_default()))
    };
    authority(left).is_some() && authority(left) == authority(right)
}

/// What the caller may see of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    Users,
    /// Exists, but User events are left out for lack of View All Users.
    Silent,
}

pub(crate) fn topic(org: &Org, name: &str, rpc_id: &str) -> Result<Topic, Status> {
    let permissions = org.permissions();
    if name.is_empty() {
        return Err(super::status::invalid(
            "topic.validation.empty",
            "The topic name is empty.",
            rpc_id,
        ));
    }
    let multi = name == "/data/ChangeEvents" || org.config.channels.iter().any(|channel| channel == name);
    if !multi && name != "/data/UserChangeEvent" || !permissions.users_captured {
        return Err(status(
            Code::NotFound,
            "topic.not.found",
            &format!("The topic {name} is not found, or you have no permission to access it."),
            rpc_id,
        ));
    }
    let denied = || {
        status(
            Code::PermissionDenied,
            "subscription.topic.cannot.subscribe",
            &format!("You don't have permission to subscribe to {name}."),
            rpc_id,
        )
    };
    match (multi, permissions.view_all_users) {
        (true, _) if name == "/data/ChangeEvents" && !permissions.view_all_data => Err(denied()),
        (true, false) => Ok(Topic::Silent),
        (false, false) => Err(denied()),
        (_, true) => Ok(Topic::Users),
    }
}

pub(crate) type SharedOrg = Arc<Org>;
