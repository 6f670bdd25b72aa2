//! What the CNI plugin adds to a pod's attachment, with the agent answering among many services.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::report::{at, ms};
use super::{BenchError, MANY, Size, agent, size};
use crate::agent_process::AgentProcess;
use crate::attach::{AttachError, Node, Pod, Verb};

const PODS: usize = 200;
/// The services of the other benchmarks.
const SIZE: Size = size(MANY, 4);
/// How long the agent may take to its first sync.
const PATIENCE: Duration = Duration::from_secs(600);
/// Every pod is of a class, so that ADD has address sets to change.
const POLICY: &str = "
apiVersion: sluice.dev/v1alpha1
kind: ServiceProxyPolicy
metadata: {name: everything}
spec:
  mode: IPTables
  sourceNAT: {podClasses: [{name: all, action: Masquerade}]}
";

/// What is promised of one ADD at the median,
const MEDIAN: Duration = Duration::from_millis(3);
/// and of the slowest hundredth.
const SLOWEST: Duration = Duration::from_millis(8);

/// Measures one plugin with one agent.
pub fn measure(plugin: &Path, agent: &Path) -> Result<(), BenchError> {
    let mut agent = AgentProcess::new(agent, super::cluster::NODE_NAME)?;
    let node = Node::with_agent(plugin, &agent)?;
    agent.add_flags(super::plane::NFT.flags);
    agent.write("cluster.json", &agent::documents(SIZE))?;
    agent.write("policy.yaml", POLICY)?;
    agent.start(node.namespace())?;
    agent.wait_until_healthy(node.namespace(), PATIENCE)?;

    let pods = ported(&node)?;
    let (mut times, mut starts) = (Vec::new(), Vec::new());
    for (n, pod) in pods.iter().enumerate() {
        starts.push(timed(&node, pod, &result(n, pod), "VERSION")?);
        times.push(timed(&node, pod, &result(n, pod), "ADD")?);
    }
    let members = node.members().map_err(AttachError::from)?.len();
    if members != PODS {
        return Err(BenchError::NotSo(format!(
            "{members} of {PODS} pods are in the set of their class"
        )));
    }
    times.sort_unstable();
    starts.sort_unstable();
    let (median, slowest) = (at(&times, 50), at(&times, 99));
    println!(
        "\nCNI plugin, {PODS} pods, {SIZE}: ADD takes {:.2} ms p50 (at most {:.0} ms: {}), {:.2} ms p99 (at most {:.0} ms: {}); \
         of that the start of a process that does nothing (VERSION) {:.2} ms p50, {:.2} ms p99",
        ms(median),
        ms(MEDIAN),
        kept(median <= MEDIAN),
        ms(slowest),
        ms(SLOWEST),
        kept(slowest <= SLOWEST),
        ms(at(&starts, 50)),
        ms(at(&starts, 99)),
    );
    Ok(())
}

fn kept(is_kept: bool) -> &'static str {
    if is_kept { "kept" } else { "NOT KEPT" }
}

/// Pods at ports of a bridge, as a main plugin leaves them.
fn ported(node: &Node) -> Result<Vec<Pod>, BenchError> {
    let pods: Vec<Pod> = (0..PODS)
        .map(|n| Pod::new(&format!("pod{n}")))
        .collect::<Result<_, _>>()?;
    let mut lines = String::from("link add cni0 type bridge\nlink set cni0 up\n");
    for (n, pod) in pods.iter().enumerate() {
        let id = pod.namespace.id();
        lines += &[
            format!("link add v{n} type veth peer name eth0 netns {id}\n"),
            format!("link set v{n} master cni0 up\n"),
        ]
        .concat();
    }
    node.namespace().ip(&lines)?;
    Ok(pods)
}

/// What the main plugin said of a pod.
fn result(n: usize, pod: &Pod) -> Value {
    json!({
        "cniVersion": "1.0.0",
        "interfaces": [{"name": "cni0"}, {"name": format!("v{n}")}, {"name": "eth0", "sandbox": pod.netns()}],
        "ips": [{"address": format!("10.244.0.{}/24", n + 2), "interface": 2}],
    })
}

/// From the start of the plugin to its end.
fn timed(node: &Node, pod: &Pod, result: &Value, verb: &str) -> Result<Duration, BenchError> {
    let chain = node.chain("1.0.0", Vec::new());
    let (mut command, conf) = chain.command(Verb::Add, &node.sluice(&json!({})), pod, result);
    command.env("CNI_COMMAND", verb);
    let ended = node.namespace().run(move || {
        let began = Instant::now();
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(conf.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        Ok((began.elapsed(), output))
    })?;
    let (took, output) = ended.map_err(BenchError::io("run the CNI plugin"))?;
    if !output.status.success() || !output.stderr.is_empty() {
        return Err(BenchError::NotSo(format!(
            "the CNI plugin did not attach {}: {}{}",
            pod.container,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )));
    }
    Ok(took)
}
