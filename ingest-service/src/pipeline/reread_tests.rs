//! Re-reads against a simulated org: members, others, deleted ones, and those whom nobody can see.

use salesforce_sim::{Permissions, Sim, SimConfig};

use super::*;
use crate::{logic::normalize::Fields, pipeline::simulated};

#[tokio::test]
async fn whoever_was_deleted_is_known_to_be_no_member_and_whoever_is_hidden_is_not() {
    let sim = Sim::start(SimConfig {
        users: 130,
        ..SimConfig::default()
    })
    .await
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let parts = simulated::parts(&sim, folder.path(), "");
    let org = sim.org();
    let of = |kind: &str| -> Vec<UserId> {
        let users = org.users().into_iter();
        let ids = users.filter(|user| user.text("UserType") == Some(kind));
        ids.map(|user| UserId::try_new(&user.id).unwrap()).collect()
    };
    let (standard, portal) = (of("Standard"), of("CspLitePortal"));
    org.delete_user(&portal[1].to_string()).unwrap();
    let population = Population::new("UserType = 'Standard'", &[], &[]);
    let described = parts.rest.describe_user().await.unwrap();
    let fields = QueryFields::new(&Fields::default(), |name| described.contains_key(name));
    let stranger = UserId::try_new("005000000000999").unwrap();
    let asked = [standard[1], portal[0], portal[1], stranger];
    let read = async || members_among(&parts, &population, &fields, &asked).await.unwrap().0;

    let answer = read().await;
    assert_eq!(answer.members.into_keys().collect::<Vec<_>>(), [standard[1]]);
    assert_eq!(answer.others, HashSet::from([portal[0], portal[1]]));
    org.set_permissions(Permissions {
        view_all_users: false,
        ..Permissions::default()
    });
    assert_eq!(read().await, Members::default(), "who cannot be seen has not been read");
}
