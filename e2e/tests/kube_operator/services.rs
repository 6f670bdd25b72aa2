//! The services that `Auto` goes by.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::Cluster;

fn service(name: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {"ports": [{"port": 80}]},
    })
}

#[test]
fn services_are_counted_that_agents_serve() {
    let Some(cluster) = Cluster::up("services") else {
        return;
    };
    let operator = cluster.operator(&[]);
    let count = || operator.metric("sluice_operator_services").unwrap();
    cluster.eventually("it is ready", || operator.is_ready().unwrap());
    // The API server's own.
    cluster.eventually("the service of the API server is counted", || {
        count() >= 1.0
    });
    let before = count();

    let named = |name: &str| json!({"service.kubernetes.io/service-proxy-name": name});
    let services = [
        service("anybodys", &json!({})),
        service("ours", &named("sluice.dev")),
        service("somebody-elses", &named("somebody-else")),
    ];
    cluster.installation.apply(&services).unwrap();
    cluster.eventually("two more are counted", || count() - before > 1.0);
    std::thread::sleep(Duration::from_secs(1));
    assert!(count() - before < 3.0, "and not the third");

    let give = |name: &str, to: &str| {
        let label = format!("service.kubernetes.io/service-proxy-name={to}");
        let labelled = ["label", "--overwrite", "service", name, &label];
        cluster.kubectl().run(&labelled).unwrap();
    };
    give("ours", "somebody-else");
    cluster.eventually("one is given away", || count() - before < 2.0);
    give("ours", "sluice.dev");
    cluster.eventually("and taken back", || count() - before > 1.0);
}
