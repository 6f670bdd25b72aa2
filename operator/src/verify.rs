//! Whether every node of a cluster does what it was told, for people and for `helm test`.

mod leader;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1 as core;
use kube::Resource as _;
use kube::api::{Api, ListParams};
use sluice_api_access::{AccessError, Requests, distrust, with_causes};
use tokio::time::sleep;

use crate::cluster::{Access, StoredProxy};
use crate::election::LEASE;
use crate::objects::{Answer, Node, Proxy};
use crate::snapshot::first_seen;
use leader::why_nobody_leads;

/// Between two looks.
const REST: Duration = Duration::from_secs(1);
/// So many nodes are named; of the others it is told how many.
const NAMED: usize = 20;
/// Who has said nothing so long after being told for the first time has no agent, as far as can be seen from here.
const SILENCE: SignedDuration = SignedDuration::from_mins(5);

/// What to look at.
#[derive(Debug)]
pub(crate) struct Options {
    /// How to reach the API server.
    pub(crate) access: sluice_api_access::Access,
    /// The namespace of the operator's lease; absent: the pod's.
    pub(crate) namespace: Option<String>,
    /// How long nodes may be on their way.
    pub(crate) patience: Duration,
}

/// Why it could not be said, or what is wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// How to reach the API server.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The API server did not answer with what was asked for.
    #[error("cannot read {what}: {reason}")]
    Unreadable {
        /// Which objects.
        what: &'static str,
        /// In words.
        reason: String,
    },
    /// Not every node is served as it shall be.
    #[error("{0}")]
    NotServed(Found),
}

/// What was found at one look.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Nodes that do what they were told.
    served: usize,
    /// Nodes that cannot be reached: nobody knows about them.
    unreachable: Vec<Arc<str>>,
    /// Nodes that nothing shows an agent to be meant for.
    without_agent: Vec<Arc<str>>,
    /// What is not as it shall be, in sentences.
    problems: Vec<String>,
}

/// Looks until all is well, or until there is no more patience. Returns what was found.
pub(crate) async fn verify(options: Options) -> Result<Found, VerifyError> {
    let requests = Requests::default();
    let access = Access::open(options.access, options.namespace, &requests).await?;
    let begun = Instant::now();
    loop {
        let looked = look(&access).await;
        let is_late = begun.elapsed() >= options.patience;
        match looked {
            Ok(found) if found.problems.is_empty() => return Ok(found),
            Ok(found) if is_late => return Err(VerifyError::NotServed(found)),
            Err(error) if is_late => return Err(error),
            Ok(_) | Err(_) => sleep(REST).await,
        }
    }
}

async fn look(access: &Access) -> Result<Found, VerifyError> {
    let failed = |what| {
        move |error: kube::Error| VerifyError::Unreadable {
            what,
            reason: distrust(&error, &access.authority).unwrap_or_else(|| with_causes(&error)),
        }
    };
    let client = &access.client;
    let leases: Api<Lease> = Api::namespaced(client.clone(), &access.namespace);
    let lease = leases
        .get_opt(LEASE)
        .await
        .map_err(failed("the operator's lease"))?;
    let nodes: Api<core::Node> = Api::all(client.clone());
    let nodes = nodes
        .list(&ListParams::default())
        .await
        .map_err(failed("nodes"))?;
    let proxies: Api<StoredProxy> = Api::all(client.clone());
    let proxies = proxies
        .list(&ListParams::default())
        .await
        .map_err(failed("NodeServiceProxies"))?;
    let now = Timestamp::now();
    let lease = lease.and_then(|lease| lease.spec);
    let leaderless = why_nobody_leads(lease.as_ref(), now);
    let nodes: Vec<Node> = nodes.into_iter().filter_map(Node::of).collect();
    let proxies = proxies
        .into_iter()
        .filter_map(|object| Some((object.meta().name.clone()?, object.read())))
        .collect();
    Ok(Found::of(leaderless, &nodes, &proxies, now))
}

impl Found {
    /// Judges what the API server holds.
    fn of(
        leaderless: Option<String>,
        nodes: &[Node],
        proxies: &BTreeMap<String, Proxy>,
        now: Timestamp,
    ) -> Self {
        let mut found = Self {
            problems: leaderless.into_iter().collect(),
            ..Self::default()
        };
        // Where no node is served it is the agents that are missing.
        let is_served = |proxy: &Proxy| proxy.answer == Answer::Ready;
        let some_are_served = proxies.values().any(is_served);
        if nodes.is_empty() {
            found.problems.push("the cluster has no nodes".into());
        }
        for node in nodes {
            let name = &node.name;
            if !node.is_reachable {
                found.unreachable.push(Arc::clone(name));
                continue;
            }
            let problem = match proxies.get(&**name) {
                None => "no operator has told it what to run".to_owned(),
                Some(proxy) => match proxy.answer {
                    Answer::Ready => {
                        found.served += 1;
                        continue;
                    }
                    Answer::None if some_are_served && has_no_agent(node, proxy, now) => {
                        found.without_agent.push(Arc::clone(name));
                        continue;
                    }
                    Answer::None => {
                        "no agent of it has answered: see its pod of the DaemonSet sluice-agent"
                            .to_owned()
                    }
                    Answer::NotReady if proxy.message.is_empty() => "it is not there yet".into(),
                    Answer::NotReady => format!("it is not ready: {}", proxy.message),
                    Answer::Unsupported => {
                        format!("it cannot run what it was told: {}", proxy.message)
                    }
                },
            };
            found.problems.push(format!("node {name}: {problem}"));
        }
        found
    }
}

/// Nobody has ever heard of an agent there, and nobody keeps pods away until there is one.
fn has_no_agent(node: &Node, proxy: &Proxy, now: Timestamp) -> bool {
    let made_at = proxy.made_at.map(|made_at| first_seen(made_at, now));
    proxy.is_silent()
        && node.not_ready_taint.is_none()
        && made_at.is_some_and(|made_at| now.duration_since(made_at) >= SILENCE)
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} nodes do what they were told", self.served)?;
        if !self.unreachable.is_empty() {
            write!(
                f,
                ", {} are not ready and were passed over: {}",
                self.unreachable.len(),
                self.unreachable.join(", ")
            )?;
        }
        if !self.without_agent.is_empty() {
            write!(
                f,
                ", on {} no agent has ever reported and they were passed over, so see whether the DaemonSet sluice-agent is for them: {}",
                self.without_agent.len(),
                self.without_agent.join(", ")
            )?;
        }
        for problem in self.problems.iter().take(NAMED) {
            write!(f, "\n  {problem}")?;
        }
        match self.problems.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn node(name: &str, ready: &str) -> Node {
        let object = json!({"metadata": {"name": name}, "status": {"conditions": [{"type": "Ready", "status": ready}]}});
        Node::of(serde_json::from_value(object).unwrap()).unwrap()
    }

    fn found(somebody_leads: bool, nodes: &[Node], proxies: &[(String, Proxy)]) -> Found {
        let now = "2026-01-01T01:00:00Z".parse().unwrap();
        let leaderless = why_nobody_leads(None, now).filter(|_| !somebody_leads);
        Found::of(leaderless, nodes, &proxies.iter().cloned().collect(), now)
    }

    fn proxy(name: &str, status: &Value) -> (String, Proxy) {
        let object = json!({
            "apiVersion": "sluice.dev/v1alpha1", "kind": "NodeServiceProxy", "metadata": {"name": name, "generation": 2},
            "spec": {"policy": "p", "policyGeneration": 1, "revision": "p-1", "mode": "IPTables", "settings": {}},
            "status": status,
        });
        (
            name.to_owned(),
            serde_json::from_value::<StoredProxy>(object)
                .unwrap()
                .read(),
        )
    }

    fn status(programmed: &str, message: &str) -> Value {
        let condition = |kind: &str, value: &str, message: &str| {
            json!({
                "type": kind, "status": value, "reason": "R", "message": message, "observedGeneration": 2,
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            })
        };
        json!({"observedRevision": "p-1", "activeMode": "IPTables", "conditions": [
            condition("Supported", "True", ""), condition("Programmed", programmed, message), condition("Healthy", "True", ""),
        ]})
    }

    #[test]
    fn all_is_well_where_every_node_that_is_there_does_what_it_was_told() {
        let nodes = [node("a", "True"), node("away", "Unknown")];
        let proxies = [proxy("a", &status("True", ""))];
        let found = found(true, &nodes, &proxies);
        assert_eq!(found.problems, Vec::<String>::new());
        let words = "1 nodes do what they were told, 1 are not ready and were passed over: away";
        assert_eq!(found.to_string(), words);
    }

    #[test]
    fn what_is_wrong_is_told_for_each_node() {
        let nodes = ["a", "b", "c"].map(|name| node(name, "True"));
        let failing = status("False", "iptables-nft-restore is not installed");
        let proxies = [proxy("a", &failing), proxy("b", &json!({}))];
        let found = found(false, &nodes, &proxies);
        assert_eq!(
            found.to_string(),
            "0 nodes do what they were told
  no operator leads: see the pods of the Deployment sluice-operator
  node a: it is not ready: iptables-nft-restore is not installed
  node b: no agent of it has answered: see its pod of the DaemonSet sluice-agent
  node c: no operator has told it what to run"
        );
    }

    #[test]
    fn a_cluster_without_nodes_is_not_served() {
        assert!(!found(true, &[], &[]).problems.is_empty());
    }

    #[test]
    fn a_windows_node_is_none_of_ours() {
        let object = json!({"metadata": {"name": "w", "labels": {"kubernetes.io/os": "windows"}}});
        assert_eq!(Node::of(serde_json::from_value(object).unwrap()), None);
    }

    #[test]
    fn a_node_whose_agent_was_never_heard_of_is_passed_over_unless_one_is_due_there() {
        let good = proxy("a", &status("True", ""));
        let made = |name: &str, at: &str| {
            let (name, mut proxy) = proxy(name, &json!({}));
            proxy.made_at = Some(at.parse().unwrap());
            (name, proxy)
        };
        let nodes = [node("a", "True"), node("b", "True")];
        let old = made("b", "2026-01-01T00:00:00Z");
        let passed_over = found(true, &nodes, &[good.clone(), old.clone()]);
        assert_eq!(passed_over.problems, Vec::<String>::new());
        let words = "1 nodes do what they were told, on 1 no agent has ever reported and they were passed over, \
            so see whether the DaemonSet sluice-agent is for them: b";
        assert_eq!(passed_over.to_string(), words);

        let problems = |nodes: &[Node], proxies: &[(String, Proxy)]| {
            let found = found(true, nodes, proxies);
            assert_eq!(found.without_agent, Vec::<Arc<str>>::new());
            found.problems.len()
        };
        // By a clock that is minutes behind it was told just now.
        let young = made("b", "2026-01-01T00:51:00Z");
        assert_eq!(problems(&nodes, &[good.clone(), young]), 1);
        // It spoke once.
        let capable = json!({"capabilities": {"kernel": "6.1.0", "ipvs": true}});
        let (_, mut spoke) = proxy("b", &capable);
        spoke.made_at = old.1.made_at;
        assert_eq!(
            problems(&nodes, &[good.clone(), ("b".to_owned(), spoke)]),
            1
        );
        // Its pods wait for an agent.
        let mut tainted = nodes.clone();
        tainted[1].not_ready_taint = Some(0);
        assert_eq!(problems(&tainted, &[good, old.clone()]), 1);
        // No agent of the cluster is there.
        assert_eq!(problems(&nodes[1..], &[old]), 1);
    }
}
