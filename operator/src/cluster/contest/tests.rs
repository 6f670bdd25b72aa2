use serde_json::json;
use sluice_crds::v1alpha1::{ActiveMode, NodeServiceProxySpec, ResolvedSettings};

use super::*;

fn write(mode: ActiveMode) -> NodeWrite {
    NodeWrite {
        node: Arc::from("n"),
        uid: "u".to_owned(),
        spec: NodeServiceProxySpec {
            policy: "p".to_owned(),
            policy_generation: 1,
            revision: "p-1".to_owned(),
            mode,
            settings: ResolvedSettings::default(),
        },
        moved_at: None,
        mode_before: None,
    }
}

/// Writes whenever that is allowed; tells at which second.
fn written(contest: &mut Contest, modes: &[ActiveMode], seconds: u64) -> Vec<u64> {
    let begun = Instant::now();
    let mut written = Vec::new();
    for second in 0..seconds {
        let now = begun + Duration::from_secs(second);
        let mode = modes[written.len() % modes.len()];
        let mut plan = Plan {
            nodes: vec![write(mode)],
            ..Plan::default()
        };
        let due = contest.hold_back(&mut plan, now);
        assert_eq!(plan.nodes.is_empty(), due.is_some());
        for write in plan.nodes {
            contest.wrote(Kind::Proxy, &write.node, of_node(&write), now);
            written.push(second);
        }
    }
    written
}

#[test]
fn what_is_undone_again_and_again_is_written_at_growing_intervals_and_at_last_once_a_minute() {
    let at = written(&mut Contest::default(), &[ActiveMode::IPVS], 300);
    assert_eq!(at, [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]);
}

#[test]
fn what_changes_is_written_at_once() {
    let modes = [ActiveMode::IPVS, ActiveMode::IPTables];
    assert_eq!(written(&mut Contest::default(), &modes, 50).len(), 50);
}

#[test]
fn what_was_undone_long_ago_is_forgotten() {
    let mut contest = Contest::default();
    let write = write(ActiveMode::IPVS);
    let begun = Instant::now();
    for _ in 0..8 {
        contest.wrote(Kind::Proxy, &write.node, of_node(&write), begun);
    }
    let mut plan = Plan {
        nodes: vec![write],
        ..Plan::default()
    };
    assert_eq!(contest.hold_back(&mut plan, begun + FORGOTTEN), None);
    assert_eq!(plan.nodes.len(), 1);
}

#[test]
fn who_writes_beside_us_is_known_by_the_part_of_the_object() {
    let entry = |manager: &str, part: &str, time: &str| json!({"manager": manager, "time": time, "fieldsType": "FieldsV1", "fieldsV1": {part: {}}});
    let metadata: ObjectMeta = serde_json::from_value(json!({"managedFields": [
        entry("sluice-operator", "f:spec", "2026-01-04T00:00:00Z"),
        entry("somebody", "f:spec", "2026-01-01T00:00:00Z"),
        entry("kubectl-edit", "f:spec", "2026-01-02T00:00:00Z"),
        entry("sluice-agent", "f:status", "2026-01-03T00:00:00Z"),
    ]}))
    .unwrap();
    let another = |part, us| another_writer(&metadata, part, us);
    assert_eq!(
        another("f:spec", "sluice-operator").as_deref(),
        Some("kubectl-edit")
    );
    assert_eq!(another("f:status", "sluice-agent"), None);
}
