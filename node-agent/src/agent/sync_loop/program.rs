//! Programs the kernel: all of the plan, or what changed of it.

use std::time::Instant;

use sluice_crds::v1alpha1::ActiveMode;

use super::SyncLoop;
use crate::agent::health_check_table;
use crate::agent::ipvs_host::NotReady;
use crate::agent::plane::PlaneError;
use crate::data_plane::SyncReport;
use crate::metrics::SyncKind;

impl SyncLoop {
    pub(super) fn reconcile(&mut self) {
        self.take_in();
        self.program_all();
    }

    pub(super) fn apply(&mut self) {
        let change = self.take_in();
        if self.plane.is_to_change() {
            self.program_all();
            return;
        }
        if self.tuning.is_due() {
            self.release_sysctls();
        }
        let start = self.clock.now();
        let outcome = if change.is_empty() {
            Ok(SyncReport::default())
        } else {
            let (plane, plan) = (&mut self.plane, self.desired.plan());
            self.notices.during(|| plane.apply(plan, &change))
        };
        if self.ended(SyncKind::Partial, start, outcome) {
            self.health_checks
                .send_if_modified(|table| health_check_table::follow(table, &change));
        }
    }

    pub(super) fn program_all(&mut self) {
        let ready = self.make_ready();
        self.release_sysctls();
        self.inbox.forget_ruleset_change();
        let start = self.clock.now();
        let (plane, plan) = (&mut self.plane, self.desired.plan());
        let outcome = ready.and_then(|()| self.notices.during(|| plane.reconcile(plan)));
        if self.ended(SyncKind::Full, start, outcome) {
            // Whether IPVS has anything of ours is known by now.
            self.release_sysctls();
            let plan = self.desired.plan();
            self.health_checks
                .send_if_modified(|table| health_check_table::replace(table, plan));
            self.schedule.programmed_all(self.clock.now());
        }
    }

    fn make_ready(&mut self) -> Result<(), PlaneError> {
        if !self.plane.will_balance_by_ipvs() {
            return Ok(());
        }
        let ready = self.tuning.make_ready_for_ipvs(self.desired.settings());
        match ready {
            Ok(()) => Ok(()),
            // Sysctls are set after the sync too, and those that fail are told then.
            Err(_) if self.plane.serving() == Some(ActiveMode::IPVS) => Ok(()),
            Err(NotReady::Lack(reason)) => {
                self.plane.choice.refuse(ActiveMode::IPVS, reason);
                Ok(())
            }
            Err(NotReady::NotNoted(error)) => self.plane.not_ready(ActiveMode::IPVS, error.into()),
        }
    }

    pub(super) fn release_sysctls(&mut self) {
        let settings = self.desired.settings();
        self.tuning.release(settings, self.plane.may_use_ipvs());
    }

    /// Returns whether it was due.
    pub(super) fn tune_if_due(&mut self) -> bool {
        let is_due = self.tuning.is_due();
        if is_due {
            let settings = self.desired.settings();
            let failing = self.tuning.apply(settings, self.plane.uses_ipvs());
            self.books.sysctls_failing(failing);
        }
        is_due
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
        self.schedule.synced(end, took);
        match outcome {
            Ok(report) => {
                self.schedule.succeeded();
                self.tune_if_due();
                self.tell_conditions();
                let waiting = self.inbox.waiting();
                self.books.synced(kind, took, &report, waiting);
                self.books.serves(&self.plane);
                self.books.wrote(&report, &self.plane);
                self.follow_switch(kind, end);
                // Who is told of health finds in metrics what was done for it.
                self.books.add(&self.plane.tally());
                self.books.healthy();
                true
            }
            Err(error) => {
                self.failed(kind, &error);
                false
            }
        }
    }

    /// What serves can be written; a switch that failed is told and made again later.
    fn follow_switch(&mut self, kind: SyncKind, now: Instant) {
        let Some(put_off) = self.plane.choice.put_off() else {
            self.schedule.switched();
            self.books.recovered();
            return;
        };
        let is_new = self.schedule.put_off_switch(now, put_off.tries);
        self.books.switch_failed(kind, &put_off.error, is_new);
    }

    /// Makes the switch that was put off.
    pub(super) fn switch_again(&mut self) {
        self.schedule.switched();
        self.plane.choice.switch_again();
        self.reconcile();
    }

    pub(super) fn failed(&mut self, kind: SyncKind, error: &PlaneError) {
        self.schedule.failed(self.clock.now());
        self.books.failed(kind, error);
    }

    pub(super) fn tell_conditions(&mut self) {
        let (settings, node) = (self.desired.settings(), self.desired.node());
        let mut conditions = self.desired.conditions();
        conditions.extend(self.plane.conditions());
        let uses_ipvs = self.plane.uses_ipvs();
        let of_node = self.tuning.conditions(settings, node, uses_ipvs);
        conditions.extend(of_node);
        self.books
            .tell_conditions(conditions, &self.plane, &settings.attachments);
    }
}
