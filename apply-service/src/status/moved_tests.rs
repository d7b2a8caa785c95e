//! What is said of a target whose links are of another application.

use prometheus::Registry;

use super::*;
use crate::logic::testing::policy;

#[test]
fn links_of_another_application_alarm_at_once_and_have_a_metric() {
    let registry = Registry::new();
    let metrics = Arc::new(Metrics::new(&registry).unwrap());
    let alarms = AlarmsConfig {
        leavers: Duration::from_secs(3600),
        held: Duration::from_secs(3600),
        credentials: Duration::from_secs(3600),
    };
    let status = StatusHandle::new(Arc::default(), Arc::default(), Vec::new(), metrics, alarms);
    let name = policy().name;
    status.declare(&name, "enforce");
    let told = |moved: bool, since: i64| {
        let lane = LaneStatus {
            moved,
            moved_since: moved.then(|| clock::now() - jiff::SignedDuration::from_secs(since)),
            links: 7,
            ..LaneStatus::default()
        };
        status.lane(&name, lane, 0);
        let families = registry.gather();
        let family = families.iter().find(|family| family.name() == "apply_moved").unwrap();
        let gauge = family.get_metric()[0].get_gauge().get_value();
        (status.snapshot().targets[&name].alarms.clone(), gauge > 0.5)
    };
    let (alarms, metric) = told(true, 1);
    assert_eq!((alarms.len(), metric), (1, true), "{alarms:?}");
    assert!(alarms[0].contains("than that of the 7 links"), "{alarms:?}");
    let (alarms, _) = told(true, 7200);
    assert!(
        alarms
            .iter()
            .any(|alarm| alarm.contains("waits for an operator") && alarm.contains(": moved;")),
        "{alarms:?}"
    );
    assert_eq!(told(false, 0), (Vec::new(), false));
}
