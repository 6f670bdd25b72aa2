//! Endpoints come, go and die while clients that have few ports use them again and again.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::ops::Range;
use std::thread::sleep;
use std::time::{Duration, Instant};

use sluice_agent::data_plane::Drain;
use sluice_e2e::changes::{Change, ServedNode};
use sluice_e2e::lab::churn::{Churn, Churning, narrow_ports};
use sluice_e2e::lab::pace::stretched;
use sluice_e2e::lab::places::{A1, A2, A3, B1, B2, B3, CLIENT, LAN_INTERFACE, Place};
use sluice_e2e::lab::{Lab, Outcome};
use sluice_e2e::packets::build::{
    EndpointBuilder, PORT, ServiceBuilder, all_ready, cluster_ip, draining, ready, web,
};
use sluice_e2e::packets::planes;
use sluice_service_plan::model::{Family, Protocol, Settings};

const PORTS: u16 = 150;

fn step() -> Duration {
    stretched(Duration::from_millis(200))
}

fn service() -> ServiceBuilder {
    web(Family::V4, Protocol::Tcp)
}

fn churn() -> Churn {
    let to = SocketAddr::new(cluster_ip(Family::V4, 10), PORT);
    Churn {
        rest: Duration::from_millis(10),
        ..Churn::new(CLIENT, to, 3)
    }
}

/// Runs a test on each plane, with real servers that may keep their connections for so long.
fn on_each_plane(grace_seconds: u32, test: impl Fn(&mut ServedNode)) {
    for plane in planes::here() {
        let mut settings = plane.settings(Settings::default());
        settings.ipvs.grace_seconds = grace_seconds;
        let mut node = ServedNode::start(plane.open, settings).unwrap();
        narrow_ports(node.lab(), &CLIENT, PORTS).unwrap();
        eprintln!("on {}:", plane.name);
        test(&mut node);
    }
}

/// Lets the plane follow, then look after old connections as an agent does from time to time.
fn serve(node: &mut ServedNode, endpoints: &[EndpointBuilder]) -> Change {
    let change = node.serve(&service(), endpoints).unwrap();
    sleep(step());
    node.with_plane(|plane, _| {
        let drain = Drain {
            now: Instant::now(),
            timeout: None,
        };
        plane.drain(drain).unwrap()
    })
    .unwrap();
    change
}

/// A pod is gone without a word: nobody answers at its address.
fn vanish(lab: &Lab, pod: &Place) {
    let down = format!("link set {LAN_INTERFACE} down");
    lab.namespace(pod).ip(&down).unwrap();
}

/// Makes connections until every port of the client was used.
fn use_every_port(node: &ServedNode) -> Churning {
    let warm = churn().run(node.lab(), 2 * usize::from(PORTS)).unwrap();
    assert_eq!(warm.failed().count(), 0, "{warm}");
    churn().start(node.lab()).unwrap()
}

fn since(start: Instant) -> Range<Instant> {
    start..Instant::now()
}

#[test]
fn a_rolling_update_fails_and_delays_no_new_connection() {
    on_each_plane(900, |node| {
        serve(node, &all_ready([A1, A2, A3]));
        let churning = use_every_port(node);
        let mut pods = vec![ready(A1), ready(A2), ready(A3)];
        let mut last = Instant::now();
        for (old, new) in [(A1, B1), (A2, B2), (A3, B3)] {
            pods.push(ready(new));
            serve(node, &pods);
            pods[0] = draining(old);
            serve(node, &pods);
            drop(pods.remove(0));
            last = serve(node, &pods).done;
            sleep(step());
            vanish(node.lab(), &old);
            sleep(step());
        }
        let report = churning.stop().unwrap();
        eprintln!("  {report}");
        let failed: Vec<&Outcome> = report.failed().map(|one| &one.outcome).collect();
        assert_eq!(failed, [&Outcome::Refused; 0]);
        assert_eq!((report.stalled(), report.syn_retransmits), (0, 0));
        assert!(
            report.connections.len() > 3 * usize::from(PORTS),
            "{report}"
        );
        let answers = report.answers(&since(last));
        let names: Vec<&str> = answers.keys().copied().collect();
        assert_eq!(names, [B1.name, B2.name, B3.name]);
    });
}

#[test]
fn a_service_scaled_to_zero_refuses_and_serves_at_once_when_it_is_back() {
    on_each_plane(900, |node| {
        serve(node, &all_ready([A1, A2]));
        let churning = use_every_port(node);
        let mut without: Vec<Range<Instant>> = Vec::new();
        for pods in [[B1, B2], [A1, A2]] {
            let none = serve(node, &[]);
            let some = serve(node, &all_ready(pods));
            without.push(none.began..some.done);
        }
        sleep(step());
        let report = churning.stop().unwrap();
        eprintln!("  {report}");
        let refused = report
            .failed()
            .filter(|one| one.outcome == Outcome::Refused);
        assert!(
            refused.count() > 0,
            "nobody met the service without endpoints"
        );
        let wrong: Vec<_> = report
            .failed()
            .filter(|one| {
                // It may have been under way when the endpoints went.
                let lasted = one.at..one.at + one.connected_in.max(Duration::from_millis(1));
                let meets = |gap: &Range<Instant>| lasted.start < gap.end && gap.start < lasted.end;
                one.outcome != Outcome::Refused || !without.iter().any(meets)
            })
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        assert_eq!((report.stalled(), report.syn_retransmits), (0, 0));
    });
}

#[test]
fn an_endpoint_that_dies_without_notice_takes_no_connection_with_it_once_it_is_unlisted() {
    on_each_plane(0, |node| {
        serve(node, &all_ready([A1, A2, B1]));
        let churning = use_every_port(node);
        vanish(node.lab(), &A2);
        sleep(step());
        let removal = serve(node, &all_ready([A1, B1]));
        sleep(4 * step());
        let report = churning.stop().unwrap();
        eprintln!("  {report}");
        let later = report
            .connections
            .iter()
            .filter(|one| one.at >= removal.done);
        let wrong: Vec<_> = later
            .filter(|one| {
                one.outcome.endpoint().is_none() || one.connected_in > Duration::from_millis(950)
            })
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        let answers = report.answers(&since(removal.done));
        assert!(
            answers.values().sum::<usize>() > usize::from(PORTS),
            "{answers:?}"
        );
    });
}

#[test]
fn endpoints_that_are_new_get_their_share_of_connections_from_ports_used_before() {
    on_each_plane(900, |node| {
        serve(node, &all_ready([A1]));
        let churning = use_every_port(node);
        let more = serve(node, &all_ready([A1, A2, B1]));
        sleep(4 * step());
        let report = churning.stop().unwrap();
        let answers = report.answers(&since(more.done));
        eprintln!("  {report}: {answers:?}");
        let all: usize = answers.values().sum();
        assert!(all > usize::from(PORTS), "too little load: {answers:?}");
        for new in [A2, B1] {
            let share = answers.get(new.name).copied().unwrap_or_default();
            assert!(share * 4 > all, "{}: {answers:?}", new.name);
        }
        assert_eq!((report.failed().count(), report.stalled()), (0, 0));
    });
}
