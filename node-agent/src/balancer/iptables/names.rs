//! Names of the balancer's chains and affinity sets. Each is a function of what it stands for, so a restart finds them again.

use sluice_service_plan::model::Family;
use sluice_service_plan::plan::{Endpoint, Pool, PortKey};

use crate::ruleset::short_hash;

/// The chain that packets enter from the built-in chains.
pub(crate) const SERVICES: &str = "SLUICE-SERVICES";

/// Affinity sets of one family start so.
pub(crate) const fn affinity_prefix(family: Family) -> &'static str {
    match family {
        Family::V4 => "SLUICE-4-A-",
        Family::V6 => "SLUICE-6-A-",
    }
}

/// The chain that spreads over a pool.
pub(crate) fn pool(key: &PortKey, pool: Pool) -> String {
    let letter = match pool {
        Pool::Cluster => 'P',
        Pool::Local => 'L',
    };
    format!("SLUICE-{letter}-{}", hash(key, &[]))
}

/// The chain that tells traffic from inside this node from other traffic (`externalTrafficPolicy: Local`).
pub(crate) fn policy(key: &PortKey) -> String {
    format!("SLUICE-X-{}", hash(key, &[]))
}

/// One part of a large pool.
pub(crate) fn group(key: &PortKey, pool: Pool, index: u64) -> String {
    let mut more = vec![pool as u8];
    more.extend(index.to_be_bytes());
    format!("SLUICE-G-{}", hash(key, &more))
}

/// The chain that remembers a client and translates to one endpoint.
pub(crate) fn endpoint(key: &PortKey, endpoint: &Endpoint) -> String {
    format!(
        "SLUICE-E-{}",
        hash(key, endpoint.address.to_string().as_bytes())
    )
}

/// The set of clients that go to one endpoint.
pub(crate) fn affinity_set(key: &PortKey, endpoint: &Endpoint) -> String {
    format!(
        "{}{}",
        affinity_prefix(key.family),
        hash(key, endpoint.address.to_string().as_bytes())
    )
}

fn hash(key: &PortKey, more: &[u8]) -> String {
    short_hash(&[
        key.service.namespace.as_bytes(),
        key.service.name.as_bytes(),
        key.port.as_bytes(),
        key.protocol.as_str().as_bytes(),
        more,
    ])
}
