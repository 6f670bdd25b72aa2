//! An API server whose store is lost.

use std::time::{Duration, Instant};

use crate::cluster::{Cluster, PATIENCE, Told};

const SERVICES: usize = 30;

/// Removals of services that are told within the time.
fn removed(told: &mut Told, within: Duration) -> usize {
    let begun = Instant::now();
    let mut removed = 0;
    while let Some(left) = within.checked_sub(begun.elapsed()) {
        if let Some(update) = told.within(left) {
            removed += update.services.values().filter(|s| s.is_none()).count();
        }
    }
    removed
}

#[test]
fn what_comes_back_soon_was_never_gone() {
    let Some(mut cluster) = Cluster::start("a store that is restored", &[]) else {
        return;
    };
    cluster.serve_many(SERVICES);
    let mut told = cluster.source();
    assert!(told.next().services.len() >= SERVICES);
    cluster.control_plane.empty_etcd().unwrap();
    cluster.make_node();
    assert_eq!(removed(&mut told, Duration::from_secs(5)), 0);
    cluster.serve_many(SERVICES);
    assert_eq!(removed(&mut told, Duration::from_secs(45)), 0);
}

#[test]
fn what_does_not_come_back_is_gone_after_a_while() {
    let Some(mut cluster) = Cluster::start("a store that is lost", &[]) else {
        return;
    };
    cluster.serve_many(SERVICES);
    let mut told = cluster.source();
    assert!(told.next().services.len() >= SERVICES);
    cluster.control_plane.empty_etcd().unwrap();
    let begun = Instant::now();
    let mut gone = 0;
    while gone < SERVICES {
        assert!(
            begun.elapsed() < 2 * PATIENCE,
            "{gone} of {SERVICES} are gone"
        );
        gone += removed(&mut told, Duration::from_secs(1));
    }
    assert!(
        begun.elapsed() > Duration::from_secs(20),
        "it was believed at once"
    );
}
