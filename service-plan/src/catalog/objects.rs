//! The objects that plans are made of, kept small and found by service.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::interner::Interner;
use super::labels::Labels;
use crate::model::{
    AddressType, EndpointSlice, Family, Hints, ObjectName, Service, ServicePort, ServiceType,
    SliceEndpoint, SlicePort, TrafficPolicy,
};

/// What of a proxied `Service` counts: the fields of [`Service`] without name, and without room to grow.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Spec {
    pub(super) created: i64,
    pub(super) cluster_ips: Box<[IpAddr]>,
    pub(super) external_ips: Box<[IpAddr]>,
    pub(super) load_balancer_ips: Box<[IpAddr]>,
    pub(super) source_ranges: Box<[IpNet]>,
    pub(super) ports: Box<[ServicePort]>,
    pub(super) affinity_seconds: Option<u32>,
    pub(super) health_check_port: Option<u16>,
    pub(super) kind: ServiceType,
    pub(super) internal_policy: TrafficPolicy,
    pub(super) external_policy: TrafficPolicy,
    /// Overrides select by them.
    pub(super) labels: Labels,
}

impl From<Service> for Spec {
    fn from(service: Service) -> Self {
        Self {
            created: service.created,
            cluster_ips: service.cluster_ips.into(),
            external_ips: service.external_ips.into(),
            load_balancer_ips: service.load_balancer_ips.into(),
            source_ranges: service.source_ranges.into(),
            ports: service.ports.into(),
            affinity_seconds: service.affinity_seconds,
            health_check_port: service.health_check_port,
            kind: service.kind,
            internal_policy: service.internal_policy,
            external_policy: service.external_policy,
            labels: service.labels.into(),
        }
    }
}

/// Where an endpoint runs and who should use it. Few differ, so they are shared.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Placement {
    /// Node it runs on.
    pub(super) node: Option<Arc<str>>,
    /// Zone it runs in.
    pub(super) zone: Option<Arc<str>>,
    /// Zones that should use it.
    pub(super) hint_zones: Vec<Arc<str>>,
    /// Nodes that should use it.
    pub(super) hint_nodes: Vec<Arc<str>>,
}

/// One endpoint of a [`Slice`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Its address, of the slice's family.
    pub(super) address: IpAddr,
    /// Condition ready.
    pub(super) ready: bool,
    /// Condition serving.
    pub(super) serving: bool,
    /// Condition terminating.
    pub(super) terminating: bool,
    /// Where it runs.
    pub(super) placement: Arc<Placement>,
}

/// What of an `EndpointSlice` counts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Slice {
    name: Arc<str>,
    /// Family of its members.
    pub(super) family: Family,
    /// Ports of its members.
    pub(super) ports: Arc<[SlicePort]>,
    /// Its endpoints.
    pub(super) members: Box<[Member]>,
}

/// A service and its slices; either may come first.
#[derive(Debug, Default)]
struct Record {
    spec: Option<Box<Spec>>,
    /// Sorted by name, so that what is planned does not depend on the order of arrival.
    slices: Vec<Slice>,
}

/// All services that are proxied, and all slices that are seen.
#[derive(Debug, Default)]
pub(super) struct Objects {
    records: HashMap<ObjectName, Record>,
    /// Name of the service of each slice, by the slice's own name; both are in one namespace.
    owners: HashMap<ObjectName, Arc<str>>,
    strings: Interner<str>,
    ports: Interner<[SlicePort]>,
    placements: Interner<Placement>,
}

impl Objects {
    /// A proxied service; its name is in memory that others share.
    pub(super) fn service(&self, name: &ObjectName) -> Option<(&ObjectName, &Spec)> {
        let (name, record) = self.records.get_key_value(name)?;
        Some((name, record.spec.as_deref()?))
    }

    /// Slices of a service, sorted by name.
    pub(super) fn slices(&self, service: &ObjectName) -> &[Slice] {
        self.records
            .get(service)
            .map_or(&[], |record| &record.slices)
    }

    /// Names of all proxied services.
    pub(super) fn service_names(&self) -> impl Iterator<Item = &ObjectName> {
        self.records
            .iter()
            .filter(|(_, record)| record.spec.is_some())
            .map(|(name, _)| name)
    }

    /// Keeps a service in place of an older version of it.
    pub(super) fn put_service(&mut self, name: ObjectName, mut spec: Spec) {
        for port in &mut spec.ports {
            port.name = self.strings.intern(port.name.clone());
        }
        spec.labels.share(&mut self.strings);
        let name = self.shared_name(name);
        self.records.entry(name).or_default().spec = Some(Box::new(spec));
    }

    /// Forgets a service; its slices stay.
    pub(super) fn remove_service(&mut self, name: &ObjectName) {
        if let Some(record) = self.records.get_mut(name) {
            record.spec = None;
            if record.slices.is_empty() {
                self.records.remove(name);
            }
        }
    }

    /// Keeps a slice in place of an older version of it. Names the services that see a difference: none, one, or two
    /// when the slice went from one to another.
    pub(super) fn put_slice(&mut self, slice: EndpointSlice) -> [Option<ObjectName>; 2] {
        let Some(family) = seen_family(&slice) else {
            return [self.remove_slice(&slice.name), None];
        };
        let owner = self.shared_name(ObjectName {
            namespace: slice.name.namespace.clone(),
            name: slice.service.clone(),
        });
        let former = match self.owners.get(&slice.name) {
            Some(former) if *former != owner.name => self.remove_slice(&slice.name),
            _ => None,
        };
        let slice_name = ObjectName {
            namespace: owner.namespace.clone(),
            name: slice.name.name.clone(),
        };
        let slice = self.reduce(slice, family);
        let slices = &mut self.records.entry(owner.clone()).or_default().slices;
        match slices.binary_search_by(|other| other.name.cmp(&slice.name)) {
            Ok(at) if slices[at] == slice => return [former, None],
            Ok(at) => slices[at] = slice,
            Err(at) => {
                slices.reserve_exact(1);
                slices.insert(at, slice);
                self.owners.insert(slice_name, owner.name.clone());
            }
        }
        [former, Some(owner)]
    }

    /// Forgets a slice. Names its service if the slice was known.
    pub(super) fn remove_slice(&mut self, name: &ObjectName) -> Option<ObjectName> {
        let owner = ObjectName {
            name: self.owners.remove(name)?,
            namespace: name.namespace.clone(),
        };
        if let Entry::Occupied(mut record) = self.records.entry(owner.clone()) {
            record
                .get_mut()
                .slices
                .retain(|slice| slice.name != name.name);
            if record.get().slices.is_empty() && record.get().spec.is_none() {
                record.remove();
            }
        }
        Some(owner)
    }

    /// The same name, in memory that is already there.
    fn shared_name(&mut self, name: ObjectName) -> ObjectName {
        match self.records.get_key_value(&name) {
            Some((known, _)) => known.clone(),
            None => ObjectName {
                namespace: self.strings.intern(name.namespace),
                name: name.name,
            },
        }
    }

    fn reduce(&mut self, slice: EndpointSlice, family: Family) -> Slice {
        let ports = self.ports.intern(slice.ports);
        let members = slice
            .endpoints
            .into_iter()
            .filter(|endpoint| Family::of(endpoint.address) == family)
            .map(|endpoint| self.member(endpoint))
            .collect();
        Slice {
            name: slice.name.name,
            family,
            ports,
            members,
        }
    }

    fn member(&mut self, endpoint: SliceEndpoint) -> Member {
        let SliceEndpoint {
            address,
            ready,
            serving,
            terminating,
            node,
            zone,
            hints,
        } = endpoint;
        let Hints {
            zones: hint_zones,
            nodes: hint_nodes,
        } = hints.map_or_else(Hints::default, |hints| *hints);
        let placement = self.placements.intern(Placement {
            node,
            zone,
            hint_zones,
            hint_nodes,
        });
        Member {
            address,
            ready,
            serving,
            terminating,
            placement,
        }
    }
}

/// The family of a slice, if proxies see it.
fn seen_family(slice: &EndpointSlice) -> Option<Family> {
    match slice.address_type {
        _ if slice.headless => None,
        AddressType::Ipv4 => Some(Family::V4),
        AddressType::Ipv6 => Some(Family::V6),
        AddressType::Fqdn => None,
    }
}
