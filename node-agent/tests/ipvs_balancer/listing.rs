//! A listing that others' deletions made incomplete.

use sluice_agent::balancer::Balancer;
use sluice_agent::balancer::ipvs::{Doors, IpvsBalancer};
use sluice_kernel::ipvs::{
    Change, Connection, Info, Ipvs, IpvsError, ListedDestination, ListedService, MemoryIpvs,
    Refused, Timeouts, Traffic, VirtualServer,
};
use sluice_service_plan::model::{Family, Protocol};

use crate::world::{Kernel, World, name, service, slice, tcp};

/// Leaves one virtual server out of its first listing.
struct Incomplete {
    kernel: MemoryIpvs,
    omitted: Option<VirtualServer>,
}

impl Ipvs for Incomplete {
    fn services(&mut self) -> Result<Vec<ListedService>, IpvsError> {
        let mut listed = self.kernel.services()?;
        if let Some(omitted) = self.omitted.take() {
            listed.retain(|one| one.service.server != omitted);
        }
        Ok(listed)
    }

    fn destinations(&mut self, of: &VirtualServer) -> Result<Vec<ListedDestination>, IpvsError> {
        self.kernel.destinations(of)
    }

    fn apply(&mut self, changes: &[Change]) -> Result<Vec<Refused>, IpvsError> {
        self.kernel.apply(changes)
    }

    fn timeouts(&mut self) -> Result<Timeouts, IpvsError> {
        self.kernel.timeouts()
    }

    fn set_timeouts(&mut self, timeouts: &Timeouts) -> Result<(), IpvsError> {
        self.kernel.set_timeouts(timeouts)
    }

    fn info(&mut self) -> Result<Info, IpvsError> {
        self.kernel.info()
    }

    fn connections(&mut self, visit: &mut dyn FnMut(&Connection)) -> Result<(), IpvsError> {
        self.kernel.connections(visit)
    }

    fn traffic(&self) -> Traffic {
        self.kernel.traffic()
    }
}

fn balancer(kernel: &Kernel, omitted: VirtualServer) -> IpvsBalancer {
    let doors = Doors {
        ipvs: Box::new(Incomplete {
            kernel: kernel.ipvs.clone(),
            omitted: Some(omitted),
        }),
        links: Box::new(kernel.links.clone()),
        sets: Box::new(kernel.sets.clone()),
    };
    IpvsBalancer::new(doors, &Family::ALL)
}

fn world() -> (World, VirtualServer) {
    let mut world = World::new();
    world
        .catalog
        .set_service(service("web", "10.96.0.1", Protocol::Tcp));
    world
        .catalog
        .set_slice(slice("web", Protocol::Tcp, &["10.1.0.1"]));
    world.sync();
    (world, tcp("10.96.0.1", 80))
}

#[test]
fn what_a_listing_leaves_out_stays_ours() {
    let (mut world, vip) = world();
    let before = world.kernel.state();
    world.balancer = balancer(&world.kernel, vip);
    world.start();
    assert_eq!(world.kernel.state(), before);
    assert_eq!(world.balancer.conditions(), [""; 0]);
    assert_eq!(world.balancer.verify().unwrap(), vec![]);
}

#[test]
fn what_a_listing_leaves_out_and_nobody_needs_is_let_end() {
    let (mut world, vip) = world();
    world.kernel.set_active(vip, "10.1.0.1:8080", 1);
    world.catalog.remove_service(&name("web"));
    world.balancer = balancer(&world.kernel, vip);
    world.start();
    assert_eq!(world.drain_after(1).waiting, 1);
    assert_eq!(world.kernel.routed(), ["10.96.0.1"]);
    world.kernel.set_active(vip, "10.1.0.1:8080", 0);
    assert_eq!(world.drain_after(1).waiting, 0);
    let state = world.kernel.state();
    assert!(state.servers.is_empty() && state.routes.is_empty());
    assert!(state.sets.values().all(Vec::is_empty));
}
