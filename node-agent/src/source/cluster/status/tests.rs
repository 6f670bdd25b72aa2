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
        uid: Some("u".to_owned()),
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

#[test]
fn how_long_changes_have_waited_is_no_news_and_why_is() {
    let said = |message: &str| {
        let healthy = Condition {
            type_: HEALTHY.to_owned(),
            status: "False".to_owned(),
            reason: "Unhealthy".to_owned(),
            message: message.to_owned(),
            observed_generation: None,
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        };
        NodeServiceProxyStatus {
            conditions: vec![healthy],
            ..NodeServiceProxyStatus::default()
        }
    };
    let waited = said("changes have waited for 31 s");
    assert!(!is_news(&said("changes have waited for 32 s"), &waited));
    assert!(is_news(&said("the last sync failed: set is full"), &waited));
}

#[test]
fn what_was_written_counts_until_it_comes_back_and_only_for_the_object_it_was_written_to() {
    let mut old = own(1, ActiveMode::IPTables);
    old.status = NodeServiceProxyStatus::default();
    let new = NodeServiceProxyStatus {
        observed_revision: Some("p-1".to_owned()),
        ..NodeServiceProxyStatus::default()
    };
    let mut written = Written::default();
    written.set(&old, new.clone());
    let mut late = old.clone();
    written.correct(&mut late);
    assert_eq!(late.status, new);

    let mut made_anew = old.clone();
    made_anew.uid = Some("another".to_owned());
    written.correct(&mut made_anew);
    assert_eq!(made_anew.status, NodeServiceProxyStatus::default());

    written.set(&old, new.clone());
    let mut back = Own {
        status: new,
        ..old.clone()
    };
    written.correct(&mut back);
    let mut wiped = old;
    written.correct(&mut wiped);
    assert_eq!(wiped.status, NodeServiceProxyStatus::default());
}
