//! gRPC errors as the vendor sends them: a status, the code in the trailer `error-code`, and an RPC id in trailer and text
//! (Pub/Sub API guide, "Handle Errors").

use tonic::{Code, Status, metadata::MetadataValue};

use crate::event::log::ReplayError;

const PREFIX: &str = "sfdc.platform.eventbus.grpc.";

/// `suffix` goes after the vendor's prefix.
pub(crate) fn status(code: Code, suffix: &str, message: &str, rpc_id: &str) -> Status {
    let mut status = Status::new(code, format!("{message} rpcId: {rpc_id}"));
    let name = format!("{PREFIX}{suffix}");
    if let Ok(value) = MetadataValue::try_from(name) {
        status.metadata_mut().insert("error-code", value);
    }
    if let Ok(value) = MetadataValue::try_from(rpc_id) {
        status.metadata_mut().insert("rpc-id", value);
    }
    status
}

pub(crate) fn auth_error(rpc_id: &str) -> Status {
    status(
        Code::Unauthenticated,
        "service.auth.error",
        "An authentication exception occurred. Provide valid authentication.",
        rpc_id,
    )
}

pub(crate) fn invalid(suffix: &str, message: &str, rpc_id: &str) -> Status {
    status(Code::InvalidArgument, suffix, message, rpc_id)
}

pub(crate) fn replay(error: ReplayError, rpc_id: &str) -> Status {
    match error {
        ReplayError::Invalid => invalid(
            "subscription.fetch.replayid.validation.failed",
            "The Replay ID validation failed. Ensure that the Replay ID is valid.",
            rpc_id,
        ),
        ReplayError::Corrupted => invalid(
            "subscription.fetch.replayid.corrupted",
            "The Replay ID is corrupted or is not available. It may be invalid or outside the retention window.",
            rpc_id,
        ),
    }
}
