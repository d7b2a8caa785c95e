//! Groups over a real Kafka: made and filled, known again by a successor and under another name of the target.

mod installation;

use std::fmt::Write as _;

use installation::{Installation, person, until};
use usher_contract::{GroupRef, Known, UserChange};

fn member(n: u32, version: u64, groups: &[(&str, &str)]) -> UserChange {
    let mut change = person(n, version);
    let of = |(id, name): &(&str, &str)| GroupRef {
        id: id.parse().expect("an id"),
        name: Known::Value((*name).to_owned()),
        direct: true,
    };
    change.user.groups = Known::Value(groups.iter().map(of).collect());
    change
}

const SALES: (&str, &str) = ("00G000000000001", "Sales");
const EMEA: (&str, &str) = ("00G000000000002", "EMEA");

/// Each group with how many are in it.
fn groups(installation: &Installation) -> Vec<(String, usize)> {
    let groups = installation.sim("helpdesk").groups();
    let of = |group: &serde_json::Value| {
        let name = group["displayName"].as_str().unwrap_or_default().to_owned();
        (name, group["members"].as_array().map_or(0, Vec::len))
    };
    groups.iter().map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_knows_the_groups_also_under_another_name_of_the_target() {
    let installation = Installation::with_targets(&["helpdesk"]).await;
    let file = installation.policy.path().join("helpdesk.yaml");
    let mut text = std::fs::read_to_string(&file).expect("a policy");
    text.push_str("\ngroups: { from: [groups], removeStale: true }\n");
    std::fs::write(&file, &text).expect("with groups");

    let first = installation.start().await;
    for n in 1..=5 {
        installation.publish(&member(n, 1, &[SALES])).await;
    }
    until("everybody is in the group", || {
        groups(&installation) == [("Sales".to_owned(), 5)]
    })
    .await;
    until("it was read back", || {
        let reads = installation.sim("helpdesk").requests();
        reads
            .iter()
            .any(|request| request.method == "GET" && request.path.starts_with("/Groups/"))
    })
    .await;
    first.kill().await;

    // Its successor makes nothing twice, and takes out whom the first one has put in.
    let second = installation.start().await;
    installation.publish(&member(1, 2, &[EMEA])).await;
    let moved = [("Sales".to_owned(), 4), ("EMEA".to_owned(), 1)];
    until("one has moved", || groups(&installation) == moved).await;
    second.stop().await;

    // Under another name what is known comes along.
    std::fs::remove_file(&file).expect("the old file goes");
    let mut renamed = text.replace("target: helpdesk", "target: desk");
    writeln!(renamed, "formerly: helpdesk").expect("a text");
    std::fs::write(installation.policy.path().join("desk.yaml"), renamed).expect("the new file");
    installation.sim("helpdesk").reset_log();
    let third = installation.start().await;
    installation.publish(&member(2, 2, &[EMEA])).await;
    let moved = [("Sales".to_owned(), 3), ("EMEA".to_owned(), 2)];
    until("another one has moved", || groups(&installation) == moved).await;
    let writes = installation.sim("helpdesk").writes();
    assert!(writes.iter().all(|write| write.method == "PATCH"), "{writes:?}");
    assert_eq!(writes.len(), 2, "one leaves, one joins: {writes:?}");
    third.stop().await;
}
