//! A node whose data plane follows a cluster that changes, for tests of what changes do to traffic.

use std::time::Instant;

use sluice_agent::data_plane::{DataPlane, DataPlaneError, SyncReport};
use sluice_service_plan::catalog::Catalog;
use sluice_service_plan::model::Settings;
use sluice_service_plan::plan::Plan;

use crate::lab::load::{Attempt, Load, LoadReport};
use crate::lab::places::ROUTER;
use crate::lab::{Lab, LabError, Outcome};
use crate::packets::build::{EndpointBuilder, ServiceBuilder};
use crate::packets::row::Scene;

/// A lab, a data plane on its node, and the objects that the plane follows.
pub struct ServedNode {
    // Before the lab: the plane's sockets are in one of its namespaces.
    plane: Option<Box<dyn DataPlane>>,
    lab: Lab,
    catalog: Catalog,
}

/// Errors of [`ServedNode`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServedNodeError {
    /// The lab.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// The data plane.
    #[error(transparent)]
    Plane(#[from] DataPlaneError),
    /// An earlier call panicked inside the data plane.
    #[error("the data plane is gone: an earlier call panicked")]
    PlaneGone,
}

/// One change that the data plane has made.
#[derive(Debug, Clone)]
pub struct Change {
    /// When it began.
    pub began: Instant,
    /// From when on it is in force.
    pub done: Instant,
    /// What it cost.
    pub report: SyncReport,
}

impl Change {
    /// The attempt was made when the change was in force.
    pub fn is_before(&self, attempt: &Attempt) -> bool {
        attempt.at >= self.done
    }

    /// The attempt had ended when the change began.
    pub fn is_after(&self, attempt: &Attempt) -> bool {
        attempt.at + attempt.took < self.began
    }

    /// The attempt was under way at some moment of the change.
    pub fn meets(&self, attempt: &Attempt) -> bool {
        attempt.at < self.done && attempt.at + attempt.took > self.began
    }
}

impl ServedNode {
    /// Builds a lab, opens a data plane on its node and programs an empty plan. `open` runs on the node.
    pub fn start<F>(open: F, settings: Settings) -> Result<Self, ServedNodeError>
    where
        F: FnOnce() -> Result<Box<dyn DataPlane>, DataPlaneError> + Send + 'static,
    {
        Self::start_after(|_| {}, open, settings)
    }

    /// The same, after something was made in the lab.
    pub fn start_after<F>(
        prepare: impl FnOnce(&Lab),
        open: F,
        settings: Settings,
    ) -> Result<Self, ServedNodeError>
    where
        F: FnOnce() -> Result<Box<dyn DataPlane>, DataPlaneError> + Send + 'static,
    {
        let lab = Lab::up()?;
        prepare(&lab);
        let mut catalog = Catalog::new(Scene::empty().node, settings);
        catalog.take_changes();
        let plan = catalog.plan().clone();
        let plane = lab.node().run(move || {
            let mut plane = open()?;
            plane.reconcile(&plan).map(|_| plane)
        })??;
        Ok(Self {
            plane: Some(plane),
            lab,
            catalog,
        })
    }

    /// The lab.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// Changes objects and lets the data plane follow.
    pub fn change(&mut self, edit: impl FnOnce(&mut Catalog)) -> Result<Change, ServedNodeError> {
        edit(&mut self.catalog);
        let change = self.catalog.take_changes();
        let began = Instant::now();
        let report = self.with_plane(move |plane, plan| plane.apply(plan, &change))??;
        let done = Instant::now();
        Ok(Change {
            began,
            done,
            report,
        })
    }

    /// Puts a service and its endpoints, in each of its families.
    pub fn serve(
        &mut self,
        service: &ServiceBuilder,
        endpoints: &[EndpointBuilder],
    ) -> Result<Change, ServedNodeError> {
        self.change(|catalog| {
            catalog.set_service(service.clone().build());
            for family in service.families() {
                catalog.set_slice(service.slice(family, endpoints));
            }
        })
    }

    /// Runs `work` on the node with the data plane and the plan that it should follow.
    pub fn with_plane<T, F>(&mut self, work: F) -> Result<T, ServedNodeError>
    where
        T: Send + 'static,
        F: FnOnce(&mut dyn DataPlane, &Plan) -> T + Send + 'static,
    {
        let mut plane = self.plane.take().ok_or(ServedNodeError::PlaneGone)?;
        let plan = self.catalog.plan().clone();
        let (plane, result) = self.lab.node().run(move || {
            let result = work(plane.as_mut(), &plan);
            (plane, result)
        })?;
        self.plane = Some(plane);
        Ok(result)
    }
}

/// The attempts of a load that no endpoint answered and that `excused` does not excuse, for a person; a few of many. And SYNs that were
/// lost: patience lasts until they are sent again.
pub fn lost(report: &LoadReport, excused: impl Fn(&Attempt) -> bool) -> Vec<String> {
    let unanswered = report
        .attempts
        .iter()
        .filter(|attempt| attempt.outcome.endpoint().is_none() && !excused(attempt));
    let syns = (report.syn_retransmits > 0)
        .then(|| format!("{} SYNs were sent again", report.syn_retransmits));
    unanswered
        .take(5)
        .map(|attempt| {
            let at = attempt.at.saturating_duration_since(report.started);
            format!("after {:.3} s: {}", at.as_secs_f64(), attempt.outcome)
        })
        .chain(syns)
        .collect()
}

/// Ends a load of which at least so many connections were made, all of them answered by endpoints, none by the router behind the node.
/// Tells how many.
pub fn nothing_lost(mut load: Load, least: u32) -> Result<usize, Losses> {
    load.wait_until(|seen| seen.len() >= least as usize);
    let report = load.stop()?;
    let all = report.attempts.len();
    if all < least as usize {
        return Err(Losses::TooLittle { all });
    }
    let answers = report.answers();
    let beyond = answers.get(ROUTER.name).copied().unwrap_or_default();
    let failures = lost(&report, |_| false);
    if beyond == 0 && failures.is_empty() {
        return Ok(all);
    }
    Err(Losses::Lost {
        all,
        failed: report.failures().len(),
        beyond,
        failures,
    })
}

/// Why a load does not show that nothing was lost.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Losses {
    /// The lab.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// It shows nothing.
    #[error("too little load: {all} connections")]
    TooLittle {
        /// Connections.
        all: usize,
    },
    /// Something was.
    #[error("of {all} connections {failed} failed, and {beyond} were not translated: {failures:?}")]
    Lost {
        /// Connections.
        all: usize,
        /// Of them, those that failed,
        failed: usize,
        /// and those that the router answered.
        beyond: usize,
        /// What happened to the first of them.
        failures: Vec<String>,
    },
}

/// The attempt was refused: allowed only while there is no endpoint.
pub fn is_refused(attempt: &Attempt) -> bool {
    attempt.outcome == Outcome::Refused
}
