//! One suite of behaviours, run against the kernel's IPVS and against its twin in memory.
//!
//! Every listing of the kernel's is also compared with what the `ipvsadm` program lists. Without IPVS in the kernel those
//! tests are skipped, unless `SLUICE_REQUIRE_IPVS` is 1.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking.

#[path = "ipvs/batches.rs"]
mod batches;
mod behaviours;
#[path = "ipvs/connections.rs"]
mod connections;
#[path = "ipvs/destinations.rs"]
mod destinations;
mod namespace;
#[path = "ipvs/program.rs"]
mod program;
#[path = "ipvs/sample.rs"]
mod sample;
#[path = "ipvs/services.rs"]
mod services;
#[path = "ipvs/subject.rs"]
mod subject;

use std::time::Instant;

use sluice_kernel::ipvs::{
    Cause, Change, ConnectionCounts, Family, Forward, Ipvs, IpvsError, IpvsNetlink, MemoryIpvs,
    Traffic, scheduler_modules,
};
use sluice_kernel::modules::{MemoryModules, ModuleState};

use behaviours::on_both;
use namespace::{in_new_namespace, sh, without_net_admin};
use sample::{destination, make, marked, plain, tcp};
use subject::{Subject, in_kernel};

on_both! {
    MemoryIpvs,
    services:
        a_virtual_server_of_every_kind_is_listed_as_it_was_created,
        persistence_has_its_timeout_and_mask,
        flags_are_those_of_the_scheduler_and_of_one_packet,
        every_scheduler_that_is_there_is_taken_and_any_other_is_named,
        a_virtual_server_is_created_once,
        a_missing_virtual_server_is_neither_set_nor_deleted,
        an_unknown_scheduler_is_named,
        all_of_a_virtual_server_is_set_and_unset_and_its_real_servers_stay,
        a_deleted_virtual_server_takes_its_real_servers_along,
        what_no_kernel_takes_is_not_sent;
    destinations:
        a_real_server_of_every_kind_is_listed_as_it_was_created,
        a_real_server_is_created_once,
        a_missing_real_server_is_neither_set_nor_deleted,
        real_servers_need_their_virtual_server,
        a_weight_is_taken_away_and_given_back,
        weights_and_thresholds_out_of_range_are_refused,
        an_address_that_is_not_unicast_is_refused,
        only_a_tunnel_leads_to_the_other_family;
    batches:
        a_refused_change_is_told_by_its_place_and_keeps_no_other,
        a_batch_of_refused_changes_is_told_whole,
        changes_are_made_in_their_order,
        a_change_is_one_message_and_many_share_a_send,
        services_are_one_message_and_destinations_one_each,
        timeouts_are_set_and_zero_keeps_them,
        information_has_version_and_table_size;
}

#[test]
fn a_large_table_is_filled_and_listed() {
    in_kernel(|ipvs| {
        let changes: Vec<_> = (0..500_u32)
            .flat_map(|number| {
                let of = tcp(&format!("10.{}.{}.1:80", 100 + number / 200, number % 200));
                let reals = (1..=10).map(move |n| {
                    Change::NewDestination(
                        of,
                        destination(&format!("10.1.{}.{n}:80", number % 200)),
                    )
                });
                std::iter::once(Change::NewService(plain(of))).chain(reals)
            })
            .collect();
        let (before, start) = (ipvs.traffic(), Instant::now());
        make(ipvs, &changes);
        eprintln!("5,500 changes in {:?}", start.elapsed());
        let Traffic { messages, sends } = ipvs.traffic();
        assert_eq!(
            (messages - before.messages, sends - before.sends),
            (5_500, 43)
        );
        let start = Instant::now();
        let listing = ipvs.list().unwrap();
        eprintln!("listed in {:?}", start.elapsed());
        assert!(listing.iter().all(|(_, reals)| reals.len() == 10));
        assert_eq!(listing.len(), 500);
        let start = Instant::now();
        let refused = ipvs.apply(&changes).unwrap();
        eprintln!("5,500 refusals in {:?}", start.elapsed());
        assert!(refused.iter().all(|refused| refused.cause == Cause::Exists));
        assert_eq!(refused.len(), 5_500);
    });
}

#[test]
fn what_others_made_is_listed() {
    in_kernel(|ipvs| {
        sh("ipvsadm -A -t 10.96.2.1:80 -s wlc -p 60 -M 255.0.255.0
            ipvsadm -a -t 10.96.2.1:80 -r 10.1.0.1:80 -g
            ipvsadm -a -t 10.96.2.1:80 -r 10.1.0.2:80 -i --tun-type gue --tun-port 6080
            ipvsadm -A -f 5 -6 -s sh -b sh-port");
        let listing = ipvs.witnessed();
        let methods: Vec<_> = listing[0]
            .1
            .iter()
            .map(|listed| listed.destination.forward)
            .collect();
        assert_eq!(methods, [Forward::Route, Forward::Tunnel]);
        assert_eq!(listing[1].0.service.server, marked(Family::V6, 5));
    });
}

#[test]
fn network_namespaces_do_not_see_each_other() {
    in_kernel(|outer| {
        make(outer, &[Change::NewService(plain(tcp("10.96.2.2:80")))]);
        in_kernel(|inner| assert_eq!(inner.services().unwrap(), []));
        assert_eq!(outer.services().unwrap().len(), 1);
    });
}

#[test]
fn schedulers_are_as_their_modules_are() {
    let mut modules = MemoryModules::new();
    modules.set("ip_vs_rr", ModuleState::Loaded);
    modules.set("ip_vs_mh", ModuleState::Loadable);
    let found = scheduler_modules(&mut modules).unwrap();
    let state = |name| found.iter().find(|(known, _)| *known == name).unwrap().1;
    let expected = [
        ModuleState::Loaded,
        ModuleState::Loadable,
        ModuleState::Missing,
    ];
    assert_eq!(["rr", "mh", "wlc"].map(state), expected);
}

#[test]
fn without_the_capability_the_door_does_not_open() {
    without_net_admin("without_the_capability_the_door_does_not_open", || {
        let refused = IpvsNetlink::open().err();
        assert!(
            matches!(refused, Some(IpvsError::NotPermitted | IpvsError::Absent)),
            "{refused:?}"
        );
    });
}

#[test]
fn the_door_opens_or_says_which_module_is_missing() {
    in_new_namespace(|| match IpvsNetlink::open() {
        Ok(mut ipvs) => assert_eq!(ipvs.info().unwrap().version, (1, 2, 1)),
        Err(error) => {
            let told = error.to_string();
            assert!(told.contains("module ip_vs is not loaded"), "{told}");
        }
    });
}

#[test]
fn the_twin_fails_once_when_it_was_told_to_and_without_effect() {
    let shared = MemoryIpvs::new();
    let mut ipvs = shared.clone();
    let new = Change::NewService(plain(tcp("10.96.2.3:80")));
    shared.fail_after(1, || IpvsError::NotPermitted);
    assert_eq!(ipvs.services().unwrap(), []);
    let failed = ipvs.apply(std::slice::from_ref(&new));
    assert!(matches!(failed, Err(IpvsError::NotPermitted)));
    assert_eq!(
        (ipvs.services().unwrap(), shared.changes()),
        (vec![], vec![])
    );
    make(&mut ipvs, std::slice::from_ref(&new));
    assert_eq!(shared.changes(), [new]);
}

#[test]
fn the_twin_refuses_the_change_that_it_was_told_to_and_makes_the_others() {
    let shared = MemoryIpvs::new();
    let mut ipvs = shared.clone();
    let changes: Vec<_> = (1..=3)
        .map(|port| Change::NewService(plain(tcp(&format!("10.96.2.4:{port}")))))
        .collect();
    shared.refuse_after(1, || Cause::NoMemory);
    let refused = ipvs.apply(&changes).unwrap();
    assert_eq!((refused.len(), refused[0].position), (1, 1));
    assert_eq!(refused[0].cause, Cause::NoMemory);
    assert_eq!(ipvs.services().unwrap().len(), 2);
}

#[test]
fn the_twin_knows_the_schedulers_that_it_was_told() {
    let mut ipvs = MemoryIpvs::new();
    ipvs.set_schedulers(&["wrr"]);
    let change = Change::NewService(plain(tcp("10.96.2.5:80")));
    let refused = sample::refused(&mut ipvs, change);
    assert_eq!(refused.cause, Cause::NoSuchScheduler("rr".to_owned()));
}

#[test]
fn the_twin_gives_a_real_server_that_returns_its_connections_back() {
    let mut ipvs = MemoryIpvs::new();
    let (of, real) = (tcp("10.96.2.6:80"), destination("10.1.0.1:80"));
    let counts = ConnectionCounts {
        active: 2,
        inactive: 1,
        persistent: 0,
    };
    let new = [
        Change::NewService(plain(of)),
        Change::NewDestination(of, real),
    ];
    make(&mut ipvs, &new);
    ipvs.set_connection_counts(&of, &real.server, counts);
    let around = [
        Change::DeleteDestination(of, real.server),
        Change::NewDestination(of, real),
    ];
    make(&mut ipvs, &around);
    assert_eq!(ipvs.destinations(&of).unwrap()[0].connections, counts);
}
