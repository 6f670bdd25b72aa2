//! Tells of what a Service asks for and an older one holds, each once.

use std::collections::BTreeSet;
use std::sync::Arc;

use sluice_service_plan::model::ObjectName;
use sluice_service_plan::plan::{FrontendAddress, LostClaim, PlanChange, ServicePlan};

/// Told one by one; of more, the number is.
const NAMED: usize = 20;

/// A service, and what another one holds of what it asks for.
type Lost<'a> = (&'a ObjectName, &'a LostClaim);

/// Logs what of it came and went.
pub(super) fn log(change: &PlanChange) {
    let (came, went) = news(change);
    for (loser, claim) in came.iter().take(NAMED) {
        tracing::warn!(
            service = %loser,
            address = words(claim.address),
            port = claim.port,
            protocol = %claim.protocol,
            holder = %claim.holder,
            "not served for this service: an older one holds it; give one of them another address or port"
        );
    }
    if let Some(more @ 1..) = came.len().checked_sub(NAMED) {
        tracing::warn!(claims = more, "and more are held by older services");
    }
    for (loser, claim) in went.iter().take(NAMED) {
        tracing::info!(
            service = %loser,
            address = words(claim.address),
            port = claim.port,
            protocol = %claim.protocol,
            holder = %claim.holder,
            "no longer held against this service"
        );
    }
    if let Some(more @ 1..) = went.len().checked_sub(NAMED) {
        tracing::info!(claims = more, "and more are no longer held");
    }
}

fn news(change: &PlanChange) -> (Vec<Lost<'_>>, Vec<Lost<'_>>) {
    let (mut came, mut went) = (Vec::new(), Vec::new());
    for service in &change.services {
        let (before, after) = (lost(service.before.as_ref()), lost(service.after.as_ref()));
        let name = &service.name;
        came.extend(after.difference(&before).map(|claim| (name, *claim)));
        went.extend(before.difference(&after).map(|claim| (name, *claim)));
    }
    (came, went)
}

/// A node port is lost in each family, and told once.
fn lost(plan: Option<&Arc<ServicePlan>>) -> BTreeSet<&LostClaim> {
    plan.into_iter().flat_map(|plan| &plan.lost).collect()
}

fn words(address: FrontendAddress) -> String {
    match address {
        FrontendAddress::Ip(ip) => ip.to_string(),
        FrontendAddress::NodePort => "the node's".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use sluice_service_plan::model::Protocol;
    use sluice_service_plan::plan::ServiceChange;

    use super::*;

    fn claim(address: FrontendAddress, holder: &str) -> LostClaim {
        LostClaim {
            address,
            port: 80,
            protocol: Protocol::Tcp,
            holder: ObjectName::new("ns", holder),
        }
    }

    fn change(before: &[LostClaim], after: &[LostClaim]) -> PlanChange {
        let plan = |lost: &[LostClaim]| {
            Some(Arc::new(ServicePlan {
                name: ObjectName::new("ns", "younger"),
                ports: Vec::new(),
                ipvs_scheduler: None,
                health_check: None,
                lost: lost.to_vec(),
                is_cluster_dns: false,
            }))
        };
        PlanChange {
            services: vec![ServiceChange {
                name: ObjectName::new("ns", "younger"),
                before: plan(before),
                after: plan(after),
            }],
            node_or_settings: false,
        }
    }

    #[test]
    fn each_claim_is_told_when_it_is_lost_and_when_it_is_not_any_more() {
        let node_port = claim(FrontendAddress::NodePort, "older");
        let address = claim(FrontendAddress::Ip([192, 0, 2, 1].into()), "older");
        let both = [node_port.clone(), node_port.clone(), address.clone()];
        let told = |change: &PlanChange| {
            let (came, went) = news(change);
            let claims =
                |lost: Vec<Lost<'_>>| lost.into_iter().map(|(_, claim)| claim.clone()).collect();
            (claims(came), claims(went))
        };
        let none = Vec::<LostClaim>::new;
        assert_eq!(
            told(&change(&[], &both)),
            (vec![address.clone(), node_port.clone()], none())
        );
        assert_eq!(told(&change(&both, &both)), (none(), none()));
        assert_eq!(
            told(&change(&both, from_ref(&node_port))),
            (none(), vec![address])
        );
        let of_another = claim(FrontendAddress::NodePort, "other");
        assert_eq!(
            told(&change(from_ref(&node_port), from_ref(&of_another))),
            (vec![of_another], vec![node_port])
        );
    }
}
