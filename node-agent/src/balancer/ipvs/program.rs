//! From a plan to steps: of all services, or of those that a change touches.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use sluice_kernel::address_set::Entry;
use sluice_kernel::ipvs::Destination;
use sluice_service_plan::model::{ObjectName, Settings};
use sluice_service_plan::plan::{Frontend, Plan, PlanChange, PortKey, ServicePlan};

use super::IpvsBalancer;
use super::desired::{
    Context, Desired, Wanted, explicit_frontends, has_node_port, node_port_addresses,
};
use super::found::Found;
use super::marks::needs_mark;
use super::server::Server;
use super::steps::{Held, Steps};
use crate::data_plane::{DataPlaneError, SyncReport};
use crate::family::kernel_protocol;
use crate::kube_proxy::Claims;

/// Changes that are gathered before they are written, where everything is looked at.
const MANY: usize = 4_000;

/// Every service may be concerned by what differs between two plans' settings.
pub(super) fn differs_everywhere(former: &Plan, plan: &Plan) -> bool {
    let concerns = |settings: &Settings| {
        (
            settings.ipvs.clone(),
            settings.mark_bit,
            settings.node_port_addresses.clone(),
        )
    };
    former.settings != plan.settings && concerns(&former.settings) != concerns(&plan.settings)
}

impl IpvsBalancer {
    /// Reads everything, and writes what differs.
    pub(super) fn program_all(&mut self, plan: &Plan) -> Result<SyncReport, DataPlaneError> {
        let commands = self.servers.written();
        self.servers.set_timeouts(&plan.settings.ipvs.timeouts)?;
        let mut report = SyncReport {
            ipvs_commands: self.servers.written() - commands,
            ..SyncReport::default()
        };
        let (mut found, others) = Found::read(&mut self.servers, &mut self.ledger)?;
        self.servers.others.see(others);
        let claims = self.ledger.claims_of_kube_proxy()?;
        self.servers.forget_refused();
        let binding = plan.settings.ipvs.vip_binding;
        self.vips
            .restart(&found.addresses, &claims, &plan.node, binding)?;
        // One that was retired takes over nothing.
        let claims = if self.retired.is_some() {
            Claims::default()
        } else {
            claims
        };
        self.servers.others.believe(claims, &plan.node.addresses);
        let former = std::mem::take(&mut self.draining);
        let node_ports = node_port_addresses(&plan.node, &plan.settings);
        self.decide_all(plan, &node_ports, &found.inside);

        let mut steps = Steps::default();
        self.real_servers = 0;
        for service in plan.services.values() {
            let desired = self.desired(plan, &node_ports, [service.as_ref()]);
            self.real_servers += desired.real_servers();
            self.vips.serve([service.as_ref()]);
            found.compare(&desired, &mut self.servers, &mut steps)?;
            if steps.len() >= MANY {
                report += self.carry_out_as_retired(std::mem::take(&mut steps))?;
            }
        }
        found.compare_rest(&mut self.servers, &self.vips, &mut steps)?;
        report += self.carry_out_as_retired(steps)?;

        for address in self.draining.carry_on(&former) {
            self.vips.claim(address);
        }
        self.keep_addresses();
        self.vips.touch_all();
        report += self.settle()?;
        self.vips.finish_restart()?;
        self.ledger.note_sizes()?;
        Ok(report)
    }

    /// Writes what a change of the plan asks for.
    pub(super) fn program_change(
        &mut self,
        former: &Plan,
        plan: &Plan,
        change: &PlanChange,
    ) -> Result<SyncReport, DataPlaneError> {
        let old_ports = node_port_addresses(&former.node, &former.settings);
        let node_ports = node_port_addresses(&plan.node, &plan.settings);
        let names: BTreeSet<&ObjectName> = change.services.iter().map(|c| &c.name).collect();
        let (explicit_before, explicit_after) = if old_ports == node_ports {
            (
                explicit(of(former, &names), &old_ports),
                explicit(of(plan, &names), &node_ports),
            )
        } else {
            let all = plan.services.values().map(AsRef::as_ref);
            (self.explicit.clone(), explicit(all, &node_ports))
        };
        let yields_elsewhere = |service: &ServicePlan| {
            if old_ports == node_ports {
                let mut moved = explicit_before.symmetric_difference(&explicit_after);
                moved.any(|entry| has_node_port(service, Some(entry)))
            } else {
                has_node_port(service, None)
            }
        };
        let mut touched = names;
        if old_ports != node_ports || explicit_before != explicit_after {
            let services = former.services.values().chain(plan.services.values());
            let concerned = services.filter(|service| yields_elsewhere(service));
            touched.extend(concerned.map(|service| &service.name));
        }

        let before = self.desired(former, &old_ports, of(former, &touched));
        self.explicit
            .retain(|entry| !explicit_before.contains(entry));
        self.explicit.extend(explicit_after);
        self.take_marks(of(former, &touched), of(plan, &touched));
        for service in of(plan, &touched) {
            self.give_marks(plan, &node_ports, service, &HashMap::new());
        }
        let after = self.desired(plan, &node_ports, of(plan, &touched));
        self.vips.cease(of(former, &touched));
        self.vips.serve(of(plan, &touched));
        let mut unreached = Vec::new();
        if former.node != plan.node {
            self.vips.follow(&plan.node);
            unreached = self.draining.servers();
            unreached.retain(|server| !self.vips.is_reached(server));
        }
        let steps = self.difference(&before, &after, &unreached)?;
        let mut report = self.carry_out_as_retired(steps)?;
        report += self.settle()?;
        self.real_servers += after.real_servers();
        self.real_servers -= before.real_servers();
        Ok(report)
    }

    /// One that was retired takes only those steps that give something up.
    fn carry_out_as_retired(&mut self, mut steps: Steps) -> Result<SyncReport, DataPlaneError> {
        if self.retired.is_some() {
            steps.only_departures();
        }
        self.carry_out(steps)
    }

    /// `unreached` keep connections of which no packet comes here any more.
    fn difference(
        &mut self,
        before: &Desired,
        after: &Desired,
        unreached: &[Server],
    ) -> Result<Steps, DataPlaneError> {
        let mut steps = Steps::default();
        let keys = before.servers.keys().chain(after.servers.keys());
        let keys: BTreeSet<&Server> = keys.chain(unreached).collect();
        for server in keys {
            let (old, new) = (before.servers.get(server), after.servers.get(server));
            let has_gone = self.has_retired_from(server);
            if let Some(new) = new
                && !has_gone
                && let Some(held) = self.servers.claimed(&server.key)?
            {
                steps.take_over(*server, new, &held);
                continue;
            }
            let foreign = self.servers.others.contest(&server.key, new.is_some());
            let is_left = new.is_none() && !self.vips.is_reached(server);
            if !foreign && !has_gone && (old != new || is_left) {
                let mut held = self.held(server, old);
                if is_left {
                    held = held.map(|_| Held::default());
                }
                steps.put(*server, new, held.as_ref());
            }
        }
        if self.retired.is_some() && !before.inside.is_empty() {
            let marked = self.ledger.read()?.inside.into_iter();
            let held = marked.filter(|(entry, _)| before.inside.contains_key(entry));
            steps.put_marks(&after.inside, &held.collect());
        } else {
            steps.put_marks(&after.inside, &before.inside);
        }
        Ok(steps)
    }

    /// The plan asks for it, and it has gone since another balancer serves, or never came.
    fn has_retired_from(&self, server: &Server) -> bool {
        let left = self.retired.as_ref();
        left.is_some_and(|left| !left.contains(server)) && !self.draining.contains(server)
    }

    /// Reads anew what kube-proxy claims.
    pub(super) fn believe_kube_proxy(&mut self) -> Result<(), DataPlaneError> {
        let claims = self.ledger.claims_of_kube_proxy()?;
        self.servers.others.renew(claims);
        Ok(())
    }

    /// What the kernel holds of a virtual server that was to be so.
    fn held(&self, server: &Server, wanted: Option<&Wanted>) -> Option<Held> {
        if wanted.is_none() && !self.draining.contains(server) {
            return None;
        }
        let draining = self.draining.of(server);
        let mut held = Held {
            service: wanted.map(|wanted| wanted.service.clone()),
            destinations: draining
                .map(|key| (key, Destination::new(key, 0)))
                .collect(),
        };
        let wanted = wanted.into_iter().flat_map(Wanted::destinations);
        held.destinations.extend(wanted.map(|d| (d.server, d)));
        Some(held)
    }

    pub(super) fn desired<'a>(
        &self,
        plan: &Plan,
        node_ports: &[IpAddr],
        services: impl IntoIterator<Item = &'a ServicePlan>,
    ) -> Desired {
        Desired::of(services.into_iter(), &self.context(plan, node_ports))
    }

    fn context<'a>(&'a self, plan: &'a Plan, node_ports: &'a [IpAddr]) -> Context<'a> {
        Context {
            settings: &plan.settings,
            families: self.ledger.families(),
            node_ports,
            explicit: &self.explicit,
            marks: &self.marks,
            lacking: self.servers.lacking(),
        }
    }

    /// Decides anew what is decided across services. `held` are the marks in the kernel.
    pub(super) fn decide_all(
        &mut self,
        plan: &Plan,
        node_ports: &[IpAddr],
        held: &HashMap<Entry, u32>,
    ) {
        let services = plan.services.values().map(AsRef::as_ref);
        self.explicit = explicit(services.clone(), node_ports);
        self.marks.restart(plan.settings.mark_bit);
        services.for_each(|service| self.give_marks(plan, node_ports, service, held));
    }

    fn give_marks(
        &mut self,
        plan: &Plan,
        node_ports: &[IpAddr],
        service: &ServicePlan,
        held: &HashMap<Entry, u32>,
    ) {
        for port in service.ports.iter().filter(|port| needs_mark(port)) {
            let protocol = kernel_protocol(port.key.protocol);
            let context = self.context(plan, node_ports);
            let of_frontend = |frontend: &Frontend| {
                let number = frontend.port;
                let addresses = context.addresses(port, frontend);
                let entries = addresses.map(|ip| Entry::IpPort(ip, protocol, number));
                entries.collect::<Vec<_>>()
            };
            let frontends: Vec<Entry> = port.frontends.iter().flat_map(of_frontend).collect();
            self.marks.assign(port, &frontends, held);
        }
    }

    /// Takes back the marks that are needed no longer.
    fn take_marks<'a>(
        &mut self,
        before: impl Iterator<Item = &'a ServicePlan>,
        after: impl Iterator<Item = &'a ServicePlan>,
    ) {
        let needed: HashSet<&PortKey> = marked_ports(after).collect();
        for port in marked_ports(before).filter(|port| !needed.contains(port)) {
            self.marks.release(port);
        }
    }
}

fn marked_ports<'a>(
    services: impl Iterator<Item = &'a ServicePlan>,
) -> impl Iterator<Item = &'a PortKey> {
    let ports = services.flat_map(|service| &service.ports);
    ports.filter(|port| needs_mark(port)).map(|port| &port.key)
}

/// The plans of these services, as far as there are any.
fn of<'a>(plan: &'a Plan, names: &BTreeSet<&ObjectName>) -> impl Iterator<Item = &'a ServicePlan> {
    let plans = names.iter().filter_map(|name| plan.services.get(name));
    plans.map(AsRef::as_ref).collect::<Vec<_>>().into_iter()
}

fn explicit<'a>(
    services: impl Iterator<Item = &'a ServicePlan>,
    node_ports: &[IpAddr],
) -> HashSet<Entry> {
    services
        .flat_map(|service| explicit_frontends(service, node_ports))
        .collect()
}
