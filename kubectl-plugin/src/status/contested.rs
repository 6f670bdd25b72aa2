//! Services that lack an address or port because another service has it. Pure; the same plan as the agents'.

use std::net::SocketAddr;

use k8s_openapi::api::core::v1::Service;
use serde::Serialize;
use sluice_plan_input::convert;
use sluice_service_plan::catalog::Catalog;
use sluice_service_plan::model::{NodeFacts, Settings};
use sluice_service_plan::plan::{FrontendAddress, LostClaim, ServicePlan};

/// A service, and what it lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Contested {
    /// `NAMESPACE/NAME`
    pub(super) service: String,
    /// What another one has, and what to do.
    pub(super) message: String,
}

/// By name. Who has what depends on no node, no setting and no endpoint; a service that no agent can use asks for nothing.
pub(super) fn contested(services: &[Service]) -> Vec<Contested> {
    let mut catalog = Catalog::new(NodeFacts::default(), Settings::default());
    for service in services {
        if let Ok(service) = convert::service(service.clone()) {
            catalog.set_service(service);
        }
    }
    catalog.take_changes();
    let plans = catalog.plan().services.values();
    plans
        .filter(|plan| !plan.lost.is_empty())
        .map(|plan| of(plan))
        .collect()
}

fn of(plan: &ServicePlan) -> Contested {
    let lost: Vec<String> = plan.lost.iter().map(in_words).collect();
    Contested {
        service: plan.name.to_string(),
        message: format!(
            "older services have its {}: give one of each two another address or port",
            lost.join(", ")
        ),
    }
}

fn in_words(claim: &LostClaim) -> String {
    let (port, protocol, holder) = (claim.port, claim.protocol, &claim.holder);
    match claim.address {
        FrontendAddress::Ip(ip) => {
            let frontend = SocketAddr::new(ip, port);
            format!("{frontend}/{protocol} ({holder})")
        }
        FrontendAddress::NodePort => format!("node port {port}/{protocol} ({holder})"),
    }
}
