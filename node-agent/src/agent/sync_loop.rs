//! The one thread that owns the data plane: plans what changed, programs it, looks after it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;

use sluice_crds::v1alpha1::{ActiveMode, Mode};
use sluice_kernel::iptables::Variant;
use sluice_service_plan::model::ObjectName;
use sluice_service_plan::plan::PlanChange;

use super::clock::Clock;
use super::desired::Desired;
use super::drift_log::DriftLog;
use super::failure::{category, refused_restore};
use super::health_check_table;
use super::inbox::{Cause, Inbox};
use super::ipvs_host::IpvsHost;
use super::pacing::{Backoff, Pacer};
use super::plane::{Plane, PlaneError};
use super::rule_notices::RuleNotices;
use super::tunables::Tunables;
use crate::data_plane::{Drain, Drift, SyncReport};
use crate::health::{Health, HealthCheckTable, Trouble};
use crate::metrics::{Metrics, SyncKind};

/// Between two looks at the counts.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// After a comparison that a notice caused, rest so many times as long as it took.
const NOTICE_REST: u32 = 10;
/// A wait with nothing to do; news ends it.
const IDLE: Duration = Duration::from_secs(3600);

/// What the loop shares with the rest of the agent.
#[derive(Debug)]
pub struct Shared {
    /// Where changes come in.
    pub inbox: Arc<Inbox>,
    /// Where health is told.
    pub health: Arc<Health>,
    /// Where things are counted.
    pub metrics: Arc<Metrics>,
    /// What tells our own writes from those of others.
    pub notices: Arc<RuleNotices>,
    /// Where the wanted health-check servers are told.
    pub health_checks: watch::Sender<HealthCheckTable>,
}

/// The loop's state.
pub struct SyncLoop {
    shared: Shared,
    clock: Box<dyn Clock>,
    plane: Plane,
    tunables: Tunables,
    ipvs_host: IpvsHost,
    desired: Desired,
    pacer: Pacer,
    backoff: Backoff,
    drift_log: DriftLog,
    last_error: String,
    conditions: Vec<String>,
    tune_after_sync: bool,
    /// Nothing was programmed yet.
    fresh: bool,
    next_check: Instant,
    next_verification: Instant,
    /// Notices of foreign changes are not followed before, lest a busy neighbour keeps us comparing all the time.
    next_notice: Instant,
    changes_in_work: (usize, usize),
    /// What caused the changes in work.
    causes: BTreeMap<ObjectName, Cause>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Reconcile,
    Apply,
    Check,
    Verify,
}

impl SyncLoop {
    /// A loop that has not programmed anything yet.
    pub fn new(
        shared: Shared,
        clock: Box<dyn Clock>,
        plane: Plane,
        tunables: Tunables,
        ipvs_host: IpvsHost,
    ) -> Self {
        let now = clock.now();
        let desired = Desired::default();
        Self {
            pacer: Pacer::new(desired.settings().min_sync_interval),
            shared,
            clock,
            plane,
            tunables,
            ipvs_host,
            desired,
            backoff: Backoff::default(),
            drift_log: DriftLog::default(),
            last_error: String::new(),
            conditions: Vec::new(),
            tune_after_sync: true,
            fresh: true,
            next_check: now,
            next_verification: now,
            next_notice: now,
            changes_in_work: (0, 0),
            causes: BTreeMap::new(),
        }
    }

    /// Works until the process ends.
    pub fn run(mut self) -> ! {
        loop {
            let seen = self.shared.inbox.news();
            if let Some(wake) = self.step() {
                self.shared.inbox.wait(seen, wake);
            }
        }
    }

    /// Does what is due first; where nothing is, tells until when to wait for news.
    fn step(&mut self) -> Option<Instant> {
        let now = self.clock.now();
        let (due, work) = self.next_work(now);
        if due > now {
            return Some(due);
        }
        match work {
            Work::Reconcile => self.reconcile(),
            Work::Apply => self.apply(),
            Work::Check => self.look(false),
            Work::Verify => self.look(true),
        }
        self.shared.metrics.tally.add(&self.plane.tally());
        None
    }

    fn next_work(&self, now: Instant) -> (Instant, Work) {
        if !self.shared.inbox.is_listed() {
            return (now + IDLE, Work::Reconcile);
        }
        // After an error the kernel's state is not known: nothing is built on it before a reconcile went well.
        if let Some(retry) = self.backoff.retry_at() {
            return (retry, Work::Reconcile);
        }
        if self.fresh {
            return (now, Work::Reconcile);
        }
        let change = self
            .shared
            .inbox
            .oldest_change()
            .map(|oldest| self.pacer.start(oldest));
        let notice = (self.shared.inbox.is_ruleset_changed()
            && self.plane.variant() == Some(Variant::Nft))
        .then_some(self.next_notice);
        let lost = (self.shared.inbox.is_binding_lost() && self.plane.uses_ipvs())
            .then_some(self.next_notice);
        [
            (change, Work::Apply),
            (notice, Work::Verify),
            (lost, Work::Check),
            (Some(self.next_check), Work::Check),
            (Some(self.next_verification), Work::Verify),
        ]
        .into_iter()
        .filter_map(|(due, work)| Some((due?, work)))
        .min_by_key(|(due, _)| *due)
        .unwrap_or((now + IDLE, Work::Check))
    }

    /// Takes in everything that waits.
    fn absorb(&mut self) {
        let waiting = self.shared.inbox.waiting();
        let Some((mut batch, oldest)) = self.shared.inbox.take() else {
            return;
        };
        for (slice, cause) in std::mem::take(&mut batch.causes) {
            self.causes.entry(slice).or_insert(cause);
        }
        self.shared.health.took_changes(oldest);
        self.changes_in_work.0 += waiting.0;
        self.changes_in_work.1 += waiting.1;
        if !self.desired.absorb(batch) {
            return;
        }
        self.shared
            .health
            .set_node_being_deleted(self.desired.node().being_deleted);
        let settings = self.desired.settings();
        self.pacer.set_min_interval(settings.min_sync_interval);
        let full_interval = settings.full_sync_interval;
        self.next_verification = self.next_verification.min(self.clock.now() + full_interval);
        self.tune_after_sync = true;
    }

    /// Takes in everything that waits, and what follows from it for plan and mode.
    fn take_in(&mut self) -> PlanChange {
        self.absorb();
        let change = self.desired.take_changes();
        self.shared.metrics.objects.count_change(&change);
        let settings = self.desired.settings();
        let ipvs_services = &self.shared.metrics.ipvs_services;
        ipvs_services.follow(&change, settings.plan.mark_bit);
        let services = self.desired.plan().services.len();
        // Who leaves the choice to us asks for nothing that the node cannot run.
        let can_run = settings.mode.mode != Mode::Auto || !self.plane.has_refused(ActiveMode::IPVS);
        let mode = settings.mode.mode_for(services, self.plane.mode(), can_run);
        self.plane.want(settings.iptables_variant, mode);
        change
    }

    /// IPVS needs modules and sysctls before its first connection.
    fn make_ready(&mut self) {
        if self.plane.mode_to_be() != ActiveMode::IPVS {
            return;
        }
        let settings = self.desired.settings();
        if let Err(reason) = self.ipvs_host.make_ready(settings, &mut self.tunables) {
            self.plane.refuse(ActiveMode::IPVS, reason);
        }
    }

    fn tell_conditions(&mut self) {
        let mut conditions = self.desired.conditions();
        conditions.extend(self.plane.conditions());
        if self.plane.uses_ipvs() {
            conditions.extend(self.ipvs_host.conditions(self.desired.settings()));
        }
        for condition in conditions.iter().filter(|c| !self.conditions.contains(c)) {
            tracing::warn!(condition, "the settings need attention");
        }
        self.shared.metrics.objects.set_conditions(conditions.len());
        self.shared
            .metrics
            .mode
            .set_refused(self.plane.refused_mode());
        self.conditions = conditions;
    }

    fn ipvs_sysctls(&self) -> Vec<(String, String)> {
        if self.plane.uses_ipvs() {
            self.ipvs_host.sysctls(self.desired.settings())
        } else {
            Vec::new()
        }
    }

    fn tune(&mut self) {
        let more = self.ipvs_sysctls();
        let failing = self.tunables.apply(self.desired.settings(), &more);
        self.shared.metrics.kernel.set_sysctls_not_in_force(failing);
        self.tune_after_sync = false;
    }

    fn reconcile(&mut self) {
        self.take_in();
        self.program_all();
    }

    fn program_all(&mut self) {
        self.make_ready();
        let more = self.ipvs_sysctls();
        self.tunables.release(self.desired.settings(), &more);
        self.shared.inbox.forget_ruleset_change();
        let start = self.clock.now();
        let (plane, plan) = (&mut self.plane, self.desired.plan());
        let outcome = self.shared.notices.during(|| plane.reconcile(plan));
        if self.ended(SyncKind::Full, start, outcome) {
            self.fresh = false;
            let plan = self.desired.plan();
            self.shared
                .health_checks
                .send_if_modified(|table| health_check_table::replace(table, plan));
            self.schedule_looks();
        }
    }

    fn apply(&mut self) {
        let change = self.take_in();
        if self.plane.is_to_change() {
            self.program_all();
            return;
        }
        if self.tune_after_sync {
            let more = self.ipvs_sysctls();
            self.tunables.release(self.desired.settings(), &more);
        }
        let start = self.clock.now();
        let outcome = if change.is_empty() {
            Ok(SyncReport::default())
        } else {
            let (plane, plan) = (&mut self.plane, self.desired.plan());
            self.shared.notices.during(|| plane.apply(plan, &change))
        };
        if self.ended(SyncKind::Partial, start, outcome) {
            self.shared
                .health_checks
                .send_if_modified(|table| health_check_table::follow(table, &change));
        }
    }

    /// Lets go of what was kept for old connections only.
    fn drain(&mut self) -> Result<(), PlaneError> {
        let used_ipvs = self.plane.uses_ipvs();
        let drain = Drain {
            now: self.clock.now(),
            timeout: self.desired.settings().drain_timeout,
        };
        let plane = &mut self.plane;
        let report = self.shared.notices.during(|| plane.drain(drain))?;
        if !report.is_noop() {
            self.shared
                .metrics
                .kernel
                .wrote(&report, self.plane.programmed());
        }
        if used_ipvs && !self.plane.uses_ipvs() {
            self.tunables.release(self.desired.settings(), &[]);
            if let Some(mode) = self.plane.mode() {
                self.shared.metrics.mode.set(mode, false);
            }
        }
        Ok(())
    }

    /// Compares the kernel with what was programmed, and repairs it.
    fn look(&mut self, whole: bool) {
        self.plane.doubt(&self.shared.inbox.take_lost_bindings());
        let start = self.clock.now();
        let found = if whole {
            self.shared.inbox.forget_ruleset_change();
            self.shared.metrics.kernel.count_verification();
            self.tune_after_sync = true;
            self.plane.verify()
        } else {
            self.shared.metrics.kernel.count_check();
            self.drain().and_then(|()| self.plane.check())
        };
        let end = self.clock.now();
        let took = end.saturating_duration_since(start);
        let rest = (took * NOTICE_REST).max(self.desired.settings().min_sync_interval);
        self.next_check = end + CHECK_INTERVAL;
        self.next_notice = self.next_notice.max(end + rest);
        if whole {
            self.plane.try_again();
            self.next_verification = end + self.desired.settings().full_sync_interval;
        }
        match found {
            Ok(drift) if drift.is_empty() => {
                if whole {
                    self.tune();
                }
                if self.plane.is_to_change() {
                    self.program_all();
                }
            }
            Ok(drift) => self.repair(&drift),
            Err(error) => self.failed(SyncKind::Full, &error),
        }
    }

    fn repair(&mut self, drift: &[Drift]) {
        self.shared.metrics.kernel.drifted(drift);
        self.drift_log.found(drift);
        self.shared
            .health
            .troubled(Trouble::Drifted(DriftLog::summary(drift)));
        self.reconcile();
        if self.backoff.retry_at().is_none() {
            self.shared.metrics.kernel.repaired(drift);
            self.drift_log.repaired();
        }
    }

    /// Books the end of a sync; true when it went well.
    fn ended(
        &mut self,
        kind: SyncKind,
        start: Instant,
        outcome: Result<SyncReport, PlaneError>,
    ) -> bool {
        let end = self.clock.now();
        let took = end.saturating_duration_since(start);
        self.pacer.ended(end, took);
        match outcome {
            Ok(report) => {
                self.succeeded(kind, took, &report);
                if self.tune_after_sync {
                    self.tune();
                }
                true
            }
            Err(error) => {
                self.failed(kind, &error);
                false
            }
        }
    }

    fn succeeded(&mut self, kind: SyncKind, took: Duration, report: &SyncReport) {
        let (services, slices) = std::mem::take(&mut self.changes_in_work);
        let now = Timestamp::now();
        for cause in std::mem::take(&mut self.causes).into_values() {
            let metrics = &self.shared.metrics.network_programming;
            metrics.programmed(cause.family, cause.at, now);
        }
        tracing::info!(
            ?kind,
            services,
            slices,
            transactions = report.transactions,
            bytes = report.bytes_written,
            set_entries = report.set_entries,
            milliseconds = took.as_secs_f64() * 1e3,
            "synced"
        );
        if self.backoff.retry_at().is_some() {
            tracing::info!("the kernel holds what is planned again");
        }
        self.backoff.succeeded();
        self.last_error.clear();
        self.tell_conditions();
        self.shared.health.synced();
        if let Some(mode) = self.plane.mode() {
            self.shared.health.set_mode(mode);
            let draining = mode == ActiveMode::IPTables && self.plane.uses_ipvs();
            self.shared.metrics.mode.set(mode, draining);
        }
        self.shared.metrics.sync.synced(kind, took);
        self.shared
            .metrics
            .sync
            .set_pending(self.shared.inbox.waiting());
        self.shared
            .metrics
            .kernel
            .wrote(report, self.plane.programmed());
    }

    fn failed(&mut self, kind: SyncKind, error: &PlaneError) {
        let words = with_causes(error);
        self.backoff.failed(self.clock.now());
        if self.last_error == words {
            tracing::debug!(error = words, "still failing");
        } else {
            tracing::error!(
                error = words,
                "the kernel could not be programmed; trying again"
            );
        }
        self.shared.metrics.sync.failed(category(error));
        if let Some(ipv6) = refused_restore(error) {
            self.shared.metrics.sync.restore_failed(kind, ipv6);
        }
        self.shared
            .health
            .troubled(Trouble::SyncFailed(words.clone()));
        self.last_error = words;
    }

    fn schedule_looks(&mut self) {
        let now = self.clock.now();
        self.next_check = now + CHECK_INTERVAL;
        self.next_verification = now + self.desired.settings().full_sync_interval;
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_words = inner.to_string();
        if !words.ends_with(&inner_words) {
            words = format!("{words}: {inner_words}");
        }
        cause = inner.source();
    }
    words
}

#[cfg(test)]
mod tests;
