//! A target gets another name: its links move, nobody is looked up or written again, and the former name is given up.

mod installation;

use std::time::Duration;

use installation::{Installation, Running, account, person, until};
use serde_json::Value;
use usher_contract::{Known, TargetName, UserChange};

fn titled(n: u32, version: u64, title: &str) -> UserChange {
    let mut change = person(n, version);
    change.user.title = Known::Value(title.into());
    change
}

/// The policy folder as it is after a rename.
fn rename(installation: &Installation, from: &str, to: &str) {
    let folder = installation.policy.path();
    let old = folder.join(format!("{from}.yaml"));
    let text = std::fs::read_to_string(&old).expect("the policy of the target");
    let text = text
        .replace(
            &format!("target: {from}\n"),
            &format!("target: {to}\nformerly: {from}\n"),
        )
        .lines()
        .filter(|line| *line != format!("formerly: {to}"))
        .map(|line| format!("{line}\n"))
        .collect::<String>();
    std::fs::write(folder.join(format!("{to}.yaml")), text).expect("a policy file");
    std::fs::remove_file(old).expect("the old file goes");
}

/// Names of targets that links are kept under.
async fn names_of_links(installation: &Installation) -> Vec<(String, usize)> {
    let topic = format!("{}provisioning.link", installation.prefix);
    let mut latest = std::collections::BTreeMap::new();
    for record in installation.kafka.read_committed(&topic).await {
        let key = record.key_text().to_owned();
        if !key.ends_with("/mark") {
            latest.insert(key, record.value.is_some());
        }
    }
    let mut names = std::collections::BTreeMap::<String, usize>::new();
    for (key, _) in latest.into_iter().filter(|(_, there)| *there) {
        let (name, _) = key.split_once('/').expect("target and person");
        *names.entry(name.to_owned()).or_default() += 1;
    }
    names.into_iter().collect()
}

async fn active(service: &Running, name: &str) {
    until(&format!("{name} is active and has planned everybody"), || {
        service.is_active(name) && service.rests(name)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_target_keeps_its_links_and_writes_nothing_twice() {
    let installation = Installation::with_targets(&["helpdesk"]).await;
    let sim = installation.sim("helpdesk");
    let before = installation.start().await;
    for n in 1..=20 {
        installation.publish(&titled(n, 1, "SDR")).await;
    }
    until("everybody has an account", || {
        sim.user_count() == 20 && before.rests("helpdesk")
    })
    .await;

    // It dies without handing back, and its successor has the new folder.
    let old_policy = std::fs::read_to_string(installation.policy.path().join("helpdesk.yaml")).expect("a policy");
    before.kill().await;
    rename(&installation, "helpdesk", "desk");
    sim.reset_log();
    let after = installation.start().await;
    active(&after, "desk").await;
    // The connection check alone: what the server is, and one account to see that the credentials are good.
    let asked: Vec<String> = sim.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(
        asked,
        ["/ServiceProviderConfig", "/Users"],
        "nobody is looked up, nothing is written"
    );
    assert_eq!(names_of_links(&installation).await, [("desk".to_owned(), 20)]);
    installation.publish(&titled(1, 2, "AE")).await;
    until("a change arrives under the new name", || {
        account(sim, 1).is_some_and(|account| account["title"] == "AE")
    })
    .await;
    let removed = after.status.snapshot().removed;
    let name = TargetName::try_new("helpdesk").expect("a name");
    assert_eq!(removed.get(&name).map(String::as_str), Some("renamed to desk"));
    after.stop().await;

    // Somebody with the old folder: it does not begin anew under the name that was given up.
    let new_policy = installation.policy.path().join("desk.yaml");
    let kept = std::fs::read_to_string(&new_policy).expect("a policy");
    std::fs::remove_file(&new_policy).expect("the new file goes");
    let old_file = installation.policy.path().join("helpdesk.yaml");
    std::fs::write(&old_file, old_policy).expect("the old file comes back");
    let late = installation.start().await;
    until("it says why it does not run the target", || {
        let problem = late.target("helpdesk").and_then(|target| target.problem);
        problem.is_some_and(|problem| problem.contains("helpdesk was renamed to desk"))
    })
    .await;
    late.stop().await;
    std::fs::remove_file(&old_file).expect("and goes again");
    std::fs::write(&new_policy, kept).expect("the new file is back");
    assert_eq!(sim.write_count(), 1, "one write for one change");

    // And back.
    rename(&installation, "desk", "helpdesk");
    sim.reset_log();
    let back = installation.start().await;
    active(&back, "helpdesk").await;
    installation.publish(&titled(2, 2, "AE")).await;
    until("a change arrives under the old name", || {
        account(sim, 2).is_some_and(|account| account["title"] == "AE")
    })
    .await;
    assert_eq!(sim.write_count(), 1);
    assert_eq!(names_of_links(&installation).await, [("helpdesk".to_owned(), 20)]);
    back.stop().await;

    // Taken out of the folder altogether: said, and the accounts stay as they are.
    std::fs::remove_file(installation.policy.path().join("helpdesk.yaml")).expect("the file goes");
    let without = installation.start().await;
    until("it is said that nobody runs it", || {
        let removed = without.status.snapshot().removed;
        removed.get(&name).is_some_and(|words| words.contains("nobody runs it"))
    })
    .await;
    installation.publish(&titled(3, 2, "AE")).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((sim.write_count(), sim.user_count()), (1, 20));
    assert!(sim.users().iter().all(|account| account["active"] == Value::Bool(true)));
    without.stop().await;
}
