//! Which service resolves the cluster's names.

use sluice_service_plan::catalog::Catalog;
use sluice_service_plan::model::{ObjectName, Service, Settings};

use crate::objects::{ips, node, service};

#[test]
fn cluster_dns_is_known_by_its_name_or_its_label_and_only_in_its_namespace() {
    let label = ("k8s-app", "kube-dns");
    let mut catalog = Catalog::new(node(), Settings::default());
    for (namespace, name, address, labels) in [
        ("kube-system", "coredns", "10.96.0.1", &[][..]),
        ("kube-system", "kube-dns", "10.96.0.2", &[]),
        ("kube-system", "rke2-coredns", "10.96.0.3", &[label]),
        (
            "kube-system",
            "metrics",
            "10.96.0.4",
            &[("k8s-app", "metrics")],
        ),
        ("shop", "kube-dns", "10.96.0.5", &[label]),
    ] {
        let labels = labels.iter().map(|(k, v)| ((*k).into(), (*v).into()));
        catalog.set_service(Service {
            labels: labels.collect(),
            cluster_ips: ips(&[address]),
            name: ObjectName::new(namespace, name),
            ..service("")
        });
    }
    catalog.take_changes();
    let plans = catalog.plan().services.values();
    let dns: Vec<&str> = plans
        .filter(|plan| plan.is_cluster_dns)
        .map(|plan| &*plan.name.name)
        .collect();
    assert_eq!(dns, ["coredns", "kube-dns", "rke2-coredns"]);
}
