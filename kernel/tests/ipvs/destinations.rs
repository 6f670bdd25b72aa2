//! Behaviours of real servers.

use sluice_kernel::ipvs::{Cause, Change, Destination, Forward, IpvsError, VirtualServer};

use super::sample::{destination, make, plain, real, refused, tcp};
use super::subject::Subject;

fn with_virtual_server(subject: &mut dyn Subject, server: &str) -> VirtualServer {
    let server = tcp(server);
    make(subject.ipvs(), &[Change::NewService(plain(server))]);
    server
}

fn listed(subject: &mut dyn Subject) -> Vec<Destination> {
    let destinations = subject.witnessed().into_iter().flat_map(|(_, all)| all);
    destinations.map(|listed| listed.destination).collect()
}

pub(crate) fn a_real_server_of_every_kind_is_listed_as_it_was_created(subject: &mut dyn Subject) {
    let v4 = with_virtual_server(subject, "10.96.1.1:80");
    let v6 = with_virtual_server(subject, "[fd00:96:1::1]:80");
    let methods = [Forward::Masquerade, Forward::Tunnel, Forward::Route];
    let mut wanted = Vec::new();
    for (number, forward) in (1..).zip(methods) {
        for (of, real) in [
            (v4, format!("10.1.0.{number}:80")),
            (v6, format!("[fd00:1::{number}]:80")),
        ] {
            let destination = Destination {
                forward,
                weight: number * 100,
                upper_threshold: number * 1_000,
                lower_threshold: number * 10,
                ..destination(&real)
            };
            make(subject.ipvs(), &[Change::NewDestination(of, destination)]);
            wanted.push(destination);
        }
    }
    let local = destination("127.0.0.1:80");
    let heaviest = Destination {
        weight: (1 << 31) - 1,
        ..destination("10.1.0.9:65535")
    };
    for destination in [local, heaviest] {
        make(subject.ipvs(), &[Change::NewDestination(v4, destination)]);
        wanted.push(destination);
    }
    wanted.sort();
    let mut told = listed(subject);
    told.sort();
    assert_eq!(told, wanted);
}

pub(crate) fn a_real_server_is_created_once(subject: &mut dyn Subject) {
    let of = with_virtual_server(subject, "10.96.1.2:80");
    let wanted = destination("10.1.0.1:80");
    make(subject.ipvs(), &[Change::NewDestination(of, wanted)]);
    let refused = refused(subject.ipvs(), Change::NewDestination(of, wanted));
    assert_eq!(refused.cause, Cause::Exists);
    assert_eq!(listed(subject), [wanted]);
}

pub(crate) fn a_missing_real_server_is_neither_set_nor_deleted(subject: &mut dyn Subject) {
    let of = with_virtual_server(subject, "10.96.1.3:80");
    let missing = destination("10.1.0.1:80");
    for change in [
        Change::SetDestination(of, missing),
        Change::DeleteDestination(of, missing.server),
    ] {
        let refused = refused(subject.ipvs(), change);
        assert_eq!(refused.cause, Cause::NoSuchRealServer);
    }
}

pub(crate) fn real_servers_need_their_virtual_server(subject: &mut dyn Subject) {
    let (of, wanted) = (tcp("10.96.1.4:80"), destination("10.1.0.1:80"));
    for change in [
        Change::NewDestination(of, wanted),
        Change::SetDestination(of, wanted),
        Change::DeleteDestination(of, wanted.server),
    ] {
        let refused = refused(subject.ipvs(), change);
        assert_eq!(refused.cause, Cause::NoSuchVirtualServer);
    }
    let missing = subject.ipvs().destinations(&of);
    assert!(
        matches!(missing, Err(IpvsError::NotFound { server }) if server == of),
        "{missing:?}"
    );
    with_virtual_server(subject, "10.96.1.4:80");
    assert_eq!(subject.ipvs().destinations(&of).unwrap(), []);
}

pub(crate) fn a_weight_is_taken_away_and_given_back(subject: &mut dyn Subject) {
    let of = with_virtual_server(subject, "10.96.1.5:80");
    let wanted = destination("10.1.0.1:80");
    make(subject.ipvs(), &[Change::NewDestination(of, wanted)]);
    for weight in [0, 1] {
        let wanted = Destination { weight, ..wanted };
        make(subject.ipvs(), &[Change::SetDestination(of, wanted)]);
        assert_eq!(listed(subject), [wanted]);
    }
    let gone = Change::DeleteDestination(of, wanted.server);
    make(subject.ipvs(), &[gone]);
    assert_eq!(listed(subject), []);
}

pub(crate) fn weights_and_thresholds_out_of_range_are_refused(subject: &mut dyn Subject) {
    let of = with_virtual_server(subject, "10.96.1.6:80");
    let present = destination("10.1.0.1:80");
    make(subject.ipvs(), &[Change::NewDestination(of, present)]);
    for wrong in [
        Destination {
            weight: 1 << 31,
            ..present
        },
        Destination {
            upper_threshold: 1,
            lower_threshold: 2,
            ..present
        },
        Destination {
            lower_threshold: 1,
            ..present
        },
    ] {
        for change in [
            Change::NewDestination(of, wrong),
            Change::SetDestination(of, wrong),
        ] {
            let refused = refused(subject.ipvs(), change);
            assert_eq!(refused.cause, Cause::OutOfRange);
        }
    }
    assert_eq!(listed(subject), [present]);
}

pub(crate) fn an_address_that_is_not_unicast_is_refused(subject: &mut dyn Subject) {
    let v4 = with_virtual_server(subject, "10.96.1.7:80");
    let v6 = with_virtual_server(subject, "[fd00:96:1::7]:80");
    for (of, address) in [
        (v4, "0.0.0.0:80"),
        (v4, "224.0.0.1:80"),
        (v4, "255.255.255.255:80"),
        (v6, "[::]:80"),
        (v6, "[ff02::1]:80"),
        (v6, "[fe80::1]:80"),
    ] {
        let change = Change::NewDestination(of, destination(address));
        let refused = refused(subject.ipvs(), change);
        assert_eq!(refused.cause, Cause::BadAddress, "{address}");
    }
}

pub(crate) fn only_a_tunnel_leads_to_the_other_family(subject: &mut dyn Subject) {
    let of = with_virtual_server(subject, "10.96.1.8:80");
    let other = destination("[fd00:1::8]:80");
    let refused = refused(subject.ipvs(), Change::NewDestination(of, other));
    assert!(matches!(refused.cause, Cause::Invalid(_)), "{refused}");
    let tunnel = Destination {
        forward: Forward::Tunnel,
        ..other
    };
    make(subject.ipvs(), &[Change::NewDestination(of, tunnel)]);
    let told = subject.ipvs().destinations(&of).unwrap();
    assert_eq!(told[0].destination, tunnel);
    let gone = Change::DeleteDestination(of, real("[fd00:1::8]:80"));
    make(subject.ipvs(), &[gone]);
}
