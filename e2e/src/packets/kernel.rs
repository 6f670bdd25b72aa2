//! Puts rows to a data plane on the real kernel, in a lab, one row after the other.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Instant;

use sluice_agent::data_plane::{DataPlane, DataPlaneError, Drain, Drift};
use sluice_api_access::with_causes;
use sluice_service_plan::catalog::Catalog;
use sluice_service_plan::plan::Plan;

use super::bound::as_bound;
use super::oracle;
use super::planes::PlaneUnderTest;
use super::pod_sets;
use super::probing::observe;
use super::row::{Row, Scene};
use crate::lab::{Lab, LabError};

/// A lab whose node runs a data plane.
pub struct NodeUnderTest {
    under_test: PlaneUnderTest,
    // Before the lab: the plane's sockets are in one of its namespaces.
    plane: Option<Box<dyn DataPlane>>,
    lab: Lab,
    catalog: Catalog,
    scene: Scene,
}

/// A row that the kernel does not agree with.
#[derive(Debug, Clone)]
pub struct Disagreement {
    /// The row's name.
    pub row: String,
    /// What it expects.
    pub expected: String,
    /// What happened.
    pub got: String,
    /// What the oracle says, and why.
    pub trace: String,
}

/// Errors of the run itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The lab.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// The data plane failed at its first programming.
    #[error("the data plane cannot start")]
    Start(#[source] DataPlaneError),
    /// An earlier call panicked inside the data plane.
    #[error("the data plane is gone: an earlier call panicked")]
    PlaneGone,
}

impl NodeUnderTest {
    /// Builds a lab, opens the data plane on its node and programs an empty plan.
    pub fn start(under_test: &PlaneUnderTest) -> Result<Self, RunError> {
        let lab = Lab::up()?;
        let scene = Scene::empty();
        let settings = under_test.settings(scene.settings.clone());
        let mut catalog = Catalog::new(scene.node.clone(), settings);
        catalog.take_changes();
        let plan = catalog.plan().clone();
        let open = under_test.open;
        let plane = lab
            .node()
            .run(move || {
                let mut plane = open()?;
                plane.reconcile(&plan).map(|_| plane)
            })?
            .map_err(RunError::Start)?;
        Ok(Self {
            under_test: *under_test,
            plane: Some(plane),
            lab,
            catalog,
            scene,
        })
    }

    /// The lab.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// Brings the node from the row before to this one, probes, and compares.
    pub fn check(&mut self, row: &Row) -> Result<Option<Disagreement>, RunError> {
        let applied = self.change_to(&row.scene)?;
        let row = &if self.under_test.ipvs.is_some() {
            as_bound(row, self.catalog.plan())
        } else {
            row.clone()
        };
        let seen = match applied {
            Ok(()) => observe(&self.lab, row)?,
            Err(error) => Some(format!("the data plane failed: {}", with_causes(&error))),
        };
        let Some(mut got) = seen else {
            return Ok(None);
        };
        got += &self.second_opinion(row)?;
        Ok(Some(Disagreement {
            row: row.name.clone(),
            expected: row.expect.to_string(),
            got,
            trace: oracle::explanation(row, self.catalog.plan()),
        }))
    }

    /// Compares the kernel with what was programmed, removes it, and returns what is wrong or left.
    pub fn finish(mut self) -> Result<Vec<String>, RunError> {
        let mut wrong = self.drift()?;
        let errors = self.with_plane(|plane, _| plane.remove())?;
        wrong.extend(
            errors
                .iter()
                .map(|error| format!("remove: {}", with_causes(error))),
        );
        for command in [
            format!("{}-save", self.under_test.programs.v4),
            format!("{}-save", self.under_test.programs.v6),
            "ipset list -name".to_owned(),
        ] {
            let left = self.lab.node().command(&command)?;
            let ours = left.lines().filter(|line| line.contains("SLUICE"));
            wrong.extend(ours.map(|line| format!("left behind: {line}")));
        }
        Ok(wrong)
    }

    fn change_to(&mut self, scene: &Scene) -> Result<Result<(), DataPlaneError>, RunError> {
        self.surround(scene)?;
        let old = std::mem::replace(&mut self.scene, scene.clone());
        let applied = self.program(&old, scene)?;
        if applied.is_err() {
            return Ok(applied);
        }
        let (before, now) = (pod_sets::members(&old), pod_sets::members(scene));
        let followed = pod_sets::follow(self.lab.node(), &before, &now)?;
        Ok(followed.map_err(DataPlaneError::from))
    }

    fn program(
        &mut self,
        old: &Scene,
        scene: &Scene,
    ) -> Result<Result<(), DataPlaneError>, RunError> {
        let kept: BTreeSet<_> = scene.services.iter().map(|one| &one.name).collect();
        let gone = old
            .services
            .iter()
            .map(|one| &one.name)
            .filter(|name| !kept.contains(name));
        gone.for_each(|name| self.catalog.remove_service(name));
        let kept: BTreeSet<_> = scene.slices.iter().map(|one| &one.name).collect();
        let gone = old
            .slices
            .iter()
            .map(|one| &one.name)
            .filter(|name| !kept.contains(name));
        gone.for_each(|name| self.catalog.remove_slice(name));
        self.catalog.set_node(scene.node.clone());
        let settings = self.under_test.settings(scene.settings.clone());
        self.catalog.set_settings(settings);
        scene
            .services
            .iter()
            .cloned()
            .for_each(|service| self.catalog.set_service(service));
        scene
            .slices
            .iter()
            .cloned()
            .for_each(|slice| self.catalog.set_slice(slice));
        let change = self.catalog.take_changes();
        if change.is_empty() {
            return Ok(Ok(()));
        }
        self.with_plane(move |plane, plan| {
            plane.apply(plan, &change)?;
            // What has had its time goes before the next row.
            let drain = Drain {
                now: Instant::now(),
                timeout: None,
            };
            plane.drain(drain).map(drop)
        })
    }

    /// Other software, and the one sysctl that localhost node ports need.
    fn surround(&self, scene: &Scene) -> Result<(), LabError> {
        let (node, programs) = (self.lab.node(), self.under_test.programs);
        for gone in self.scene.surroundings.difference(&scene.surroundings) {
            gone.stop(node, programs)?;
        }
        for new in scene.surroundings.difference(&self.scene.surroundings) {
            new.start(node, programs)?;
        }
        if scene.settings.localhost_node_ports != self.scene.settings.localhost_node_ports {
            let value = if scene.settings.localhost_node_ports {
                "1"
            } else {
                "0"
            };
            node.sysctl("net/ipv4/conf/all/route_localnet", value)?;
        }
        Ok(())
    }

    /// Whether the kernel holds what was meant, and whether programming it anew would have helped.
    fn second_opinion(&mut self, row: &Row) -> Result<String, RunError> {
        let mut opinion = String::new();
        for drift in self.drift()? {
            let _ = write!(opinion, "\n    drift: {drift}");
        }
        if std::env::var_os("SLUICE_DUMP").is_some() {
            opinion += &self.dump(row)?;
        }
        if observe(&self.lab, row)?.is_none() {
            return Ok(opinion + "\n    but right when asked again");
        }
        if let Err(error) = self.with_plane(|plane, plan| plane.reconcile(plan).map(drop))? {
            return Ok(opinion + &format!("\n    reconcile fails: {}", with_causes(&error)));
        }
        opinion += match observe(&self.lab, row)? {
            None => "\n    but right after a reconcile",
            Some(_) => "\n    and the same after a reconcile",
        };
        Ok(opinion)
    }

    fn dump(&self, row: &Row) -> Result<String, LabError> {
        let v4 = row.packet.to.is_ipv4();
        let program = if v4 {
            self.under_test.programs.v4
        } else {
            self.under_test.programs.v6
        };
        let rules = self.lab.node().command(&format!("{program}-save"))?;
        let sets = self.lab.node().command("ipset list")?;
        Ok(format!("\n{rules}\n{sets}"))
    }

    fn drift(&mut self) -> Result<Vec<String>, RunError> {
        let drift = self.with_plane(|plane, _| plane.verify())?;
        Ok(match drift {
            Ok(drift) => drift.iter().map(Drift::to_string).collect(),
            Err(error) => vec![format!("verify fails: {}", with_causes(&error))],
        })
    }

    /// Calls the data plane inside the node, with the present plan.
    fn with_plane<T: Send + 'static>(
        &mut self,
        call: impl FnOnce(&mut dyn DataPlane, &Plan) -> T + Send + 'static,
    ) -> Result<T, RunError> {
        let mut plane = self.plane.take().ok_or(RunError::PlaneGone)?;
        let plan = self.catalog.plan().clone();
        let (plane, result) = self.lab.node().run(move || {
            let result = call(plane.as_mut(), &plan);
            (plane, result)
        })?;
        self.plane = Some(plane);
        Ok(result)
    }
}
