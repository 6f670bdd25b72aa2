//! Takes in what has come, and what follows from it for plan, settings and mode.

use sluice_crds::v1alpha1::{ActiveMode, Mode};
use sluice_service_plan::plan::PlanChange;

use super::SyncLoop;

impl SyncLoop {
    pub(super) fn take_in(&mut self) -> PlanChange {
        self.absorb();
        let change = self.desired.take_changes();
        let settings = self.desired.settings();
        self.books.planned(&change, settings.plan.mark_bit);
        self.choose_mode();
        change
    }

    /// Says which mode and variant the next sync brings about.
    pub(super) fn choose_mode(&mut self) {
        let settings = self.desired.settings();
        let services = self.desired.plan().services.len();
        // Who leaves the choice to us asks for nothing that the node cannot run.
        let can_run =
            settings.mode.mode != Mode::Auto || !self.plane.choice.has_refused(ActiveMode::IPVS);
        let mode = settings.mode.mode_for(services, self.plane.mode(), can_run);
        let asked = settings.mode.mode;
        self.plane
            .choice
            .want(settings.iptables_variant, asked, mode);
    }

    fn absorb(&mut self) {
        let waiting = self.inbox.waiting();
        let Some((mut batch, oldest)) = self.inbox.take() else {
            return;
        };
        let causes = std::mem::take(&mut batch.causes);
        self.books.took_in(waiting, causes, oldest);
        if self.desired.is_new_settings(&batch) {
            // Whoever edits settings may have mended the node.
            self.plane.choice.try_again();
        }
        let touched = self.desired.absorb(batch);
        self.books.took_settings(self.desired.revision());
        if !touched {
            return;
        }
        let being_deleted = self.desired.node().being_deleted;
        self.books.node_is_being_deleted(being_deleted);
        let settings = self.desired.settings();
        self.books.syncs_are_spaced_by(settings.min_sync_interval);
        let now = self.clock.now();
        self.schedule.follow(settings, now);
        self.tuning.set_due();
    }
}
