//! Which services a node cannot do without while the others are still being programmed.

use std::collections::BTreeSet;
use std::sync::Arc;

use sluice_service_plan::model::ObjectName;
use sluice_service_plan::plan::{Plan, ServicePlan};

/// The API server's own Service.
const API_SERVER: (&str, &str) = ("default", "kubernetes");

/// A plan with fewer services is programmed at once: a second step would take about as long as it saves.
const FEW: usize = 200;

/// The API server's Service, cluster DNS, and those that were asked for.
#[derive(Debug, Clone, Default)]
pub struct FirstServices {
    asked: BTreeSet<ObjectName>,
}

impl FirstServices {
    /// These besides the API server's and cluster DNS.
    pub fn with(asked: impl IntoIterator<Item = ObjectName>) -> Self {
        Self {
            asked: asked.into_iter().collect(),
        }
    }

    /// The plan with only these services; absent where the whole plan is to be programmed at once.
    pub fn of(&self, plan: &Plan) -> Option<Plan> {
        if plan.services.len() < FEW {
            return None;
        }
        let mut first = Plan {
            node: Arc::clone(&plan.node),
            settings: Arc::clone(&plan.settings),
            ..Plan::default()
        };
        for service in plan.services.values() {
            if self.has(service) {
                first.services.insert(Arc::clone(service));
            }
        }
        let is_worth_a_step = (1..plan.services.len()).contains(&first.services.len());
        is_worth_a_step.then_some(first)
    }

    fn has(&self, service: &ServicePlan) -> bool {
        let name = &service.name;
        service.is_cluster_dns
            || (&*name.namespace, &*name.name) == API_SERVER
            || self.asked.contains(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(names: &[(&str, &str)], others: usize, dns: &[(&str, &str)]) -> Plan {
        let mut plan = Plan::default();
        let other: Vec<String> = (0..others).map(|n| format!("other-{n}")).collect();
        let others = other.iter().map(|name| ("default", name.as_str()));
        for (namespace, name) in names.iter().chain(dns).copied().chain(others) {
            plan.services.insert(Arc::new(ServicePlan {
                name: ObjectName::new(namespace, name),
                ports: Vec::new(),
                ipvs_scheduler: None,
                health_check: None,
                lost: Vec::new(),
                is_cluster_dns: dns.contains(&(namespace, name)),
            }));
        }
        plan
    }

    fn names(first: &FirstServices, plan: &Plan) -> Option<Vec<String>> {
        let first = first.of(plan)?;
        Some(
            first
                .services
                .values()
                .map(|s| s.name.to_string())
                .collect(),
        )
    }

    #[test]
    fn the_api_server_cluster_dns_and_what_was_asked_for_come_first() {
        let plan = plan(
            &[
                ("default", "kubernetes"),
                ("shop", "kubernetes"),
                ("shop", "vault"),
            ],
            FEW,
            &[("kube-system", "kube-dns")],
        );
        let expected = ["default/kubernetes", "kube-system/kube-dns"].map(str::to_owned);
        assert_eq!(
            names(&FirstServices::default(), &plan),
            Some(expected.to_vec())
        );
        let asked = FirstServices::with([ObjectName::new("shop", "vault")]);
        let mut expected = Vec::from(expected);
        expected.push("shop/vault".to_owned());
        assert_eq!(names(&asked, &plan), Some(expected));
    }

    #[test]
    fn few_services_none_of_the_first_or_only_first_ones_are_not_split() {
        let first = FirstServices::default();
        let dns = [("kube-system", "kube-dns")];
        assert_eq!(names(&first, &plan(&[], FEW - 2, &dns)), None);
        assert!(names(&first, &plan(&[], FEW - 1, &dns)).is_some());
        assert_eq!(names(&first, &plan(&[], FEW, &[])), None);
        let all = plan(&[], FEW, &[]);
        let asked = FirstServices::with(all.services.values().map(|s| s.name.clone()));
        assert_eq!(names(&asked, &all), None);
    }
}
