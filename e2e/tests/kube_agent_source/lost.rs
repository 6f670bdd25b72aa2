//! An API server whose store is lost, or put back to an earlier state.

use std::time::{Duration, Instant};

use sluice_api_access::Access;

use crate::cluster::{Cluster, PATIENCE, Told, name};
use crate::gate::Gate;

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
    // The source shall see that nothing is there, and long before its patience is over all of it.
    assert_eq!(removed(&mut told, Duration::from_secs(3)), 0);
    cluster.make_all_again(SERVICES);
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
    // The source may have looked long before the API server called itself ready.
    assert!(
        begun.elapsed() > Duration::from_secs(10),
        "it was believed at once"
    );
}

#[test]
fn what_changes_in_a_store_that_was_put_back_is_told() {
    let Some(mut cluster) = Cluster::start("a store that is put back", &[]) else {
        return;
    };
    // A kind that is not there would be asked for again and again, and the store looked at each time.
    cluster.define();
    cluster.serve_many(SERVICES);
    cluster.serve("web", "10.244.1.5");
    cluster.control_plane.back_up_etcd().unwrap();
    let gate = Gate::to(&cluster.control_plane.url());
    let mut told = Told::by(
        &Access {
            server: Some(gate.url()),
            ..cluster.access()
        },
        None,
    );
    assert!(told.next().services.contains_key(&name("web")));
    // The watches go far beyond the backup,
    for note in 0..5 {
        touch(&cluster, note);
    }
    gate.cut();
    cluster.control_plane.restore_etcd().unwrap();
    // and the store, once it is back, beyond where they began, but not as far.
    touch(&cluster, 0);
    cluster.serve("web", "10.244.1.77");
    gate.mend();
    let update = told.until("the change", |update| !update.slices.is_empty());
    let slice = update.slices[&name("web")].as_ref().unwrap();
    assert_eq!(slice.endpoints[0].address.to_string(), "10.244.1.77");
}

/// Changes every service and slice, and nothing that matters.
fn touch(cluster: &Cluster, note: usize) {
    let note = format!("note={note}");
    let kinds = "services,endpointslices";
    let annotate = ["annotate", kinds, "--all", "--overwrite", &note];
    cluster.kubectl.run(&annotate).unwrap();
}
