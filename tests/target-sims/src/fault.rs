//! Planned misfortune: what goes wrong for which of the next requests.

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answered like this without being executed.
    Answer {
        status: u16,
        content_type: String,
        body: String,
        retry_after: Option<String>,
    },
    /// Executed, then the connection is closed without an answer.
    LoseAnswer,
    /// The connection is closed without an answer and nothing is executed.
    Refuse,
    /// Never answered; executed or not. Ends when the client gives up.
    Hang { execute: bool },
}

impl Fault {
    /// A SCIM error answer.
    pub fn status(status: u16) -> Fault {
        Fault::Answer {
            status,
            content_type: "application/scim+json".to_owned(),
            body: crate::error::ScimError::new(status, "planned by the test")
                .body()
                .to_string(),
            retry_after: None,
        }
    }

    /// 429 with `Retry-After`, in seconds or as an HTTP date.
    pub fn too_many_requests(retry_after: &str) -> Fault {
        match Fault::status(429) {
            Fault::Answer {
                status,
                content_type,
                body,
                ..
            } => Fault::Answer {
                status,
                content_type,
                body,
                retry_after: Some(retry_after.to_owned()),
            },
            other => other,
        }
    }

    /// What a login page or a proxy answers: HTML, often with status 200.
    pub fn html(status: u16) -> Fault {
        Fault::Answer {
            status,
            content_type: "text/html; charset=utf-8".to_owned(),
            body: "<!DOCTYPE html><html><body><h1>Sign in</h1></body></html>".to_owned(),
            retry_after: None,
        }
    }
}

/// Which requests a fault is meant for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultScope {
    Every,
    /// POST, PUT, PATCH and DELETE of resources.
    Writes,
    Reads,
    /// This method, and paths that contain this text (empty: all).
    Matching {
        method: String,
        path_part: String,
    },
}

impl FaultScope {
    pub(crate) fn meets(&self, method: &str, path: &str, write: bool) -> bool {
        match self {
            FaultScope::Every => true,
            FaultScope::Writes => write,
            FaultScope::Reads => !write,
            FaultScope::Matching {
                method: wanted,
                path_part,
            } => wanted.eq_ignore_ascii_case(method) && path.contains(path_part.as_str()),
        }
    }
}

/// The faults that are still to come, in the order in which they were planned.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Planned>);

#[derive(Debug)]
struct Planned {
    fault: Fault,
    scope: FaultScope,
    remaining: usize,
}

impl Faults {
    /// `usize::MAX` means for ever.
    pub(crate) fn plan(&mut self, fault: Fault, scope: FaultScope, count: usize) {
        self.0.push(Planned {
            fault,
            scope,
            remaining: count,
        });
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// The fault for this request, if any; counts it.
    pub(crate) fn take(&mut self, method: &str, path: &str, write: bool) -> Option<Fault> {
        let hit = self
            .0
            .iter_mut()
            .find(|planned| planned.remaining > 0 && planned.scope.meets(method, path, write))?;
        if hit.remaining != usize::MAX {
            hit.remaining -= 1;
        }
        let fault = hit.fault.clone();
        self.0.retain(|planned| planned.remaining > 0);
        Some(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_hit_only_their_scope_and_run_out() {
        let mut faults = Faults::default();
        faults.plan(Fault::LoseAnswer, FaultScope::Writes, 2);
        assert_eq!(faults.take("GET", "/Users", false), None);
        assert_eq!(faults.take("POST", "/Users", true), Some(Fault::LoseAnswer));
        assert_eq!(faults.take("POST", "/Users", true), Some(Fault::LoseAnswer));
        assert_eq!(faults.take("POST", "/Users", true), None);
    }

    #[test]
    fn an_endless_fault_ends_with_clear() {
        let mut faults = Faults::default();
        let scope = FaultScope::Matching {
            method: "patch".to_owned(),
            path_part: "/Users/7".to_owned(),
        };
        faults.plan(Fault::status(500), scope, usize::MAX);
        assert_eq!(faults.take("PATCH", "/Users/8", true), None);
        for _ in 0..3 {
            assert_eq!(faults.take("PATCH", "/Users/7", true), Some(Fault::status(500)));
        }
        faults.clear();
        assert_eq!(faults.take("PATCH", "/Users/7", true), None);
    }
}
