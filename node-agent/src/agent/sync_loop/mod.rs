//! The one thread that owns the data plane: plans what changed, programs it, looks after it.

mod books;
mod look;
mod program;
mod schedule;
mod take_in;
#[cfg(test)]
mod tests;
mod tuning;

use std::sync::Arc;
use std::time::Instant;

use sluice_kernel::iptables::Variant;
use tokio::sync::watch;

use self::books::Books;
use self::schedule::{ForeignEdits, Pending, Schedule, Work};
use self::tuning::Tuning;
use super::clock::Clock;
use super::desired::Desired;
use super::inbox::Inbox;
use super::ipvs_host::IpvsHost;
use super::plane::Plane;
use super::report::Report;
use super::rule_notices::RuleNotices;
use super::tunables::Tunables;
use crate::health::{Health, HealthCheckTable};
use crate::metrics::Metrics;

/// What the loop shares with the rest of the agent.
#[derive(Debug)]
pub struct Shared {
    /// Where changes come in.
    pub inbox: Arc<Inbox>,
    /// Where health is told.
    pub health: Arc<Health>,
    /// The port on which health is told on every address, where it is.
    pub health_port: Option<u16>,
    /// Where things are counted.
    pub metrics: Arc<Metrics>,
    /// What tells our own writes from those of others.
    pub notices: Arc<RuleNotices>,
    /// Where it is told what became of the settings.
    pub report: watch::Sender<Report>,
    /// Where the wanted health-check servers are told.
    pub health_checks: watch::Sender<HealthCheckTable>,
}

/// The loop's state.
pub struct SyncLoop {
    inbox: Arc<Inbox>,
    notices: Arc<RuleNotices>,
    health_checks: watch::Sender<HealthCheckTable>,
    clock: Box<dyn Clock>,
    schedule: Schedule,
    desired: Desired,
    plane: Plane,
    tuning: Tuning,
    books: Books,
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
        let desired = Desired::new(shared.health_port);
        Self {
            inbox: shared.inbox,
            notices: shared.notices,
            health_checks: shared.health_checks,
            schedule: Schedule::new(clock.now(), desired.settings()),
            clock,
            desired,
            plane,
            tuning: Tuning::new(tunables, ipvs_host),
            books: Books::new(shared.health, shared.metrics, shared.report),
        }
    }

    /// Works until the process ends.
    pub fn run(mut self) -> ! {
        loop {
            let seen = self.inbox.news();
            if let Some(wake) = self.step() {
                self.inbox.wait(seen, wake);
            }
        }
    }

    /// Does what is due first; where nothing is, tells until when to wait for news.
    fn step(&mut self) -> Option<Instant> {
        let now = self.clock.now();
        let (due, work) = self.schedule.next(now, self.pending());
        if due > now {
            return Some(due);
        }
        match work {
            Work::Reconcile => self.reconcile(),
            Work::Switch => self.switch_again(),
            Work::Apply => self.apply(),
            Work::Check => self.check(),
            Work::Verify => self.verify(),
            Work::Review => self.review(),
        }
        self.books.add(&self.plane.tally());
        None
    }

    fn pending(&self) -> Pending {
        // The legacy variant's rules give no notice: what comes is of other rules.
        let foreign_edits = match self.plane.variant() {
            Some(Variant::Legacy) => ForeignEdits::Unseen,
            Some(Variant::Nft) if self.inbox.is_ruleset_changed() => ForeignEdits::Noticed,
            _ => ForeignEdits::None,
        };
        Pending {
            is_listed: self.inbox.is_listed(),
            oldest_change: self.inbox.oldest_change(),
            foreign_edits,
            is_binding_lost: self.inbox.is_binding_lost() && self.plane.uses_ipvs(),
        }
    }
}
