//! Books what was done: in metrics, in health, in the log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;

use sluice_api_access::with_causes;
use sluice_crds::v1alpha1::ActiveMode;
use sluice_service_plan::model::ObjectName;
use sluice_service_plan::plan::{PlanChange, ServicePlan};

use crate::agent::drift_log::DriftLog;
use crate::agent::failure::{category, refused_restore};
use crate::agent::inbox::Cause;
use crate::agent::lost_claims;
use crate::agent::plane::{Plane, PlaneError};
use crate::agent::report::Report;
use crate::attachments::Terms;
use crate::data_plane::{Drift, SyncReport};
use crate::health::{Health, Trouble};
use crate::metrics::{Metrics, SyncKind};
use crate::source::Revision;
use crate::tally::Tally;

/// See the module.
pub(super) struct Books {
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    in_work: InWork,
    /// Of all planned services, in each family.
    service_ports: usize,
    drift_log: DriftLog,
    last_error: String,
    pub(super) report: watch::Sender<Report>,
}

/// What was taken in and is not programmed yet.
#[derive(Debug, Default)]
struct InWork {
    services: usize,
    slices: usize,
    causes: BTreeMap<ObjectName, Cause>,
}

impl Books {
    pub(super) fn new(
        health: Arc<Health>,
        metrics: Arc<Metrics>,
        report: watch::Sender<Report>,
    ) -> Self {
        Self {
            health,
            metrics,
            in_work: InWork::default(),
            service_ports: 0,
            drift_log: DriftLog::default(),
            last_error: String::new(),
            report,
        }
    }

    /// Changes of so many services and slices were taken in, of which the oldest came in at `oldest`.
    pub(super) fn took_in(
        &mut self,
        (services, slices): (usize, usize),
        causes: BTreeMap<ObjectName, Cause>,
        oldest: Instant,
    ) {
        for (slice, cause) in causes {
            self.in_work.causes.entry(slice).or_insert(cause);
        }
        self.health.took_changes(oldest);
        self.in_work.services += services;
        self.in_work.slices += slices;
    }

    /// Changes may wait so long for the end of the last sync's rest.
    pub(super) fn syncs_are_spaced_by(&self, interval: Duration) {
        self.health.set_sync_interval(interval);
    }

    pub(super) fn node_is_being_deleted(&self, being_deleted: bool) {
        self.health.set_node_being_deleted(being_deleted);
    }

    /// These settings are to be programmed from now on.
    pub(super) fn took_settings(&self, revision: Option<&Revision>) {
        self.tell(|report| {
            if report.revision.as_ref() != revision {
                report.revision = revision.cloned();
                report.programmed = false;
            }
        });
    }

    fn tell(&self, change: impl FnOnce(&mut Report)) {
        self.report.send_if_modified(|report| {
            let before = report.clone();
            change(report);
            *report != before
        });
    }

    pub(super) fn planned(&mut self, change: &PlanChange, mark_bit: u8) {
        for service in &change.services {
            let ports =
                |plan: &Option<Arc<ServicePlan>>| plan.as_ref().map_or(0, |plan| plan.ports.len());
            self.service_ports += ports(&service.after);
            self.service_ports -= ports(&service.before);
        }
        lost_claims::log(change);
        self.metrics.objects.count_change(change);
        self.metrics.ipvs_services.follow(change, mark_bit);
    }

    /// A sync went well; `waiting` are the services and slices that came in meanwhile.
    pub(super) fn synced(
        &mut self,
        kind: SyncKind,
        took: Duration,
        report: &SyncReport,
        waiting: (usize, usize),
    ) {
        let done = std::mem::take(&mut self.in_work);
        let now = Timestamp::now();
        for cause in done.causes.into_values() {
            let metrics = &self.metrics.network_programming;
            metrics.programmed(cause.family, cause.at, now);
        }
        tracing::info!(
            ?kind,
            services = done.services,
            slices = done.slices,
            transactions = report.transactions,
            bytes = report.bytes_written,
            set_entries = report.set_entries,
            milliseconds = took.as_secs_f64() * 1e3,
            "synced"
        );
        self.metrics.sync.synced(kind, took);
        self.metrics.sync.set_pending(waiting);
    }

    /// The end of a sync that went well: all else of it is in the books.
    pub(super) fn healthy(&self) {
        self.health.synced();
    }

    /// Nothing fails any more.
    pub(super) fn recovered(&mut self) {
        if !self.last_error.is_empty() {
            tracing::info!("the kernel holds what is planned again");
        }
        self.last_error.clear();
    }

    /// What the plane holds after something was written to it.
    pub(super) fn wrote(&self, report: &SyncReport, plane: &Plane) {
        self.metrics.kernel.wrote(report, plane.programmed());
    }

    /// Which mode serves, and whether connections of another are left.
    pub(super) fn serves(&self, plane: &Plane) {
        if let Some(mode) = plane.mode() {
            self.health.set_mode(mode);
            let draining = mode == ActiveMode::IPTables && plane.uses_ipvs();
            self.metrics.mode.set(mode, draining);
        }
    }

    /// All is programmed, but for what is done otherwise than the settings ask; what is new of it is logged.
    pub(super) fn tell_conditions(&self, conditions: Vec<String>, plane: &Plane, terms: &Terms) {
        let told = self.report.borrow().conditions.clone();
        for condition in conditions.iter().filter(|c| !told.contains(c)) {
            tracing::warn!(condition, "the settings need attention");
        }
        let refused = plane.choice.refused_mode();
        self.metrics.objects.set_conditions(conditions.len());
        self.metrics
            .mode
            .set_refused(refused.map(|refused| refused.mode));
        self.tell(|report| {
            report.programmed = true;
            report.failure = plane
                .choice
                .put_off()
                .map(|put_off| with_causes(&put_off.error));
            report.mode = plane.mode();
            report.refused = refused.cloned();
            report.conditions = conditions;
            report.service_ports = u32::try_from(self.service_ports).unwrap_or(u32::MAX);
            if let Some(families) = plane.families() {
                report.terms = Some(Arc::new(terms.of_families(&families)));
            }
        });
    }

    /// The mode that is asked for could not be taken yet: again, or still. What serves is as planned, and no load balancer need pass the node over.
    pub(super) fn switch_failed(&mut self, kind: SyncKind, error: &PlaneError, is_new: bool) {
        if is_new {
            self.tell_failure(kind, error);
        } else {
            self.metrics.sync.set_failing(category(error));
        }
    }

    pub(super) fn failed(&mut self, kind: SyncKind, error: &PlaneError) {
        self.tell_failure(kind, error);
        self.health
            .troubled(Trouble::SyncFailed(with_causes(error)));
    }

    fn tell_failure(&mut self, kind: SyncKind, error: &PlaneError) {
        let words = with_causes(error);
        if self.last_error == words {
            tracing::debug!(error = words, "still failing");
        } else {
            tracing::error!(
                error = words,
                "the kernel could not be programmed; trying again"
            );
        }
        self.metrics.sync.failed(category(error));
        if let Some(ipv6) = refused_restore(error) {
            self.metrics.sync.restore_failed(kind, ipv6);
        }
        self.tell(|report| report.failure = Some(words.clone()));
        self.last_error = words;
    }

    pub(super) fn sysctls_failing(&self, failing: usize) {
        self.metrics.kernel.set_sysctls_not_in_force(failing);
    }

    pub(super) fn count_check(&self) {
        self.metrics.kernel.count_check();
    }

    pub(super) fn count_verification(&self) {
        self.metrics.kernel.count_verification();
    }

    pub(super) fn drifted(&mut self, drift: &[Drift]) {
        self.metrics.kernel.drifted(drift);
        self.drift_log.found(drift);
        let words = DriftLog::summary(drift);
        self.health.troubled(Trouble::Drifted(words));
    }

    pub(super) fn repaired(&mut self, drift: &[Drift]) {
        self.metrics.kernel.repaired(drift);
        self.drift_log.repaired();
    }

    pub(super) fn add(&self, tally: &Tally) {
        self.metrics.tally.add(tally);
    }
}
