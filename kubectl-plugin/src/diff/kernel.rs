//! What the node's kernel holds, seen by a command in the pod of its agent.

use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Status, StatusCause};
use kube::ResourceExt as _;
use kube::api::{Api, AttachParams, AttachedProcess, ListParams};
use serde::Serialize;
use sluice_api_access::with_causes;
use tokio::io::AsyncReadExt as _;

use crate::cluster::Cluster;
use crate::error::PluginError;
use crate::status::AGENTS;

/// The agent's program, which is also the start of its container's name.
const AGENT: &str = "sluice-agent";
/// Its flags that are taken from the agent's own arguments: whom it asks, and which port has a rule.
const AS_THE_AGENT: [&str; 2] = ["--api-server", "--healthz-bind-address"];

/// Where no pod can be asked.
const ON_THE_NODE: &str =
    "on the node itself, `sluice-agent render --diff --kubeconfig FILE` tells the same";

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "result")]
pub(super) enum Kernel {
    /// It holds what it should.
    Same,
    /// It does not.
    Different {
        /// As diff(1) marks them: `-` it holds and should not, `+` it should hold and does not.
        lines: Vec<String>,
    },
    /// It cannot be seen.
    Unknown {
        /// Why, and what to do.
        message: String,
    },
}

pub(super) async fn compare(cluster: &Cluster, node: &str) -> Result<Kernel, PluginError> {
    let everywhere: Api<Pod> = Api::all(cluster.client.clone());
    let on_node = ListParams::default()
        .labels(AGENTS)
        .fields(&format!("spec.nodeName={node}"));
    let pods = cluster.list(&everywhere, "pods", on_node).await?;
    let Some(pod) = choose(&pods) else {
        return Ok(Kernel::Unknown {
            message: no_pod(node, pods.first()),
        });
    };
    let namespace = pod.namespace().unwrap_or_default();
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), &namespace);
    let parameters = AttachParams {
        container: container(pod).map(|container| container.name.clone()),
        stdin: false,
        ..AttachParams::default()
    };
    match pods
        .exec(&pod.name_any(), command(pod, node), &parameters)
        .await
    {
        Ok(process) => Ok(outcome(process).await),
        Err(error) => Ok(Kernel::Unknown {
            message: format!(
                "{}; {ON_THE_NODE}",
                cluster.error(&error, "create", "pods/exec")
            ),
        }),
    }
}

/// One that runs.
fn choose(pods: &[Pod]) -> Option<&Pod> {
    pods.iter().find(|pod| {
        let phase = pod
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref());
        phase == Some("Running") && pod.metadata.deletion_timestamp.is_none()
    })
}

pub(super) fn no_pod(node: &str, other: Option<&Pod>) -> String {
    match other {
        None => format!(
            "no pod of an agent is on {node} (labels {AGENTS}): look at the DaemonSet's tolerations and node selector; {ON_THE_NODE}"
        ),
        Some(pod) => format!(
            "the pod of the agent on {node} does not run: kubectl -n {} describe pod {}; {ON_THE_NODE}",
            pod.namespace().unwrap_or_default(),
            pod.name_any()
        ),
    }
}

fn container(pod: &Pod) -> Option<&Container> {
    let containers = &pod.spec.as_ref()?.containers;
    let by_name = containers
        .iter()
        .find(|one| one.name.starts_with(AGENT) || one.name == "agent");
    by_name.or(containers.first())
}

/// What is run: the agent's own program, with what the agent was told that its answer depends on.
pub(super) fn command(pod: &Pod, node: &str) -> Vec<String> {
    let mut command: Vec<String> = [
        AGENT,
        "render",
        "--diff",
        "--in-cluster",
        "--node-name",
        node,
    ]
    .map(str::to_owned)
    .to_vec();
    let arguments = container(pod).map(|container| {
        let (command, args) = (container.command.iter(), container.args.iter());
        command.chain(args).flatten().cloned().collect::<Vec<_>>()
    });
    let arguments = arguments.unwrap_or_default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let flag = argument.split('=').next().unwrap_or_default();
        if !AS_THE_AGENT.contains(&flag) {
            continue;
        }
        command.push(argument.clone());
        if flag == argument {
            command.extend(rest.next().cloned());
        }
    }
    command
}

async fn outcome(mut process: AttachedProcess) -> Kernel {
    let (stdout, stderr) = (process.stdout(), process.stderr());
    let status = process.take_status();
    let (mut out, mut err) = (String::new(), String::new());
    let read_out = async {
        match stdout {
            Some(mut stdout) => stdout.read_to_string(&mut out).await.map(drop),
            None => Ok(()),
        }
    };
    let read_err = async {
        match stderr {
            Some(mut stderr) => stderr.read_to_string(&mut err).await.map(drop),
            None => Ok(()),
        }
    };
    let (read, read_too) = tokio::join!(read_out, read_err);
    let status = match status {
        Some(status) => status.await,
        None => None,
    };
    if let Err(error) = read.and(read_too) {
        return Kernel::Unknown {
            message: format!(
                "the answer of the agent's pod was cut off ({}): ask again",
                with_causes(&error)
            ),
        };
    }
    let code = status.as_ref().and_then(exit_code);
    let message = status.and_then(|status| status.message);
    judge(code, &message.unwrap_or_default(), &out, &err)
}

/// The code that a command ended with.
fn exit_code(status: &Status) -> Option<i32> {
    if status.status.as_deref() == Some("Success") {
        return Some(0);
    }
    let causes = status.details.as_ref()?.causes.as_ref()?;
    let is_code = |cause: &&StatusCause| cause.reason.as_deref() == Some("ExitCode");
    causes.iter().find(is_code)?.message.as_ref()?.parse().ok()
}

/// What a command said and how it ended, as a result.
pub(super) fn judge(code: Option<i32>, ended: &str, out: &str, err: &str) -> Kernel {
    match code {
        Some(0) => Kernel::Same,
        Some(1) if !out.is_empty() => Kernel::Different {
            lines: out.lines().map(str::to_owned).collect(),
        },
        Some(_) => {
            let mut said = err.lines().filter(|line| !line.trim().is_empty());
            Kernel::Unknown {
                message: format!(
                    "the agent's pod cannot tell ({ended}): {}",
                    said.next_back().unwrap_or("it says nothing")
                ),
            }
        }
        None => Kernel::Unknown {
            message: format!(
                "no command can be run in the pod of the agent ({ended}): see that the node's kubelet answers the API server; {ON_THE_NODE}"
            ),
        },
    }
}
