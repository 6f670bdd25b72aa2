//! The state of health, and the report made of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;
use sluice_crds::v1alpha1::ActiveMode;

use crate::agent::Inbox;

/// Changes that wait longer than this, and than settings make them wait, without being in the kernel make the proxy unhealthy.
const LATE: Duration = Duration::from_secs(30);

/// Why the kernel may not hold what was planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The last attempt to program it failed.
    SyncFailed(String),
    /// Objects of ours were changed or removed by somebody, and are not repaired yet.
    Drifted(String),
}

#[derive(Debug, Default)]
struct State {
    last_synced: Option<Timestamp>,
    unapplied_since: Option<Instant>,
    /// From the end of one sync to the start of the next.
    sync_interval: Duration,
    trouble: Option<Trouble>,
    node_being_deleted: bool,
    mode: Option<ActiveMode>,
    /// Kinds that were not listed yet, as far as the source tells.
    missing: Vec<&'static str>,
}

/// Health as the data-plane thread keeps it and the HTTP servers read it.
#[derive(Debug)]
pub struct Health {
    inbox: Arc<Inbox>,
    state: Mutex<State>,
}

impl Health {
    /// A proxy that has not programmed anything yet. The age of what waits is read from `inbox`.
    pub fn new(inbox: Arc<Inbox>) -> Self {
        Self {
            inbox,
            state: Mutex::default(),
        }
    }

    /// Changes were taken out of the inbox; the oldest has waited since then.
    pub fn took_changes(&self, oldest: Instant) {
        let mut state = self.lock();
        state.unapplied_since = state.unapplied_since.or(Some(oldest));
    }

    /// The kernel holds everything that was taken out of the inbox.
    pub fn synced(&self) {
        let mut state = self.lock();
        state.last_synced = Some(Timestamp::now());
        state.unapplied_since = None;
        state.trouble = None;
    }

    /// The settings space syncs by so much.
    pub fn set_sync_interval(&self, interval: Duration) {
        self.lock().sync_interval = interval;
    }

    /// The kernel may not hold what was planned.
    pub fn troubled(&self, trouble: Trouble) {
        self.lock().trouble = Some(trouble);
    }

    /// Nothing is programmed before these kinds were listed.
    pub fn set_missing(&self, missing: Vec<&'static str>) {
        self.lock().missing = missing;
    }

    /// New connections are served in this mode.
    pub fn set_mode(&self, mode: ActiveMode) {
        self.lock().mode = Some(mode);
    }

    /// The mode in use; absent before the first sync.
    pub fn mode(&self) -> Option<ActiveMode> {
        self.lock().mode
    }

    /// Whether the node is going away.
    pub fn set_node_being_deleted(&self, being_deleted: bool) {
        self.lock().node_being_deleted = being_deleted;
    }

    /// The proxy's own health; the node's deletion does not count.
    pub fn is_healthy(&self) -> bool {
        self.proxy_reasons(Instant::now()).is_empty()
    }

    /// Why the proxy is not healthy, in sentences; empty when it is.
    pub fn reasons(&self) -> Vec<String> {
        self.proxy_reasons(Instant::now())
    }

    /// The report of `/healthz`, where a node that is being deleted counts.
    pub fn healthz(&self) -> Report {
        self.report(true)
    }

    /// The report of `/livez`.
    pub fn livez(&self) -> Report {
        self.report(false)
    }

    fn report(&self, of_node_too: bool) -> Report {
        let mut reasons = self.proxy_reasons(Instant::now());
        let healthy = reasons.is_empty();
        let now = Timestamp::now();
        let state = self.lock();
        let node_eligible = of_node_too.then_some(!state.node_being_deleted);
        if node_eligible == Some(false) {
            reasons.push("the node is being deleted".to_owned());
        }
        // As kube-proxy does: a healthy proxy is up to date now, also when nothing had to be written for a long time.
        let family_updated = if healthy {
            now
        } else {
            state.last_synced.unwrap_or(Timestamp::UNIX_EPOCH)
        };
        let family = FamilyReport {
            last_updated: family_updated,
            healthy,
        };
        Report {
            last_updated: family_updated,
            current_time: now,
            node_eligible,
            healthy,
            status: BTreeMap::from([("IPv4", family), ("IPv6", family)]),
            reasons,
        }
    }

    fn proxy_reasons(&self, now: Instant) -> Vec<String> {
        let queued_since = self.inbox.oldest_change();
        let state = self.lock();
        let mut reasons = Vec::new();
        if state.last_synced.is_none() {
            reasons.push(if self.inbox.is_listed() {
                "the kernel has not been programmed yet".to_owned()
            } else if state.missing.is_empty() {
                "services, slices and the node have not all been listed yet".to_owned()
            } else {
                format!(
                    "services, slices and the node have not all been listed yet; missing: {} (the agent's log has what the API server says)",
                    state.missing.join(", ")
                )
            });
        }
        match &state.trouble {
            Some(Trouble::SyncFailed(why)) => reasons.push(format!("the last sync failed: {why}")),
            Some(Trouble::Drifted(what)) => {
                reasons.push(format!(
                    "the kernel does not hold what was programmed: {what}"
                ));
            }
            None => {}
        }
        let oldest = [queued_since, state.unapplied_since]
            .into_iter()
            .flatten()
            .min();
        if let Some(age) = oldest.map(|since| now.saturating_duration_since(since))
            && age > LATE + state.sync_interval
        {
            reasons.push(format!("changes have waited for {} s", age.as_secs()));
        }
        reasons
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of `/healthz` and `/livez`: the fields of kube-proxy 1.36, and why when not.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    last_updated: Timestamp,
    current_time: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_eligible: Option<bool>,
    healthy: bool,
    status: BTreeMap<&'static str, FamilyReport>,
    reasons: Vec<String>,
}

impl Report {
    /// To be answered with 200, not 503.
    pub fn is_good(&self) -> bool {
        self.healthy && self.node_eligible != Some(false)
    }
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
struct FamilyReport {
    last_updated: Timestamp,
    healthy: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health() -> Health {
        Health::new(Arc::new(Inbox::default()))
    }

    #[test]
    fn health_is_red_until_the_first_sync_and_green_after_it() {
        let health = health();
        assert!(!health.healthz().is_good());
        health.synced();
        assert!(health.healthz().is_good() && health.livez().is_good());
        let json = serde_json::to_value(health.healthz()).unwrap();
        for field in [
            "lastUpdated",
            "currentTime",
            "nodeEligible",
            "healthy",
            "reasons",
        ] {
            assert!(json.get(field).is_some(), "{field} is missing in {json}");
        }
        assert_eq!(json["status"]["IPv6"]["healthy"], true);
    }

    #[test]
    fn what_was_not_listed_yet_is_named() {
        let health = health();
        health.set_missing(vec!["Service", "Node"]);
        let reasons = health.reasons();
        assert!(reasons[0].contains("missing: Service, Node"), "{reasons:?}");
        health.synced();
        assert!(health.reasons().is_empty());
    }

    #[test]
    fn a_failed_sync_and_drift_are_red_with_the_reason_until_a_sync_succeeds() {
        let health = health();
        health.synced();
        for trouble in [
            Trouble::SyncFailed("set X is full".into()),
            Trouble::Drifted("set X is full of holes".into()),
        ] {
            health.troubled(trouble);
            let report = health.healthz();
            assert!(!report.is_good() && !health.is_healthy());
            assert!(
                report.reasons[0].contains("set X is full"),
                "{:?}",
                report.reasons
            );
            assert!(report.last_updated < report.current_time);
            health.synced();
            assert!(health.healthz().is_good());
        }
    }

    #[test]
    fn a_deleted_node_is_red_on_healthz_but_not_on_livez_nor_for_load_balancers() {
        let health = health();
        health.synced();
        health.set_node_being_deleted(true);
        assert!(!health.healthz().is_good());
        assert!(health.livez().is_good() && health.is_healthy());
        assert!(
            serde_json::to_value(health.livez())
                .unwrap()
                .get("nodeEligible")
                .is_none()
        );
        health.set_node_being_deleted(false);
        assert!(health.healthz().is_good());
    }

    #[test]
    fn changes_that_wait_too_long_are_red() {
        let health = health();
        health.synced();
        let taken = Instant::now();
        health.took_changes(taken);
        assert!(health.proxy_reasons(taken + LATE).is_empty());
        let late = health.proxy_reasons(taken + LATE + Duration::from_secs(1));
        assert_eq!(late, ["changes have waited for 31 s"]);
        health.set_sync_interval(Duration::from_secs(10));
        let at = |seconds| health.proxy_reasons(taken + Duration::from_secs(seconds));
        assert!(at(40).is_empty());
        assert_eq!(at(41), ["changes have waited for 41 s"]);
    }
}
