//! Which addresses and ports a service asks for, and how each treats its clients.

use std::net::IpAddr;

use ipnet::IpNet;

use super::claims::{Claim, Claimant, Request};
use super::objects::Spec;
use crate::model::{
    Family, LocalDetector, OUR_PROXY_NAME, ObjectName, SERVICE_PROXY_NAME, Service, ServicePort,
    ServiceType, Settings, TrafficPolicy,
};
use crate::plan::{Frontend, FrontendAddress, FrontendKind, Masquerade, Pool, Refusal};

/// An address and port that a service asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    pub(super) address: FrontendAddress,
    pub(super) port: u16,
    pub(super) kind: FrontendKind,
}

/// Whether a service is ours to serve.
pub(super) fn is_proxied(service: &Service) -> bool {
    service.kind != ServiceType::ExternalName
        && !service.cluster_ips.is_empty()
        && service
            .labels
            .get(SERVICE_PROXY_NAME)
            .is_none_or(|name| name == OUR_PROXY_NAME)
}

/// The families of a service: those of its cluster IPs. Other addresses of another family are not served, as by kube-proxy.
pub(super) fn families(service: &Spec) -> impl Iterator<Item = Family> {
    Family::ALL.into_iter().filter(|family| {
        service
            .cluster_ips
            .iter()
            .any(|ip| Family::of(*ip) == *family)
    })
}

/// What one port asks for in one family, the most important kind first.
pub(super) fn wishes(
    service: &Spec,
    family: Family,
    port: &ServicePort,
) -> impl Iterator<Item = Wish> {
    let of_kind = move |kind: FrontendKind, ips: &[IpAddr]| {
        let number = port.port;
        ips.iter()
            .filter(move |ip| Family::of(**ip) == family)
            .map(move |ip| Wish {
                address: FrontendAddress::Ip(*ip),
                port: number,
                kind,
            })
            .collect::<Vec<_>>()
    };
    let on_nodes = matches!(
        service.kind,
        ServiceType::NodePort | ServiceType::LoadBalancer
    );
    let node_port = port.node_port.filter(|_| on_nodes).map(|number| Wish {
        address: FrontendAddress::NodePort,
        port: number,
        kind: FrontendKind::NodePort,
    });
    of_kind(FrontendKind::ClusterIp, &service.cluster_ips)
        .into_iter()
        .chain(of_kind(FrontendKind::ExternalIp, &service.external_ips))
        .chain(of_kind(
            FrontendKind::LoadBalancer,
            &service.load_balancer_ips,
        ))
        .chain(node_port)
}

/// The health-check port that a service asks for.
pub(super) fn health_check_port(service: &Spec) -> Option<u16> {
    let wanted = service.kind == ServiceType::LoadBalancer
        && external_policy(service) == TrafficPolicy::Local;
    service.health_check_port.filter(|_| wanted)
}

/// All that a service asks for.
pub(super) fn request((name, service): (&ObjectName, &Spec)) -> Request {
    let claims = families(service)
        .flat_map(|family| service.ports.iter().map(move |port| (family, port)))
        .flat_map(|(family, port)| {
            wishes(service, family, port).map(move |wish| Claim::Frontend {
                family,
                address: wish.address,
                port: wish.port,
                protocol: port.protocol,
            })
        })
        .chain(health_check_port(service).map(Claim::HealthCheck));
    let claimant = Claimant {
        created: service.created,
        service: name.clone(),
    };
    Request::new(claimant, claims)
}

/// The frontend that a granted wish becomes. `refusal` is that of the whole port.
pub(super) fn frontend(
    service: &Spec,
    family: Family,
    wish: Wish,
    refusal: Refusal,
    settings: &Settings,
) -> Frontend {
    let (outside, inside, masquerade) = match wish.kind {
        FrontendKind::ClusterIp => {
            let pool = pool(service.internal_policy);
            (pool, pool, cluster_ip_masquerade(settings))
        }
        FrontendKind::ExternalIp | FrontendKind::LoadBalancer | FrontendKind::NodePort => {
            let policy = external_policy(service);
            let masquerade = match policy {
                TrafficPolicy::Cluster => Masquerade::Always,
                TrafficPolicy::Local => Masquerade::FromNode,
            };
            (pool(policy), Pool::Cluster, masquerade)
        }
    };
    let source_ranges = match wish.kind {
        FrontendKind::LoadBalancer => source_ranges(&service.source_ranges, family),
        _ => None,
    };
    Frontend {
        address: wish.address,
        port: wish.port,
        kind: wish.kind,
        source_ranges,
        outside,
        inside,
        refusal,
        masquerade,
    }
}

/// `externalTrafficPolicy` where the API gives it a meaning: for services that can be reached from outside.
fn external_policy(service: &Spec) -> TrafficPolicy {
    match service.kind {
        ServiceType::NodePort | ServiceType::LoadBalancer => service.external_policy,
        ServiceType::ClusterIp if !service.external_ips.is_empty() => service.external_policy,
        ServiceType::ClusterIp | ServiceType::ExternalName => TrafficPolicy::Cluster,
    }
}

fn pool(policy: TrafficPolicy) -> Pool {
    match policy {
        TrafficPolicy::Cluster => Pool::Cluster,
        TrafficPolicy::Local => Pool::Local,
    }
}

/// The rule for cluster IPs: all that plans hold of the local detector.
pub(super) fn cluster_ip_masquerade(settings: &Settings) -> Masquerade {
    if settings.masquerade_all {
        Masquerade::Always
    } else if settings.detect_local == LocalDetector::None {
        Masquerade::Never
    } else {
        Masquerade::Outside
    }
}

fn source_ranges(ranges: &[IpNet], family: Family) -> Option<Vec<IpNet>> {
    let mut ranges: Vec<_> = ranges
        .iter()
        .copied()
        .filter(|net| Family::of_net(net) == family)
        .collect();
    if ranges.is_empty() || ranges.iter().any(|net| net.prefix_len() == 0) {
        return None;
    }
    ranges.sort_unstable();
    ranges.dedup();
    Some(ranges)
}
