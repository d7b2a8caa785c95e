//! The desk with a place in memory: complete or not written, confirmed when written, never shrunk unasked.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use usher_contract::UserKey;

use super::{
    Desk, RosterConfig,
    place::{Answer, Gate, Place, PlaceError, Stored, Version, hash},
};
use crate::{
    connector::{
        Failure, Operation, Reply,
        lease::{Lease, LeaseTerms},
    },
    logic::{
        account::{AttributePath, AttributeValues, RemoteAccount, RemoteId},
        guard::Guard,
        lane::{Completeness, Links},
        link::Link,
        testing::user_key,
    },
};

mod formats;
mod holding;
mod leading;
mod rows;

/// Files in memory; clones are the same.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    files: BTreeMap<String, Vec<u8>>,
    writes: usize,
    fails: Option<PlaceError>,
    /// Written by somebody else right before our next write.
    meanwhile: Option<Vec<u8>>,
}

impl Memory {
    fn with<T>(&self, look: impl FnOnce(&mut Inner) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }
    fn text(&self, name: &str) -> Option<String> {
        self.with(|inner| {
            inner
                .files
                .get(name)
                .map(|bytes| String::from_utf8(bytes.clone()).unwrap())
        })
    }
    fn put(&self, name: &str, text: &str) {
        self.with(|inner| inner.files.insert(name.to_owned(), text.as_bytes().to_vec()));
    }
    fn writes(&self) -> usize {
        self.with(|inner| inner.writes)
    }
}

impl Place for Memory {
    fn version<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Version>> {
        Box::pin(async move { Ok(self.with(|inner| inner.files.get(name).map(|bytes| Version(hash(bytes))))) })
    }
    fn read<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Stored>> {
        Box::pin(async move {
            let stored = |bytes: &Vec<u8>| Stored {
                bytes: bytes.clone(),
                version: Version(hash(bytes)),
            };
            Ok(self.with(|inner| inner.files.get(name).map(stored)))
        })
    }
    fn replace<'a>(
        &'a self,
        name: &'a str,
        bytes: &'a [u8],
        expected: Option<&'a Version>,
        gate: &'a Gate,
    ) -> Answer<'a, Version> {
        Box::pin(async move {
            gate.pass()?;
            self.with(|inner| {
                if let Some(error) = &inner.fails {
                    return Err(error.clone());
                }
                if let Some(bytes) = inner.meanwhile.take() {
                    inner.files.insert(name.to_owned(), bytes);
                }
                let there = inner.files.get(name).map(|bytes| Version(hash(bytes)));
                if there.as_ref() != expected {
                    return Err(PlaceError::Changed);
                }
                inner.files.insert(name.to_owned(), bytes.to_vec());
                inner.writes += 1;
                Ok(Version(hash(bytes)))
            })
        })
    }
    fn copy<'a>(&'a self, from: &'a str, to: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            self.with(|inner| {
                if let Some(bytes) = inner.files.get(from).cloned() {
                    inner.files.insert(to.to_owned(), bytes);
                }
            });
            Ok(())
        })
    }
    fn remove<'a>(&'a self, name: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            self.with(|inner| inner.files.remove(name));
            Ok(())
        })
    }
    fn words(&self) -> String {
        "memory".to_owned()
    }
}

fn config(more: &Value) -> RosterConfig {
    let mut config = json!({
        "place": { "folder": { "path": "/nowhere" } },
        "file": "people.csv",
        "columns": [
            { "name": "Email", "attribute": "userName" },
            { "name": "Name", "attribute": "displayName" },
        ],
        "quiet": "0s",
        "atMost": "1s",
    });
    let more = more.as_object().unwrap().clone();
    config.as_object_mut().unwrap().extend(more);
    let config: RosterConfig = serde_json::from_value(config).unwrap();
    assert_eq!(config.validate(), []);
    config
}

const WHOLE: Completeness = Completeness {
    whole: true,
    writes: 0,
    undecided: 0,
    draining: false,
    allowed_removals: 0,
};

/// A desk over a place, whose lane has the whole picture.
fn desk(place: &Memory, more: &Value) -> Desk {
    let target = usher_contract::TargetName::try_new("list").unwrap();
    let desk = Desk::new(
        target,
        Arc::new(config(more)),
        Guard::default(),
        Box::new(place.clone()),
    );
    desk.begin(&Links::default());
    desk.observe(WHOLE);
    desk
}

fn path(name: &str) -> AttributePath {
    AttributePath(name.to_owned())
}

fn values(n: u32, name: &str) -> AttributeValues {
    [
        (path("externalId"), json!(user_key(n).user.to_string())),
        (path("userName"), json!(format!("u{n}@acme.example"))),
        (path("displayName"), json!(name)),
        (path("active"), json!(true)),
    ]
    .into()
}

fn create(n: u32, name: &str) -> Operation {
    Operation::Create {
        values: values(n, name),
    }
}

fn update(n: u32, changes: &[(&str, Value)]) -> Operation {
    Operation::Update {
        id: id(n),
        values: changes
            .iter()
            .map(|(name, value)| (path(name), value.clone()))
            .collect(),
        etag: None,
    }
}

fn id(n: u32) -> RemoteId {
    RemoteId(user_key(n).user.to_string())
}

fn link(n: u32, name: &str) -> (UserKey, Link) {
    let link = Link {
        remote_id: Some(id(n)),
        active: Some(true),
        values: values(n, name),
        ..Link::unlinked(1, usher_contract::StateHash::of_text("x"))
    };
    (user_key(n), link)
}

/// Carries out operations while the writer runs.
async fn run(desk: &Desk, operations: Vec<Operation>) -> Vec<Result<Reply, Failure>> {
    run_under(desk, operations, &Lease::unlimited()).await
}

async fn run_under(desk: &Desk, operations: Vec<Operation>, lease: &Lease) -> Vec<Result<Reply, Failure>> {
    // As the lane does: it says what it has handed out before that has arrived.
    desk.expect_writes(operations.len());
    let all = futures::future::join_all(operations.into_iter().map(|operation| desk.execute(operation)));
    let both = async {
        tokio::select! {
            biased;
            () = desk.run(lease) => unreachable!("the writer never ends"),
            replies = all => replies,
        }
    };
    // A writer that does not answer fails instead of hanging.
    let replies = tokio::time::timeout(Duration::from_secs(60), both)
        .await
        .expect("an answer to everybody");
    desk.expect_writes(0);
    replies
}

/// Lets the writer run until it has nothing to do; enough for a place in memory.
async fn settle(desk: &Desk, lease: &Lease) {
    let rest = async {
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = rest => {}
        () = desk.run(lease) => {}
    }
}

fn halted(reply: &Result<Reply, Failure>) -> &str {
    match reply {
        Err(Failure::Halt(refusal)) => &refusal.code,
        other => panic!("{other:?}"),
    }
}

fn short() -> LeaseTerms {
    LeaseTerms {
        start_within: Duration::from_secs(3600),
        end_within: Duration::from_secs(3600),
    }
}

fn listed(reply: Result<Reply, Failure>) -> Vec<RemoteAccount> {
    match reply {
        Ok(Reply::Page { accounts, next: None } | Reply::Found(accounts)) => accounts,
        other => panic!("{other:?}"),
    }
}
