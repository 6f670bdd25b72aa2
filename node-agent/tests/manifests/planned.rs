//! What the objects of manifests mean in a plan.

use std::path::Path;

use sluice_agent::agent::{Batch, Desired};
use sluice_agent::node_plane::FirstServices;
use sluice_service_plan::plan::Plan;

use crate::lab::{Lab, refusals};

/// A service of this namespace with these labels, written in flow style.
fn labelled(namespace: &str, name: &str, ip: &str, labels: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{namespace: {namespace}, name: {name}, labels: {{{labels}}}}}\nspec: {{clusterIP: {ip}, ports: [{{port: 80}}]}}\n"
    )
}

/// Takes in what the manifests say by now.
fn planned<'d>(lab: &mut Lab, desired: &'d mut Desired) -> &'d Plan {
    let update = lab.load();
    assert_eq!(refusals(&update), [""; 0]);
    desired.absorb(Batch {
        services: update.services,
        slices: update.slices,
        node: update.node,
        policy: update.policy,
        ..Batch::default()
    });
    desired.take_changes();
    desired.plan()
}

/// Names of the planned services and their schedulers, in order.
fn schedulers(plan: &Plan) -> Vec<String> {
    let named = plan.services.values().map(|one| {
        let scheduler = one.ipvs_scheduler.as_deref().unwrap_or("-");
        format!("{} {scheduler}", one.name)
    });
    named.collect()
}

#[test]
fn the_rows_of_the_example_pick_services_by_their_labels_which_may_change() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/policies/ipvs.yaml");
    let mut lab = Lab::new();
    lab.write("policy.yaml", &std::fs::read_to_string(example).unwrap());
    lab.write(
        "node.yaml",
        "apiVersion: v1\nkind: Node\nmetadata: {name: n1, labels: {pool: edge}}\n",
    );
    let services = |orders: &str| {
        [
            labelled("cache", "sessions", "10.96.0.1", ""),
            labelled("shop", "orders", "10.96.0.2", orders),
            labelled(
                "shop",
                "web",
                "10.96.0.3",
                "app.kubernetes.io/component: front",
            ),
        ]
        .concat()
    };
    let mut desired = Desired::default();
    lab.write(
        "services.yaml",
        &services("app.kubernetes.io/component: database"),
    );
    assert_eq!(
        schedulers(planned(&mut lab, &mut desired)),
        ["cache/sessions mh", "shop/orders lc", "shop/web -"]
    );
    lab.write("services.yaml", &services("app: orders"));
    assert_eq!(
        schedulers(planned(&mut lab, &mut desired)),
        ["cache/sessions mh", "shop/orders -", "shop/web -"]
    );
}

#[test]
fn cluster_dns_by_whichever_name_is_among_the_first_services() {
    let mut lab = Lab::new();
    let many: String = (0..210)
        .map(|n| labelled("shop", &format!("s{n}"), &format!("10.96.1.{n}"), "app: s"))
        .collect();
    let dns = labelled(
        "kube-system",
        "rke2-coredns",
        "10.96.0.10",
        "k8s-app: kube-dns",
    );
    lab.write("services.yaml", &(many + &dns));
    let mut desired = Desired::default();
    let first = FirstServices::default().of(planned(&mut lab, &mut desired));
    let first: Vec<String> = first
        .unwrap()
        .services
        .values()
        .map(|one| one.name.to_string())
        .collect();
    assert_eq!(first, ["kube-system/rke2-coredns"]);
}
