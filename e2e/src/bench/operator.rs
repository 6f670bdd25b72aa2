//! The operator of a large cluster: from the edit of a policy to the last of its nodes, memory, and what it asks for while nothing happens.

use std::path::Path;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, ListParams, PostParams};
use kube::{Client, Resource};
use serde_json::{Value, json};
use sluice_crds::v1alpha1::NodeServiceProxy;
use tokio::runtime::Runtime;

use super::process::memory;
use super::{BenchError, api, planning};
use crate::control_plane::{ControlPlane, Options};
use crate::installation::{Installation, NAMESPACE};
use crate::operator_process::{OperatorProcess, OperatorProcessError};

/// Nodes of the cluster.
const NODES: usize = 5_000;
/// Policies, of which the first is for nearly all nodes and each of the others for one.
const POLICIES: usize = 20;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long the operator is watched while nothing happens.
const IDLE: Duration = Duration::from_secs(60);

/// What one plan over all nodes may take, so that each change may look at all of them.
const PLAN: Duration = Duration::from_millis(50);
/// What is promised of an edit,
const EDIT: Duration = Duration::from_secs(30);
/// and of memory, MiB.
const MEMORY: u64 = 150;

/// Measures one operator.
pub fn measure(operator: &Path) -> Result<(), BenchError> {
    let control_plane = ControlPlane::start(&Options::default())?;
    let installation = Installation::new(control_plane)?;
    let large = Large::connect(&installation)?;
    large.create_nodes()?;
    for index in 0..POLICIES {
        installation.apply(&[policy(index, 14)])?;
    }
    let kubeconfig = installation.operator_kubeconfig()?;
    let mut operator = OperatorProcess::new(operator, &kubeconfig, NAMESPACE)?;
    let start = Instant::now();
    operator.start()?;
    large.wait_for_mark(14)?;
    let first = start.elapsed();

    let start = Instant::now();
    installation.apply(&[policy(0, 15)])?;
    large.wait_for_mark(15)?;
    let edit = start.elapsed();
    let process = operator
        .id()
        .ok_or_else(|| BenchError::NotSo("the operator has ended".to_owned()))?;
    // What follows an edit, such as statuses, has its time too.
    std::thread::sleep(Duration::from_secs(10));
    let before = requests(&operator)?;
    std::thread::sleep(IDLE);
    let idle = requests(&operator)? - before;
    let resident = memory(process, "VmRSS:")? / 1024;
    println!(
        "\noperator, {NODES} nodes, {POLICIES} policies: all nodes told first after {first:.1?}; an edit for all but {} after {edit:.1?} \
         (at most {EDIT:?}: {}); RSS {resident} MiB (at most {MEMORY}: {}); requests in {IDLE:?} of idleness, watches and the lease apart: {idle} (none: {})",
        POLICIES - 1,
        kept(edit <= EDIT),
        kept(resident <= MEMORY),
        kept(idle == 0.0),
    );
    let plan = planning::measure(NODES, POLICIES);
    println!(
        "one plan by itself: {:.1?} with nothing to write, {:.1?} for the edit (at most {PLAN:?}: {})",
        plan.settled,
        plan.edit,
        kept(plan.settled.max(plan.edit) <= PLAN),
    );
    Ok(())
}

/// All but watches and those for the lease, which is renewed all the time.
fn requests(operator: &OperatorProcess) -> Result<f64, OperatorProcessError> {
    let of = |labels: &str| operator.metric(&format!("sluice_operator_api_requests_total{labels}"));
    Ok(of("")?
        - of(r#"{verb="watch""#)?
        - of(r#"{verb="get",resource="leases""#)?
        - of(r#"{verb="update",resource="leases""#)?
        - of(r#"{verb="patch",resource="leases""#)?)
}

fn kept(is_kept: bool) -> &'static str {
    if is_kept { "kept" } else { "NOT KEPT" }
}

/// A policy that differs from another by the bit of its mark.
fn policy(index: usize, mark_bit: u32) -> Value {
    let selector = match index {
        0 => json!({}),
        index => json!({"matchLabels": {"pool": index.to_string()}}),
    };
    json!({
        "apiVersion": "sluice.dev/v1alpha1",
        "kind": "ServiceProxyPolicy",
        "metadata": {"name": format!("policy-{index}")},
        "spec": {
            "nodeSelector": selector,
            "priority": index,
            "mode": "IPTables",
            "sourceNAT": {"markBit": mark_bit},
            "rollout": {"maxUnavailable": NODES, "minReadySeconds": 0, "progressDeadlineSeconds": 3600},
        },
    })
}

struct Large {
    runtime: Runtime,
    client: Client,
}

impl Large {
    fn connect(installation: &Installation) -> Result<Self, BenchError> {
        let (runtime, client) = api::connect(&installation.control_plane.kubeconfig())?;
        Ok(Self { runtime, client })
    }

    fn create_nodes(&self) -> Result<(), BenchError> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let create = |index: usize| {
            let nodes = nodes.clone();
            async move {
                let pool = if (1..POLICIES).contains(&index) {
                    index
                } else {
                    0
                };
                let node = json!({
                    "metadata": {"name": format!("node-{index}"), "labels": {"pool": pool.to_string()}},
                });
                let node = api::object(node)?;
                api::done(nodes.create(&PostParams::default(), &node).await)
            }
        };
        let all = stream::iter(0..NODES).map(create);
        self.runtime
            .block_on(all.buffer_unordered(api::AT_ONCE).try_collect::<()>())
    }

    /// Waits until every node is told a policy with this mark, but those that have one of their own.
    fn wait_for_mark(&self, mark_bit: u32) -> Result<(), BenchError> {
        let nodes: Api<NodeServiceProxy> = Api::all(self.client.clone());
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(500));
            // From the API server's memory, which costs it least.
            let all = ListParams::default().match_any();
            let listed = self.runtime.block_on(nodes.list(&all));
            let listed = listed.map_err(|error| BenchError::NotSo(error.to_string()))?;
            let has_it = |node: &&NodeServiceProxy| {
                let of_own = node.spec.policy != "policy-0" && node.meta().name.is_some();
                of_own || node.spec.settings.source_nat.mark_bit == mark_bit
            };
            if listed.items.iter().filter(has_it).count() == NODES {
                return Ok(());
            }
        }
        Err(BenchError::NotSo(
            "not all nodes were told the policy".to_owned(),
        ))
    }
}
