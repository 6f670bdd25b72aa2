//! What people are told when a status changes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use sluice_crds::v1alpha1::conditions::{READY, RECONCILING, STALLED};

use super::*;

fn status(
    current: &str,
    update: &str,
    conditions: &[(&str, &str, &str)],
) -> ServiceProxyPolicyStatus {
    let condition = |&(kind, status, reason): &(&str, &str, &str)| Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: format!("{kind} is {status}"),
        observed_generation: Some(1),
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
    };
    ServiceProxyPolicyStatus {
        matched_nodes: Some(3),
        current_revision: (!current.is_empty()).then(|| current.to_owned()),
        update_revision: Some(update.to_owned()),
        conditions: conditions.iter().map(condition).collect(),
        ..ServiceProxyPolicyStatus::default()
    }
}

fn reasons(old: &ServiceProxyPolicyStatus, new: &ServiceProxyPolicyStatus) -> Vec<&'static str> {
    let events = events(old, new);
    events.into_iter().map(|event| event.reason).collect()
}

const DONE: [(&str, &str, &str); 2] = [
    (READY, "True", "AllNodesReady"),
    (STALLED, "False", "Progressing"),
];
const GOING: [(&str, &str, &str); 2] = [
    (READY, "False", "Reconciling"),
    (STALLED, "False", "Progressing"),
];

#[test]
fn a_rollout_begins_once_and_ends_once() {
    let before = status("p-1", "p-1", &DONE);
    let going = status("p-1", "p-2", &GOING);
    let done = status("p-2", "p-2", &DONE);
    assert_eq!(reasons(&before, &going), ["RolloutStarted"]);
    assert_eq!(reasons(&going, &going), Vec::<&str>::new());
    assert_eq!(reasons(&going, &done), ["RolloutCompleted"]);
    assert_eq!(reasons(&done, &done), Vec::<&str>::new());
}

#[test]
fn a_first_revision_is_a_rollout_too() {
    let going = status("", "p-1", &GOING);
    let none = ServiceProxyPolicyStatus::default();
    assert_eq!(reasons(&none, &going), ["RolloutStarted"]);
    let done = status("p-1", "p-1", &DONE);
    assert_eq!(reasons(&going, &done), ["RolloutCompleted"]);
}

#[test]
fn a_node_that_joins_or_is_not_ready_for_a_moment_is_no_rollout() {
    let settled = status("p-1", "p-1", &DONE);
    let moment = status("p-1", "p-1", &GOING);
    assert_eq!(reasons(&settled, &moment), Vec::<&str>::new());
    assert_eq!(reasons(&moment, &settled), Vec::<&str>::new());
}

#[test]
fn a_data_plane_that_auto_changes_is_told_once() {
    let by_auto = [
        (READY, "False", "Reconciling"),
        (RECONCILING, "True", "ModeByAuto"),
        (STALLED, "False", "Progressing"),
    ];
    let settled = status("p-1", "p-1", &DONE);
    let by_auto = status("p-1", "p-1", &by_auto);
    let told = events(&settled, &by_auto);
    assert_eq!(told.len(), 1);
    assert!(!told[0].is_warning && told[0].reason == "ModeByAuto");
    assert_eq!(told[0].note, "Reconciling is True");
    assert_eq!(reasons(&by_auto, &by_auto), Vec::<&str>::new());
    assert_eq!(reasons(&by_auto, &settled), Vec::<&str>::new());
}

#[test]
fn what_is_in_the_way_and_that_it_is_gone_is_told() {
    let stalled = [
        (READY, "False", "NodesNotReady"),
        (STALLED, "True", "ProgressDeadlineExceeded"),
    ];
    let settled = status("p-1", "p-1", &DONE);
    let stalled = status("p-1", "p-1", &stalled);
    assert_eq!(reasons(&settled, &stalled), ["RolloutStalled"]);
    assert_eq!(reasons(&stalled, &settled), ["RolloutCompleted"]);
}
