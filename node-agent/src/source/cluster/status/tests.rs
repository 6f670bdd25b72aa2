use super::*;
use crate::agent::RefusedMode;
use crate::source::Revision;

fn revision(generation: i64) -> Revision {
    Revision {
        name: format!("p-{generation}").into(),
        generation,
    }
}

fn own(generation: i64, mode: ActiveMode) -> Own {
    Own {
        generation,
        asked: Some((revision(generation), mode)),
        problem: None,
        status: NodeServiceProxyStatus::default(),
    }
}

fn serving(generation: i64, mode: ActiveMode) -> Report {
    Report {
        revision: Some(revision(generation)),
        programmed: true,
        mode: Some(mode),
        service_ports: 7,
        ..Report::default()
    }
}

fn status(own: &Own, report: &Report, reasons: &[&str]) -> NodeServiceProxyStatus {
    let reasons: Vec<String> = reasons.iter().map(|&reason| reason.to_owned()).collect();
    let facts = Facts {
        own,
        report,
        reasons: &reasons,
        capabilities: &Capabilities::default(),
    };
    facts.status("2026-01-01T00:00:00Z".parse().unwrap())
}

fn said(status: &NodeServiceProxyStatus) -> Vec<(String, String)> {
    let words = |c: &Condition| (format!("{}={}", c.type_, c.status), c.reason.clone());
    status.conditions.iter().map(words).collect()
}

fn expect(status: &NodeServiceProxyStatus, supported: &str, programmed: &str, healthy: &str) {
    let expected = [
        ("Supported", supported),
        ("Programmed", programmed),
        ("Healthy", healthy),
    ]
    .map(|(kind, reason)| {
        let is_so = ["Supported", "SettingsNotInForce", "Programmed", "Healthy"].contains(&reason);
        (
            format!("{kind}={}", if is_so { "True" } else { "False" }),
            reason.to_owned(),
        )
    });
    assert_eq!(said(status), expected);
}

#[test]
fn a_node_that_serves_what_it_was_given_says_so_of_that_generation() {
    let own = own(4, ActiveMode::IPVS);
    let status = status(&own, &serving(4, ActiveMode::IPVS), &[]);
    expect(&status, "Supported", "Programmed", "Healthy");
    assert_eq!(status.observed_revision.as_deref(), Some("p-4"));
    assert_eq!(
        (status.active_mode, status.service_ports),
        (Some(ActiveMode::IPVS), Some(7))
    );
    assert!(
        status
            .conditions
            .iter()
            .all(|c| c.observed_generation == Some(4))
    );
}

#[test]
fn a_revision_is_not_programmed_before_the_kernel_holds_it() {
    let own = own(4, ActiveMode::IPVS);
    let earlier = status(&own, &serving(3, ActiveMode::IPVS), &[]);
    expect(&earlier, "Supported", "Pending", "Healthy");
    assert_eq!(earlier.observed_revision.as_deref(), Some("p-3"));
    let taken = Report {
        programmed: false,
        ..serving(4, ActiveMode::IPVS)
    };
    expect(
        &status(&own, &taken, &[]),
        "Supported",
        "Pending",
        "Healthy",
    );
    let other_mode = serving(4, ActiveMode::IPTables);
    expect(
        &status(&own, &other_mode, &[]),
        "Supported",
        "Pending",
        "Healthy",
    );
    let failed = Report {
        failure: Some("set full".into()),
        ..taken
    };
    let failed = status(&own, &failed, &["the last sync failed"]);
    expect(&failed, "Supported", "SyncFailed", "Unhealthy");
    assert!(failed.conditions[1].message.contains("set full"));
}

#[test]
fn a_mode_that_the_node_lacks_is_said_with_its_reason() {
    let report = Report {
        refused: Some(RefusedMode {
            mode: ActiveMode::IPVS,
            reason: "no module ip_vs".into(),
        }),
        ..serving(4, ActiveMode::IPTables)
    };
    let lacking = status(&own(4, ActiveMode::IPVS), &report, &[]);
    expect(&lacking, "ModeNotAvailable", "ModeNotAvailable", "Healthy");
    assert!(lacking.conditions[0].message.contains("no module ip_vs"));
    // Nobody asks for it any more.
    let given_up = status(&own(4, ActiveMode::IPTables), &report, &[]);
    expect(&given_up, "Supported", "Programmed", "Healthy");
}

#[test]
fn settings_that_cannot_be_read_or_followed_are_said() {
    let unreadable = Own {
        asked: None,
        problem: Some("spec cannot be read".into()),
        ..own(5, ActiveMode::IPVS)
    };
    let unreadable = status(&unreadable, &serving(4, ActiveMode::IPVS), &[]);
    expect(&unreadable, "Invalid", "Invalid", "Healthy");
    assert_eq!(unreadable.conditions[0].observed_generation, Some(5));
    let report = Report {
        conditions: vec!["no address in snat.addressCIDRs".into()],
        ..serving(4, ActiveMode::IPVS)
    };
    let otherwise = status(&own(4, ActiveMode::IPVS), &report, &[]);
    expect(&otherwise, "SettingsNotInForce", "Programmed", "Healthy");
}

#[test]
fn a_condition_keeps_its_time_while_its_status_stays_and_a_count_alone_is_no_news() {
    let mut own = own(4, ActiveMode::IPVS);
    let first = status(&own, &serving(4, ActiveMode::IPVS), &[]);
    let earlier: Timestamp = "2025-01-01T00:00:00Z".parse().unwrap();
    own.status = first.clone();
    for condition in &mut own.status.conditions {
        condition.last_transition_time = Time(earlier);
    }
    let more = Report {
        service_ports: 8,
        ..serving(4, ActiveMode::IPVS)
    };
    let again = status(&own, &more, &[]);
    assert!(!is_news(&again, &own.status));
    let sick = status(&own, &more, &["late"]);
    assert!(is_news(&sick, &own.status));
    let times: Vec<bool> = sick
        .conditions
        .iter()
        .map(|c| c.last_transition_time.0 == earlier)
        .collect();
    assert_eq!(times, [true, true, false]);
}

#[test]
fn a_message_is_never_longer_than_an_api_server_takes() {
    let long = "ü".repeat(LONGEST_MESSAGE);
    let short = shortened(long);
    assert!(short.len() <= LONGEST_MESSAGE && short.ends_with("..."));
}
