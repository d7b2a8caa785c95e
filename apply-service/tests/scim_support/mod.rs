//! What the SCIM tests share: a target to run operations at, and short words for operations and their ends.
#![allow(dead_code, reason = "each test file uses its part")]

use std::io::Write;

use apply_service::{
    connector::{
        Connector, Failure, Operation, Reply,
        http::{AuthConfig, ExchangeTrace, HttpConfig, HttpSender},
        lease::Lease,
        scim::{ScimConfig, ScimConnector},
    },
    logic::account::{AttributePath, AttributeValues, RemoteAccount, RemoteId},
};
use serde_json::{Value, json};

/// The work e-mail.
pub(crate) const WORK: &str = r#"emails[type eq "work"].value"#;
/// The department of the enterprise extension.
pub(crate) const DEPARTMENT: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department";
/// The manager of the enterprise extension.
pub(crate) const MANAGER: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value";

/// A connector with its sender.
pub(crate) struct Target {
    /// For reading attributes.
    pub(crate) connector: ScimConnector,
    pub(crate) sender: HttpSender,
    pub(crate) lease: Lease,
    token: Option<tempfile::NamedTempFile>,
}

impl Target {
    /// A target at an address, with a token file when there is a token.
    pub(crate) fn new(base_url: &str, token: Option<&str>, config: ScimConfig) -> Self {
        let token = token.map(|token| {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            writeln!(file, "{token}").unwrap();
            file
        });
        let mut http = HttpConfig::new(base_url);
        if let Some(file) = &token {
            http.auth = AuthConfig::BearerTokenFile(file.path().to_owned());
        }
        let sender = HttpSender::new(http).unwrap();
        Self {
            connector: ScimConnector::new(config),
            sender,
            lease: Lease::unlimited(),
            token,
        }
    }

    /// Replaces the content of the token file.
    pub(crate) fn rotate_token(&self, token: &str) {
        std::fs::write(self.token.as_ref().unwrap().path(), token).unwrap();
    }

    pub(crate) async fn traced(&self, operation: Operation) -> (Result<Reply, Failure>, ExchangeTrace) {
        self.sender.run(self.connector.begin(operation), &self.lease).await
    }

    pub(crate) async fn run(&self, operation: Operation) -> Result<Reply, Failure> {
        self.traced(operation).await.0
    }

    pub(crate) async fn check(&self) -> Vec<String> {
        match self.run(Operation::Check).await {
            Ok(Reply::Checked(words)) => words,
            other => panic!("not checked: {other:?}"),
        }
    }

    pub(crate) async fn find(&self, external_id: &str, by: &[(&str, &str)]) -> Vec<RemoteAccount> {
        match self.run(find(external_id, by)).await {
            Ok(Reply::Found(accounts)) => accounts,
            other => panic!("no look-up: {other:?}"),
        }
    }

    pub(crate) async fn create(&self, pairs: &[(&str, Value)]) -> RemoteId {
        match self.run(Operation::Create { values: values(pairs) }).await {
            Ok(Reply::Written {
                id,
                account: Some(account),
            }) if account.id == id => id,
            other => panic!("not created: {other:?}"),
        }
    }

    pub(crate) async fn update(&self, id: &RemoteId, pairs: &[(&str, Value)]) {
        let operation = Operation::Update {
            id: id.clone(),
            values: values(pairs),
            etag: None,
        };
        match self.run(operation).await {
            Ok(Reply::Written { id: written, .. }) if written == *id => {}
            other => panic!("not updated: {other:?}"),
        }
    }

    pub(crate) async fn read(&self, id: &RemoteId) -> Option<RemoteAccount> {
        match self.run(Operation::Read(id.clone())).await {
            Ok(Reply::Found(mut accounts)) => accounts.pop(),
            Ok(Reply::Absent) => None,
            other => panic!("not read: {other:?}"),
        }
    }

    /// The values that the account holds now.
    pub(crate) async fn held(&self, id: &RemoteId, paths: &[&str]) -> Vec<Value> {
        let account = self.read(id).await.expect("the account is there");
        let read = |path: &&str| {
            self.connector
                .read_attribute(&account, &AttributePath((*path).to_owned()))
        };
        paths.iter().map(|path| read(path).unwrap_or(Value::Null)).collect()
    }

    /// All accounts, page by page.
    pub(crate) async fn list(&self) -> Vec<RemoteAccount> {
        self.list_all().await.expect("a complete list")
    }

    /// All accounts, or why the list has no end.
    pub(crate) async fn list_all(&self) -> Result<Vec<RemoteAccount>, Failure> {
        let (mut all, mut cursor) = (Vec::new(), None);
        loop {
            match self.run(Operation::List { cursor: cursor.take() }).await? {
                Reply::Page { accounts, next } => {
                    all.extend(accounts);
                    match next {
                        Some(next) => cursor = Some(next),
                        None => return Ok(all),
                    }
                }
                other => panic!("no page: {other:?}"),
            }
        }
    }
}

/// The life of a group, the same at every target.
pub(crate) async fn live_groups(target: &Target, tag: &str) {
    let mut people = Vec::new();
    for name in ["ann", "bob", "cy"] {
        let name = format!("{name}-{tag}");
        people.push(target.create(&person(&name, &name)).await);
    }
    let [ann, bob, cy] = [&people[0], &people[1], &people[2]];
    let (sales, emea) = (format!("Sales \"{tag}\" \\ 1"), format!("EMEA {tag}"));
    let found = |name: &str| {
        let name = name.to_owned();
        async move {
            match target.run(Operation::FindGroup { name }).await {
                Ok(Reply::Groups(groups)) => groups.into_iter().map(|group| group.id).collect::<Vec<_>>(),
                other => panic!("no groups: {other:?}"),
            }
        }
    };
    assert!(found(&sales).await.is_empty());
    let group = match target.run(Operation::CreateGroup { name: sales.clone() }).await {
        Ok(Reply::GroupWritten(id)) => id,
        other => panic!("not made: {other:?}"),
    };
    assert_eq!(found(&sales.to_uppercase()).await, vec![group.clone()]);
    assert!(found(&emea).await.is_empty());
    let change = |add: &[&RemoteId], remove: &[&RemoteId], known: usize| {
        let ids = |ids: &[&RemoteId]| ids.iter().map(|id| (*id).clone()).collect();
        target.run(Operation::ChangeMembers {
            id: group.clone(),
            add: ids(add),
            remove: ids(remove),
            known,
        })
    };
    let members = || async {
        match target.run(Operation::ReadGroup(group.clone())).await {
            Ok(Reply::Members(members)) => {
                let mut members = members.unwrap_or_default();
                members.sort();
                members
            }
            other => panic!("no members: {other:?}"),
        }
    };
    let sorted = |ids: &[&RemoteId]| {
        let mut ids: Vec<RemoteId> = ids.iter().map(|id| (*id).clone()).collect();
        ids.sort();
        ids
    };
    assert_eq!(change(&[ann, bob], &[], 0).await, Ok(Reply::Changed));
    assert_eq!(members().await, sorted(&[ann, bob]));
    assert_eq!(change(&[cy], &[ann], 2).await, Ok(Reply::Changed));
    assert_eq!(members().await, sorted(&[bob, cy]));
    // Once more is no mistake, whatever the server says to it.
    assert_eq!(change(&[cy], &[], 2).await, Ok(Reply::Changed));
    assert_eq!(change(&[], &[ann], 2).await, Ok(Reply::Changed));
    assert_eq!(members().await, sorted(&[bob, cy]));
    let renamed = Operation::RenameGroup {
        id: group.clone(),
        name: emea.clone(),
    };
    assert_eq!(target.run(renamed).await, Ok(Reply::GroupWritten(group.clone())));
    assert_eq!(found(&emea).await, vec![group.clone()]);
    assert!(found(&sales).await.is_empty());
    assert_eq!(members().await, sorted(&[bob, cy]), "a new name costs nobody");
    let nowhere = Operation::ReadGroup(RemoteId("no-such-group".to_owned()));
    assert_eq!(target.run(nowhere).await, Ok(Reply::Absent));
}

pub(crate) fn find(external_id: &str, by: &[(&str, &str)]) -> Operation {
    let by = by
        .iter()
        .map(|(path, value)| (AttributePath((*path).to_owned()), (*value).to_owned()))
        .collect();
    Operation::Find {
        external_id: external_id.to_owned(),
        by,
    }
}

pub(crate) fn values(pairs: &[(&str, Value)]) -> AttributeValues {
    pairs
        .iter()
        .map(|(path, value)| (AttributePath((*path).to_owned()), value.clone()))
        .collect()
}

/// A whole person.
pub(crate) fn person(key: &str, name: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("externalId", json!(key)),
        ("userName", json!(format!("{name}@acme.com"))),
        ("active", json!(true)),
        ("name.givenName", json!(name)),
        ("name.familyName", json!("Ó Bróin")),
        ("displayName", json!(name)),
        ("title", json!("AE")),
        (WORK, json!(format!("{name}+work@acme.com"))),
        (DEPARTMENT, json!("Sales")),
    ]
}

/// What a whole life may meet at a target.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ways {
    /// Switching off ends the account or hides it: coming back is a create.
    pub(crate) off_is_gone: bool,
    /// DELETE leaves the account there, switched off.
    pub(crate) delete_keeps: bool,
    /// The target forgets our key.
    pub(crate) keyless: bool,
}

/// A whole life with one value per list, at targets whose ways differ; `name` keeps lives at one target apart.
pub(crate) async fn life(target: &Target, ways: Ways, name: &str) {
    let (mail, key) = (format!("{name}@acme.com"), format!("key-{name}"));
    let values_of = |active: bool| {
        vec![
            ("externalId", json!(key)),
            ("userName", json!(mail)),
            ("active", json!(active)),
            ("name.givenName", json!("Ada")),
            ("name.familyName", json!("Byron")),
            ("displayName", json!("Ada Byron")),
            ("title", json!("AE")),
            (WORK, json!(mail)),
            (DEPARTMENT, json!("Sales")),
        ]
    };
    let ada = target.create(&values_of(true)).await;
    let by: [(&str, Vec<(&str, &str)>); 3] = [
        (&key, vec![]),
        ("", vec![("userName", &mail)]),
        ("", vec![(WORK, &mail)]),
    ];
    for (key, by) in by.iter().filter(|(key, _)| !ways.keyless || key.is_empty()) {
        let found = target.find(key, by).await;
        assert_eq!(
            found.iter().map(|account| &account.id).collect::<Vec<_>>(),
            [&ada],
            "{by:?}"
        );
    }
    assert!(target.find("", &[("userName", "nobody@acme.com")]).await.is_empty());

    let changes = [
        ("title", json!("CTO")),
        ("name.givenName", json!("Augusta")),
        (DEPARTMENT, Value::Null),
        ("nickName", Value::Null),
    ];
    target.update(&ada, &changes).await;
    let held = target
        .held(&ada, &["title", "name.givenName", "name.familyName", DEPARTMENT, WORK])
        .await;
    assert_eq!(
        held,
        [json!("CTO"), json!("Augusta"), json!("Byron"), Value::Null, json!(mail)]
    );

    // Off, and something else with it: both count.
    target
        .update(&ada, &[("active", json!(false)), ("title", json!("left"))])
        .await;
    let mut now = ada.clone();
    if ways.off_is_gone {
        assert!(target.read(&ada).await.is_none());
        let back = Operation::Update {
            id: ada.clone(),
            values: values(&[("active", json!(true))]),
            etag: None,
        };
        assert_eq!(target.run(back).await, Ok(Reply::Absent));
        now = target.create(&values_of(true)).await;
    } else {
        assert_eq!(target.read(&ada).await.unwrap().active, Some(false));
        assert_eq!(target.held(&ada, &["title"]).await, [json!("left")]);
        target.update(&ada, &[("active", json!(true))]).await;
        assert_eq!(target.find("", &[("userName", &mail)]).await.len(), 1);
    }
    assert_eq!(target.read(&now).await.unwrap().active, Some(true));

    // The name is taken.
    let twin = target
        .run(Operation::Create {
            values: values(&values_of(true)),
        })
        .await;
    match twin {
        Ok(Reply::Conflict(_)) => {}
        // An account with our key is ours, however the create was answered.
        Ok(Reply::Written { id, .. }) => assert_eq!(id, now),
        other => panic!("{other:?}"),
    }
    assert!(target.list().await.iter().any(|account| account.id == now));

    let deleted = target.run(Operation::Delete(now.clone())).await;
    // Where DELETE only switches off, the dialect writes `active` instead.
    let switched_off = matches!(&deleted, Ok(Reply::Written { account, .. }) if account.as_ref().and_then(|a| a.active) == Some(false));
    assert!(
        deleted == Ok(Reply::Deleted) || (ways.delete_keeps && switched_off),
        "{deleted:?}"
    );
    match target.read(&now).await {
        Some(account) => assert!(ways.delete_keeps && account.active == Some(false)),
        None => assert!(!ways.delete_keeps || ways.off_is_gone),
    }
}

/// The life of one account, the same at every target.
pub(crate) async fn live(target: &Target) {
    let ada = target.create(&person("005A", "ada")).await;
    let bob = target.create(&person("005B", "bob")).await;
    for (external_id, by) in [
        ("005A", vec![]),
        ("005X", vec![("userName", "ADA@acme.com")]),
        ("005X", vec![("userName", "nobody"), (WORK, "ada+work@acme.com")]),
    ] {
        let found = target.find(external_id, &by).await;
        assert_eq!(
            found.iter().map(|account| &account.id).collect::<Vec<_>>(),
            [&ada],
            "{external_id} {by:?}"
        );
    }
    assert!(
        target
            .find("005X", &[("userName", "eve@acme.com"), (WORK, "eve@acme.com")])
            .await
            .is_empty()
    );

    // Changes of every shape in one write.
    let changes = [
        ("userName", json!("ada.byron@acme.com")),
        ("name.familyName", json!("King \"Countess\" 伯爵")),
        ("title", Value::Null),
        (WORK, json!("ada.byron@acme.com")),
        (DEPARTMENT, json!("Engines")),
        (MANAGER, json!(bob.0)),
        (r#"phoneNumbers[type eq "mobile"].value"#, json!("+44 20 7946 0000")),
    ];
    target.update(&ada, &changes).await;
    let paths: Vec<&str> = changes.iter().map(|(path, _)| *path).collect();
    let wanted: Vec<Value> = changes.iter().map(|(_, value)| value.clone()).collect();
    assert_eq!(target.held(&ada, &paths).await, wanted);
    assert_eq!(
        target.held(&ada, &["name.givenName", "displayName"]).await,
        [json!("ada"), json!("ada")]
    );
    assert_eq!(target.find("", &[("userName", "ada.byron@acme.com")]).await.len(), 1);
    assert!(target.find("", &[("userName", "ada@acme.com")]).await.is_empty());

    // Clearing what is there and what is not.
    let cleared = [
        (DEPARTMENT, Value::Null),
        (MANAGER, Value::Null),
        (r#"phoneNumbers[type eq "mobile"].value"#, Value::Null),
        (r#"phoneNumbers[type eq "work"].value"#, Value::Null),
        ("nickName", Value::Null),
    ];
    target.update(&ada, &cleared).await;
    let paths: Vec<&str> = cleared.iter().map(|(path, _)| *path).collect();
    assert_eq!(target.held(&ada, &paths).await, vec![Value::Null; 5]);

    for active in [false, true] {
        target.update(&ada, &[("active", json!(active))]).await;
        assert_eq!(target.read(&ada).await.unwrap().active, Some(active));
        assert_eq!(
            target.find("005A", &[]).await.len(),
            1,
            "inactive accounts are found as well"
        );
    }

    // The same name in another case is taken, on creating and on renaming.
    let mut twin = person("005T", "bob");
    twin[1].1 = json!("BOB@acme.com");
    let result = target.run(Operation::Create { values: values(&twin) }).await;
    assert!(matches!(result, Ok(Reply::Conflict(_))), "{result:?}");
    let rename = values(&[("userName", json!("bob@acme.com"))]);
    let result = target
        .run(Operation::Update {
            id: ada.clone(),
            values: rename,
            etag: None,
        })
        .await;
    assert!(matches!(result, Ok(Reply::Conflict(_))), "{result:?}");

    let all = target.list().await;
    assert_eq!(
        all.iter().filter(|account| [&ada, &bob].contains(&&account.id)).count(),
        2
    );

    assert_eq!(target.run(Operation::Delete(ada.clone())).await, Ok(Reply::Deleted));
    assert_eq!(target.run(Operation::Delete(ada.clone())).await, Ok(Reply::Deleted));
    assert!(target.read(&ada).await.is_none());
    let update = Operation::Update {
        id: ada,
        values: values(&[("title", json!("x"))]),
        etag: None,
    };
    assert_eq!(target.run(update).await, Ok(Reply::Absent));
    assert!(target.find("005A", &[]).await.is_empty());
    assert_eq!(target.run(Operation::Delete(bob)).await, Ok(Reply::Deleted));
}
