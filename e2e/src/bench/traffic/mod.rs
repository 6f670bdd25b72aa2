//! What connections cost, through a node with one service and through one with many.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use sluice_agent::data_plane::DataPlane;
use sluice_agent::node_plane::NodePlane;
use sluice_kernel::iptables::Family;
use sluice_service_plan::catalog::Catalog;

use super::bare::Tape;
use super::plane::Plane;
use super::{BenchError, Size, cluster};
use crate::lab::Lab;
use crate::lab::places::CLIENT;

pub mod first_packet;
pub mod rhythm;
pub mod streams;

/// A lab whose node serves a cluster.
pub struct Node {
    lab: Lab,
    plane: Plane,
    /// Absent while it works in the node's namespace.
    open: Option<NodePlane>,
    tape: Tape,
    /// What its first program was.
    first: Vec<(Family, String)>,
    catalog: Catalog,
    size: Size,
}

impl Node {
    /// Programs a node. Its last service has endpoints that answer.
    pub fn start(plane: Plane, size: Size) -> Result<Self, BenchError> {
        let lab = Lab::up()?;
        let mut catalog = cluster::catalog(size, plane.settings());
        catalog.set_slice(cluster::slice(size.services - 1, cluster::real()));
        catalog.take_changes();
        let plan = catalog.plan().clone();
        let tape = Tape::default();
        let recorder = tape.clone();
        let open = lab.node().run(move || -> Result<_, BenchError> {
            let mut open = plane.open(recorder)?;
            open.reconcile(&plan)?;
            Ok(open)
        })??;
        Ok(Self {
            lab,
            plane,
            open: Some(open),
            first: tape.take(),
            tape,
            catalog,
            size,
        })
    }

    /// The service that comes last where they are in a list.
    fn last(&self) -> u32 {
        self.size.services - 1
    }

    /// Programs what changed in the catalog.
    fn apply(&mut self) -> Result<(), BenchError> {
        let change = self.catalog.take_changes();
        let plan = self.catalog.plan().clone();
        let Some(mut open) = self.open.take() else {
            return Ok(());
        };
        let work = move || open.apply(&plan, &change).map(|_| open);
        self.open = Some(self.lab.node().run(work)??);
        Ok(())
    }

    fn client<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, BenchError> + Send + 'static,
    ) -> Result<T, BenchError> {
        self.lab.namespace(&CLIENT).run(work)?
    }
}

/// The address of a service.
fn frontend(index: u32) -> SocketAddr {
    SocketAddr::new(cluster::cluster_ip(index).into(), cluster::PORT)
}

/// Makes a connection, and tells how long that took.
fn connect(to: SocketAddr) -> Result<(TcpStream, Duration), BenchError> {
    let start = Instant::now();
    let connection = TcpStream::connect_timeout(&to, Duration::from_secs(5));
    let took = start.elapsed();
    let connection = connection.map_err(BenchError::io(format!("connect to {to}")))?;
    Ok((connection, took))
}
