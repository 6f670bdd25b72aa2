//! Behaviours of virtual servers.

use std::net::Ipv4Addr;

use sluice_kernel::ipvs::{
    Cause, Change, ClientMask, Family, IpProtocol, Persistence, SCHEDULERS, SchedulerFlags, Service,
};

use super::sample::{at, destination, make, marked, plain, refused, tcp};
use super::subject::Subject;

fn persistent(service: Service, timeout_seconds: u32, clients: ClientMask) -> Service {
    let persistence = Some(Persistence {
        timeout_seconds,
        clients,
    });
    Service {
        persistence,
        ..service
    }
}

fn services(subject: &mut dyn Subject) -> Vec<Service> {
    let listed = subject.witnessed().into_iter();
    listed.map(|(listed, _)| listed.service).collect()
}

fn created(subject: &mut dyn Subject, mut wanted: Vec<Service>) {
    let changes: Vec<_> = wanted.iter().cloned().map(Change::NewService).collect();
    make(subject.ipvs(), &changes);
    wanted.sort();
    assert_eq!(services(subject), wanted);
}

pub(crate) fn a_virtual_server_of_every_kind_is_listed_as_it_was_created(
    subject: &mut dyn Subject,
) {
    let protocols = [IpProtocol::TCP, IpProtocol::UDP, IpProtocol::SCTP];
    let addresses = ["10.96.0.1:80", "[fd00:96::1]:80"];
    let mut wanted: Vec<_> = protocols
        .into_iter()
        .flat_map(|protocol| addresses.map(|address| plain(at(protocol, address))))
        .collect();
    wanted.push(plain(marked(Family::V4, 7)));
    wanted.push(plain(marked(Family::V6, u32::MAX >> 1)));
    created(subject, wanted);
}

pub(crate) fn persistence_has_its_timeout_and_mask(subject: &mut dyn Subject) {
    let (v4, v6) = (tcp("10.96.0.2:443"), tcp("[fd00:96::2]:443"));
    let wanted = vec![
        persistent(plain(v4), 10_800, ClientMask::whole(Family::V4)),
        persistent(plain(v6), 86_400, ClientMask::whole(Family::V6)),
        persistent(
            plain(tcp("10.96.0.3:0")),
            1,
            ClientMask::V4(Ipv4Addr::new(255, 255, 240, 0)),
        ),
        persistent(plain(tcp("[fd00:96::3]:0")), 60, ClientMask::V6(64)),
        persistent(plain(marked(Family::V6, 9)), 61, ClientMask::V6(1)),
    ];
    created(subject, wanted);
}

pub(crate) fn flags_are_those_of_the_scheduler_and_of_one_packet(subject: &mut dyn Subject) {
    let flags = |flag_1, flag_2, flag_3| SchedulerFlags {
        flag_1,
        flag_2,
        flag_3,
    };
    let wanted = [
        ("sh", flags(true, true, false)),
        ("mh", flags(false, true, false)),
        ("rr", flags(true, false, true)),
    ];
    let wanted = (1_u16..).zip(wanted);
    let wanted = wanted.map(|(port, (scheduler, scheduler_flags))| Service {
        scheduler_flags,
        one_packet: port % 2 == 1,
        ..Service::new(at(IpProtocol::UDP, &format!("10.96.0.4:{port}")), scheduler)
    });
    created(subject, wanted.collect());
}

pub(crate) fn every_scheduler_that_is_there_is_taken_and_any_other_is_named(
    subject: &mut dyn Subject,
) {
    let all = (1_u16..).zip(SCHEDULERS);
    let all = all.map(|(port, name)| Service::new(tcp(&format!("10.96.0.5:{port}")), name));
    let there = subject.schedulers();
    let (wanted, missing): (Vec<_>, Vec<_>) =
        all.partition(|service| there.contains(&service.scheduler.as_str()));
    // The newest one came with Linux 5.14, and not every distribution builds it.
    let at_most = ["twos"];
    assert!(
        missing
            .iter()
            .all(|service| at_most.contains(&service.scheduler.as_str())),
        "{missing:?}"
    );
    for service in missing {
        let expected = Cause::NoSuchScheduler(service.scheduler.clone());
        let refused = refused(subject.ipvs(), Change::NewService(service));
        assert_eq!(refused.cause, expected);
    }
    created(subject, wanted);
}

pub(crate) fn a_virtual_server_is_created_once(subject: &mut dyn Subject) {
    let wanted = plain(tcp("10.96.0.6:80"));
    make(subject.ipvs(), &[Change::NewService(wanted.clone())]);
    let again = Service {
        scheduler: "wrr".to_owned(),
        ..wanted.clone()
    };
    let refused = refused(subject.ipvs(), Change::NewService(again));
    assert_eq!(refused.cause, Cause::Exists);
    assert_eq!(
        refused.to_string(),
        "cannot create virtual server TCP 10.96.0.6:80: it exists already: set it instead"
    );
    assert_eq!(services(subject), [wanted]);
}

pub(crate) fn a_missing_virtual_server_is_neither_set_nor_deleted(subject: &mut dyn Subject) {
    make(
        subject.ipvs(),
        &[Change::NewService(plain(tcp("10.96.0.7:80")))],
    );
    let missing = [
        tcp("10.96.0.7:81"),
        at(IpProtocol::UDP, "10.96.0.7:80"),
        marked(Family::V4, 80),
    ];
    for server in missing {
        for change in [
            Change::SetService(plain(server)),
            Change::DeleteService(server),
        ] {
            let refused = refused(subject.ipvs(), change);
            assert_eq!(refused.cause, Cause::NoSuchVirtualServer);
        }
    }
}

pub(crate) fn an_unknown_scheduler_is_named(subject: &mut dyn Subject) {
    let wanted = plain(tcp("10.96.0.8:80"));
    make(subject.ipvs(), &[Change::NewService(wanted.clone())]);
    for name in ["nonesuch", "", "longer-than-15-bytes", "r\0r"] {
        let elsewhere = Service::new(tcp("10.96.0.8:81"), name);
        let here = Service::new(wanted.server, name);
        for change in [Change::NewService(elsewhere), Change::SetService(here)] {
            let refused = refused(subject.ipvs(), change);
            assert_eq!(refused.cause, Cause::NoSuchScheduler(name.to_owned()));
        }
    }
    assert_eq!(services(subject), [wanted]);
}

pub(crate) fn all_of_a_virtual_server_is_set_and_unset_and_its_real_servers_stay(
    subject: &mut dyn Subject,
) {
    let bare = plain(at(IpProtocol::UDP, "10.96.0.9:53"));
    let real = destination("10.1.0.1:5353");
    let mask = ClientMask::V4(Ipv4Addr::new(255, 255, 255, 0));
    let mut full = persistent(bare.clone(), 77, mask);
    "sh".clone_into(&mut full.scheduler);
    full.one_packet = true;
    full.scheduler_flags.flag_1 = true;
    make(
        subject.ipvs(),
        &[
            Change::NewService(bare.clone()),
            Change::NewDestination(bare.server, real),
        ],
    );
    for wanted in [full, bare] {
        make(subject.ipvs(), &[Change::SetService(wanted.clone())]);
        let listing = subject.witnessed();
        assert_eq!(listing[0].0.service, wanted);
        assert_eq!(listing[0].1[0].destination, real);
    }
}

pub(crate) fn a_deleted_virtual_server_takes_its_real_servers_along(subject: &mut dyn Subject) {
    let (doomed, other) = (tcp("10.96.0.10:80"), tcp("10.96.0.11:80"));
    let changes: Vec<_> = [doomed, other]
        .into_iter()
        .flat_map(|server| {
            let real = destination("10.1.0.1:80");
            [
                Change::NewService(plain(server)),
                Change::NewDestination(server, real),
            ]
        })
        .collect();
    make(subject.ipvs(), &changes);
    make(subject.ipvs(), &[Change::DeleteService(doomed)]);
    assert_eq!(services(subject), [plain(other)]);
    make(subject.ipvs(), &[Change::NewService(plain(doomed))]);
    assert_eq!(subject.ipvs().destinations(&doomed).unwrap(), []);
}

pub(crate) fn what_no_kernel_takes_is_not_sent(subject: &mut dyn Subject) {
    let before = subject.ipvs().traffic();
    let v6 = plain(tcp("[fd00:96::12]:80"));
    let impossible = [
        persistent(v6.clone(), 60, ClientMask::whole(Family::V4)),
        persistent(v6.clone(), 60, ClientMask::V6(0)),
        persistent(v6, 60, ClientMask::V6(129)),
        plain(at(IpProtocol(1), "10.96.0.12:80")),
    ];
    for service in impossible {
        let refused = refused(subject.ipvs(), Change::NewService(service));
        assert!(matches!(refused.cause, Cause::Invalid(_)), "{refused}");
    }
    assert_eq!(subject.ipvs().traffic(), before);
}
