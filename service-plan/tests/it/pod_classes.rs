//! Classes of pods: as which source their packets leave.

use std::sync::Arc;

use sluice_service_plan::model::{
    LocalDetector, PodAction, PodClass, Service, Settings, TrafficPolicy,
};
use sluice_service_plan::packet::{Origin, Packet};
use sluice_service_plan::plan::Plan;
use sluice_service_plan::source::Source;
use sluice_service_plan::trace::{Trace, Verdict, trace};

use crate::objects::*;

const POD: &str = "10.1.0.7";
const VIP: &str = "10.96.0.1:80";
const EXTERNAL: &str = "203.0.113.1:80";
const BEYOND: &str = "198.18.0.9:443";

fn class(name: &str, action: PodAction) -> PodClass {
    PodClass {
        name: name.into(),
        action,
        egress: false,
        out_interface: None,
    }
}

fn classes() -> Vec<PodClass> {
    let snat = |net: &str| PodAction::Snat(nets(&[net]));
    vec![
        class("keep", PodAction::Preserve),
        class("hide", PodAction::Masquerade),
        class("as", snat("198.51.100.0/24")),
        class("as-none", snat("172.16.0.0/12")),
        PodClass {
            out_interface: Some("eth1".into()),
            ..class("hide-eth1", PodAction::Masquerade)
        },
        PodClass {
            egress: true,
            ..class("all-as", snat("198.51.100.0/24"))
        },
        PodClass {
            egress: true,
            out_interface: Some("eth1".into()),
            ..class("all-eth1", PodAction::Masquerade)
        },
    ]
}

fn plan(change: impl FnOnce(&mut Settings)) -> Plan {
    let mut settings = Settings {
        detect_local: LocalDetector::Cidrs(nets(&["10.1.0.0/16"])),
        pod_classes: classes(),
        ..Settings::default()
    };
    change(&mut settings);
    let service = Service {
        external_policy: TrafficPolicy::Cluster,
        ..load_balancer("web")
    };
    let endpoints = vec![remote("10.1.1.1"), local("10.1.0.1"), local(POD)];
    plan_with(settings, &[service], &[slice("s", "web", endpoints)])
}

fn traced(plan: &Plan, class: &str, to: &str) -> Trace {
    let packet = Packet {
        protocol: sluice_service_plan::model::Protocol::Tcp,
        source: ip(POD),
        destination: to.parse().unwrap(),
        origin: Origin::Elsewhere,
        class: Some(Arc::from(class)),
    };
    trace(&packet, plan)
}

/// As which source the packet comes to each endpoint, by eth1: `.` its own, `m` masqueraded, `s` the class's address.
fn sources(plan: &Plan, class: &str, to: &str, leaves_by: &str) -> String {
    let trace = traced(plan, class, to);
    let Verdict::Balance { endpoints, .. } = &trace.verdict else {
        panic!("{trace:?}")
    };
    let letter = |source: &Source| match source {
        Source::Kept => '.',
        Source::Masqueraded => 'm',
        Source::Snat(addresses) => {
            assert_eq!(*addresses, ips(&["198.51.100.1"]));
            's'
        }
    };
    let each = endpoints.iter();
    each.map(|one| letter(&trace.source(one, Some(leaves_by))))
        .collect()
}

/// The endpoints in order: on this node, the client itself, on another node.
#[test]
fn a_class_counts_more_than_the_frontend_and_less_than_hairpin_and_exclusions() {
    let plain = plan(|_| {});
    let all = plan(|settings| settings.masquerade_all = true);
    let excluded = plan(|settings| settings.exclude_destinations = nets(&["10.1.1.0/24"]));
    let rows = [
        (&plain, "none", VIP, ".m."),
        (&plain, "keep", VIP, ".m."),
        (&plain, "hide", VIP, "mmm"),
        (&plain, "as", VIP, "sms"),
        (&plain, "as-none", VIP, "mmm"),
        (&plain, "hide-eth1", VIP, "mmm"),
        (&plain, "none", EXTERNAL, "mmm"),
        (&plain, "keep", EXTERNAL, ".m."),
        (&plain, "as", EXTERNAL, "sms"),
        (&all, "none", VIP, "mmm"),
        (&all, "keep", VIP, ".m."),
        (&excluded, "hide", VIP, "mm."),
        (&excluded, "as", EXTERNAL, "sm."),
    ];
    for (plan, class, to, want) in rows {
        assert_eq!(sources(plan, class, to, "eth1"), want, "{class} {to}");
    }
    assert_eq!(sources(&plain, "hide-eth1", VIP, "eth0"), ".m.");
    assert_eq!(sources(&plain, "hide-eth1", EXTERNAL, "eth0"), "mmm");
}

#[test]
fn egress_extends_a_class_to_what_is_nobodys_in_the_cluster() {
    let plan = plan(|settings| settings.exclude_destinations = nets(&["198.18.7.0/24"]));
    let chosen = Source::Snat(ips(&["198.51.100.1"]));
    let rows = [
        ("hide", BEYOND, "eth1", Source::Kept),
        ("all-as", BEYOND, "eth0", chosen),
        ("all-as", "10.1.9.9:443", "eth0", Source::Kept),
        ("all-as", "203.0.113.1:81", "eth0", Source::Kept),
        ("all-as", "198.18.7.9:443", "eth0", Source::Kept),
        ("all-as", "192.0.2.1:22", "eth0", Source::Kept),
        ("all-eth1", BEYOND, "eth1", Source::Masqueraded),
        ("all-eth1", BEYOND, "eth0", Source::Kept),
    ];
    for (class, to, leaves_by, want) in rows {
        let trace = traced(&plan, class, to);
        assert_eq!(trace.verdict, Verdict::NotOurs, "{class} {to}");
        assert_eq!(trace.egress_source(leaves_by), want, "{class} {to}");
    }
}

#[test]
fn the_class_is_a_step_in_words() {
    let plan = plan(|_| {});
    let last = |class, to| {
        let trace = traced(&plan, class, to);
        let mut steps = trace.steps.iter().map(ToString::to_string);
        steps.rfind(|step| step.contains("class"))
    };
    let words = [
        ("keep", VIP, "its pod is of class keep: the source stays"),
        (
            "as",
            VIP,
            "its pod is of class as: the source becomes 198.51.100.1",
        ),
        ("as-none", VIP, "its pod is of class as-none: masqueraded"),
        (
            "hide-eth1",
            VIP,
            "its pod is of class hide-eth1, if it leaves by eth1: masqueraded",
        ),
        (
            "all-as",
            BEYOND,
            "its pod is of class all-as: the source becomes 198.51.100.1",
        ),
    ];
    for (class, to, want) in words {
        assert_eq!(last(class, to).as_deref(), Some(want));
    }
    assert_eq!(last("none", VIP), None);
    assert_eq!(last("hide", BEYOND), None);
}
