//! Many changes at once.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sluice_e2e::kind::Cluster;
use sluice_e2e::kind::workload::service;

use super::Scenario;
use super::lab::{APP, ECHO, Lab, PATIENCE};
use super::policies::assert_nothing_lost;

pub(crate) const SCENARIOS: &[Scenario] =
    &[("five hundred Services come and go in a burst", burst)];

fn burst(lab: &Lab) -> anyhow::Result<()> {
    const SERVICES: usize = 500;
    let served = lab.serve("steady", &json!({}))?;
    let load = lab.client("client-b").load(served.address(0)?)?;
    let spec = json!({"ipFamilyPolicy": "SingleStack"});
    let services: Vec<Value> = (0..SERVICES)
        .map(|number| {
            let mut object = service(ECHO, &format!("burst-{number}"), APP, &spec);
            object["metadata"]["labels"] = json!({"part-of": "burst"});
            object
        })
        .collect();
    let started = Instant::now();
    // One kubectl asks for one object after the other.
    std::thread::scope(|scope| {
        let parts = services.chunks(SERVICES / 4);
        let applying: Vec<_> = parts
            .map(|part| scope.spawn(|| lab.cluster.apply(part)))
            .collect();
        let applied = applying.into_iter().map(|one| {
            one.join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        applied.collect::<Result<(), _>>()
    })?;
    let applied = started.elapsed();
    let last = lab.serve_within(PATIENCE * 3, "burst-last", &json!({}))?;
    eprintln!(
        "          {SERVICES} Services: applied in {:.1} s, the last one served {:.1} s later",
        applied.as_secs_f64(),
        (started.elapsed().saturating_sub(applied)).as_secs_f64()
    );
    let counted = |expected: &dyn Fn(usize) -> bool, what: &str| {
        Cluster::eventually(what, PATIENCE, || {
            let mut counts = Vec::new();
            for node in lab.cluster.nodes() {
                let rules = lab.cluster.on_node(
                    &node.name,
                    &["sh", "-c", "iptables-legacy-save; iptables-nft-save"],
                );
                let rules = rules.map_err(|error| error.to_string())?;
                counts.push(
                    rules
                        .lines()
                        .filter(|line| line.contains("SLUICE-"))
                        .count(),
                );
            }
            counts
                .iter()
                .all(|&count| expected(count))
                .then_some(())
                .ok_or_else(|| format!("{counts:?} lines of rules"))
        })
    };
    counted(&|count| count > SERVICES, "every node has rules for them")?;
    drop(last);
    // In one request, which kubectl does not make by itself.
    let all = format!("/api/v1/namespaces/{ECHO}/services?labelSelector=part-of%3Dburst");
    Cluster::eventually("the API server deletes them", PATIENCE, || {
        let deleted = lab.cluster.kubectl(&["delete", "--raw", &all]);
        deleted.map_err(|error| error.to_string())
    })?;
    counted(
        &|count| count < SERVICES,
        "no node has rules for them any more",
    )?;
    std::thread::sleep(Duration::from_secs(1));
    assert_nothing_lost(load)
}
