//! One suite of behaviours, run against the kernel's ipset and against its twin in memory.
//!
//! Every listing of the kernel's sets is also compared with what the `ipset` program lists.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking.

mod behaviours;
#[path = "address_sets/contents.rs"]
mod contents;
#[path = "address_sets/marks.rs"]
mod marks;
mod namespace;
#[path = "address_sets/program.rs"]
mod program;
#[path = "address_sets/sample.rs"]
mod sample;
#[path = "address_sets/subject.rs"]
mod subject;
#[path = "address_sets/timeouts.rs"]
mod timeouts;
#[path = "address_sets/whole_sets.rs"]
mod whole_sets;

use std::net::Ipv4Addr;
use std::time::Instant;

use sluice_kernel::address_set::{
    AddressSetError, AddressSets, Entry, IpProtocol, IpsetNetlink, MemorySets, Operation, SetKind,
};

use behaviours::on_both;
use namespace::{sh, without_net_admin};
use sample::{names, set};
use subject::{InKernel, InMemory, in_kernel};

on_both! {
    InMemory,
    contents:
        a_set_of_every_kind_and_family_holds_what_was_added,
        an_entry_added_twice_is_there_once,
        an_absent_entry_in_a_batch_to_delete_does_not_keep_the_others,
        an_entry_of_another_kind_or_family_is_refused_and_nothing_is_added,
        a_full_set_names_the_entry_that_did_not_fit,
        an_entry_that_is_there_is_taken_by_a_full_set,
        a_network_is_kept_without_its_host_bits,
        a_large_set_is_filled_listed_and_emptied,
        nothing_to_add_is_no_request;
    whole_sets:
        a_name_is_taken_once,
        a_missing_set_is_not_found,
        a_name_that_is_too_long_is_refused,
        swapped_sets_have_each_others_contents_and_limits,
        sets_of_different_kinds_or_families_are_not_swapped,
        a_set_in_use_is_swapped_but_not_destroyed,
        headers_tell_how_a_set_was_created_and_what_it_holds,
        headers_are_those_of_the_prefix;
    marks:
        entries_carry_marks,
        a_mark_is_renewed_by_adding_again,
        a_set_without_marks_takes_none,
        a_set_with_marks_is_told_and_swapped_as_such;
    timeouts:
        entries_with_timeouts_go_when_their_time_has_come,
        a_lifetime_is_renewed_by_adding_again,
        a_set_without_timeouts_takes_no_lifetime;
}

/// `count` distinct entries of the kind that a hairpin rule matches.
fn hairpins(count: u32) -> Vec<Entry> {
    let ip = |n: u32| Ipv4Addr::from(0x0a00_0000 + n).into();
    (1..=count)
        .map(|n| Entry::IpPortIp(ip(n), IpProtocol::TCP, 8080, ip(n)))
        .collect()
}

#[test]
fn twenty_thousand_entries_go_in_twenty_messages() {
    in_kernel(|InKernel(sets)| {
        let spec = set("large", SetKind::HashIpPortIp, 70_000);
        sets.create(&spec).unwrap();
        let entries = hairpins(20_000);
        let (before, start) = (sets.messages_sent(), Instant::now());
        sets.add(&spec, &entries).unwrap();
        eprintln!("20,000 entries added in {:?}", start.elapsed());
        assert_eq!(sets.messages_sent() - before, 20);
        let before = sets.messages_sent();
        let headers = sets.headers("large").unwrap();
        assert_eq!(
            (headers[0].entries, sets.messages_sent() - before),
            (20_000, 1)
        );
        // Presized: the kernel had no need to rehash.
        assert_eq!(headers[0].spec.expected_entries, 131_072);
        assert_eq!(
            program::listed("large"),
            program::written(sets.list("large").unwrap())
        );
    });
}

#[test]
fn an_error_late_in_a_large_batch_names_its_entry_and_nothing_after_it_is_in() {
    in_kernel(|InKernel(sets)| {
        let spec = set("bounded", SetKind::HashIpPortIp, 2_500);
        sets.create(&spec).unwrap();
        let refused = sets.add(&spec, &hairpins(5_000));
        let Err(AddressSetError::Full {
            name,
            entry: Some(entry),
        }) = refused
        else {
            panic!("{refused:?}");
        };
        let listed = sets.list("bounded").unwrap();
        let position = hairpins(5_000)
            .iter()
            .position(|wanted| *wanted == entry)
            .unwrap();
        assert_eq!((name.as_str(), position), ("bounded", listed.len()));
        // The next question gets its own answer, not what was left of the refusal.
        assert_eq!(
            sets.headers("bounded").unwrap()[0].entries as usize,
            listed.len()
        );
    });
}

#[test]
fn headers_cost_one_message_whatever_the_number_of_sets_and_entries() {
    in_kernel(|InKernel(sets)| {
        for n in 0..300 {
            let spec = set(&format!("many-{n}"), SetKind::HashIpPortIp, 1_000);
            sets.create(&spec).unwrap();
            sets.add(&spec, &hairpins(10)).unwrap();
        }
        let before = sets.messages_sent();
        assert_eq!(sets.headers("many-").unwrap().len(), 300);
        assert_eq!(sets.messages_sent() - before, 1);
    });
}

#[test]
fn a_foreign_set_of_a_type_not_spoken_is_passed_over() {
    in_kernel(|InKernel(sets)| {
        sh("ipset create foreign list:set");
        assert_eq!(sets.headers("").unwrap(), []);
        let spec = set("foreign", SetKind::HashIp, 10);
        assert!(matches!(
            sets.create(&spec),
            Err(AddressSetError::Exists { .. })
        ));
        assert!(matches!(
            sets.list("foreign"),
            Err(AddressSetError::Malformed(_))
        ));
    });
}

#[test]
fn a_set_that_turned_out_to_be_of_another_kind_refuses_its_entries() {
    in_kernel(|InKernel(sets)| {
        sh("ipset create other hash:ip,port");
        let believed = set("other", SetKind::HashIp, 10);
        let refused = sets.add(&believed, &[Entry::Ip(Ipv4Addr::LOCALHOST.into())]);
        assert!(
            matches!(refused, Err(AddressSetError::Mismatch { .. })),
            "{refused:?}"
        );
    });
}

#[test]
fn without_the_capability_the_door_does_not_open() {
    without_net_admin("without_the_capability_the_door_does_not_open", || {
        let refused = IpsetNetlink::open().err();
        assert!(
            matches!(refused, Some(AddressSetError::NotPermitted)),
            "{refused:?}"
        );
    });
}

#[test]
fn the_twin_fails_once_when_it_was_told_to_and_without_effect() {
    let shared = MemorySets::new();
    let mut sets = shared.clone();
    let spec = set("injected", SetKind::HashIpPortIp, 10);
    shared.fail_after(1, || AddressSetError::NotPermitted);
    sets.create(&spec).unwrap();
    let failed = sets.add(&spec, &hairpins(2));
    assert!(matches!(failed, Err(AddressSetError::NotPermitted)));
    assert_eq!(sets.list("injected").unwrap(), []);
    sets.add(&spec, &hairpins(2)).unwrap();
    assert_eq!(names(&mut sets), ["injected"]);
    let name = || "injected".to_owned();
    let expected = [
        Operation::Create(name()),
        Operation::Add(name(), 2),
        Operation::List(name()),
        Operation::Add(name(), 2),
        Operation::Headers(String::new()),
    ];
    assert_eq!(shared.operations(), expected);
    shared.forget_operations();
    assert_eq!(sets.operations(), []);
}
