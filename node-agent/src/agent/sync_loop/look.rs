//! Looks whether the kernel holds what was programmed, and mends what does not.

use super::SyncLoop;
use crate::agent::plane::PlaneError;
use crate::data_plane::{Drain, Drift};
use crate::metrics::SyncKind;

impl SyncLoop {
    /// Looks at the counts.
    pub(super) fn check(&mut self) {
        self.plane.doubt(&self.inbox.take_lost_bindings());
        let start = self.clock.now();
        self.books.count_check();
        let found = self.drain().and_then(|()| self.plane.check());
        self.schedule.checked(start, self.clock.now());
        self.follow(found);
    }

    /// Compares everything.
    pub(super) fn verify(&mut self) {
        self.plane.doubt(&self.inbox.take_lost_bindings());
        self.inbox.forget_ruleset_change();
        let start = self.clock.now();
        self.books.count_verification();
        self.tuning.set_due();
        let found = self.plane.verify();
        self.schedule.verified(start, self.clock.now());
        self.follow(found);
    }

    /// Compares everything, and tries again what the node could not run: it may be able to by now.
    pub(super) fn review(&mut self) {
        self.plane.choice.try_again();
        // With `Auto` a mode that was refused was not even asked for any more.
        self.choose_mode();
        self.verify();
        self.schedule.reviewed(self.clock.now());
    }

    fn follow(&mut self, found: Result<Vec<Drift>, PlaneError>) {
        match found {
            Ok(drift) if drift.is_empty() => {
                if self.tune_if_due() {
                    self.tell_conditions();
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
        self.books.drifted(drift);
        self.reconcile();
        if !self.schedule.is_to_retry() {
            self.books.repaired(drift);
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
        let report = self.notices.during(|| plane.drain(drain))?;
        if !report.is_noop() {
            self.books.wrote(&report, &self.plane);
        }
        if used_ipvs && !self.plane.uses_ipvs() {
            self.release_sysctls();
            self.books.serves(&self.plane);
        }
        Ok(())
    }
}
