//! Behaviours of batches, and of what is not about one server.

use sluice_kernel::ipvs::{Cause, Change, IpvsError, Timeouts, Traffic, VirtualServer};

use super::sample::{destination, make, plain, tcp};
use super::subject::Subject;

fn server(number: usize) -> VirtualServer {
    tcp(&format!("10.96.{}.{}:80", number / 250, number % 250))
}

fn sent(subject: &mut dyn Subject, act: impl FnOnce(&mut dyn Subject)) -> (u64, u64) {
    let before = subject.ipvs().traffic();
    act(subject);
    let Traffic { messages, sends } = subject.ipvs().traffic();
    (messages - before.messages, sends - before.sends)
}

pub(crate) fn a_refused_change_is_told_by_its_place_and_keeps_no_other(subject: &mut dyn Subject) {
    // Every third virtual server gets a scheduler that is not there, or a name that is not even sent.
    let changes: Vec<_> = (0..300)
        .map(|number| {
            let mut service = plain(server(number));
            match number % 6 {
                2 => service.scheduler = String::new(),
                5 => service.server = server(0),
                _ => {}
            }
            Change::NewService(service)
        })
        .collect();
    let refused = subject.ipvs().apply(&changes).unwrap();
    let told: Vec<_> = refused
        .into_iter()
        .map(|refused| {
            assert_eq!(refused.change, changes[refused.position]);
            (refused.position, refused.cause)
        })
        .collect();
    let expected: Vec<_> = (0..300)
        .filter_map(|number| match number % 6 {
            2 => Some((number, Cause::NoSuchScheduler(String::new()))),
            5 => Some((number, Cause::Exists)),
            _ => None,
        })
        .collect();
    assert_eq!(told, expected);
    assert_eq!(subject.witnessed().len(), 300 - expected.len());
}

pub(crate) fn a_batch_of_refused_changes_is_told_whole(subject: &mut dyn Subject) {
    let changes: Vec<_> = (0..2_000)
        .map(|number| Change::DeleteService(server(number)))
        .collect();
    let refused = subject.ipvs().apply(&changes).unwrap();
    assert_eq!(refused.len(), 2_000);
    for (position, refused) in refused.iter().enumerate() {
        let told = (refused.position, &refused.cause);
        assert_eq!(told, (position, &Cause::NoSuchVirtualServer));
    }
    // The next question gets its own answer.
    assert_eq!(subject.witnessed(), []);
}

pub(crate) fn changes_are_made_in_their_order(subject: &mut dyn Subject) {
    let (of, first, second) = (
        server(1),
        destination("10.1.0.1:80"),
        destination("10.1.0.2:80"),
    );
    make(
        subject.ipvs(),
        &[
            Change::NewService(plain(of)),
            Change::NewDestination(of, first),
            Change::DeleteService(of),
            Change::NewService(plain(of)),
            Change::NewDestination(of, first),
            Change::DeleteDestination(of, first.server),
            Change::NewDestination(of, second),
        ],
    );
    let listing = subject.witnessed();
    assert_eq!((listing.len(), listing[0].1.len()), (1, 1));
    assert_eq!(listing[0].1[0].destination, second);
}

pub(crate) fn a_change_is_one_message_and_many_share_a_send(subject: &mut dyn Subject) {
    let nothing = sent(subject, |subject| make(subject.ipvs(), &[]));
    assert_eq!(nothing, (0, 0));
    let all: Vec<_> = (0..1_000)
        .map(|number| Change::NewService(plain(server(number))))
        .collect();
    assert_eq!(
        sent(subject, |subject| make(subject.ipvs(), &all)),
        (1_000, 8)
    );
    let one = Change::NewDestination(server(1), destination("10.1.0.1:80"));
    assert_eq!(
        sent(subject, |subject| make(subject.ipvs(), &[one])),
        (1, 1)
    );
}

pub(crate) fn services_are_one_message_and_destinations_one_each(subject: &mut dyn Subject) {
    for number in 0..20 {
        let of = server(number);
        let real = destination("10.1.0.1:80");
        make(
            subject.ipvs(),
            &[
                Change::NewService(plain(of)),
                Change::NewDestination(of, real),
            ],
        );
    }
    let services = sent(subject, |subject| {
        assert_eq!(subject.ipvs().services().unwrap().len(), 20);
    });
    assert_eq!(services, (1, 1));
    let all = sent(subject, |subject| {
        assert_eq!(subject.ipvs().list().unwrap().len(), 20);
    });
    assert_eq!(all, (21, 21));
}

pub(crate) fn timeouts_are_set_and_zero_keeps_them(subject: &mut dyn Subject) {
    let timeouts = |tcp_seconds, tcp_fin_seconds, udp_seconds| Timeouts {
        tcp_seconds,
        tcp_fin_seconds,
        udp_seconds,
    };
    let ipvs = subject.ipvs();
    assert_eq!(ipvs.timeouts().unwrap(), timeouts(900, 120, 300));
    ipvs.set_timeouts(&timeouts(1_000, 0, 30)).unwrap();
    assert_eq!(ipvs.timeouts().unwrap(), timeouts(1_000, 120, 30));
    let refused = ipvs.set_timeouts(&timeouts(0, u32::MAX, 0));
    assert!(
        matches!(refused, Err(IpvsError::InvalidTimeouts)),
        "{refused:?}"
    );
    assert_eq!(ipvs.timeouts().unwrap(), timeouts(1_000, 120, 30));
}

pub(crate) fn information_has_version_and_table_size(subject: &mut dyn Subject) {
    let info = subject.ipvs().info().unwrap();
    assert_eq!(info.version, (1, 2, 1));
    assert!(info.connection_table_size.is_power_of_two() && info.connection_table_size >= 256);
}
