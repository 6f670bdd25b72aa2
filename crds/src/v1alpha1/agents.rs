//! Which nodes agents are for, and what is written on nodes and on their objects for and about agents.

use std::collections::BTreeMap;

/// Taint that keeps pods off a node that is not served yet. Whoever makes the node puts it on and counts on an agent; the operator takes it off.
pub const NOT_READY_TAINT: &str = "node.sluice.dev/agent-not-ready";

/// Annotation of a [`NodeServiceProxy`](super::NodeServiceProxy): when an operator told the node its revision, by the clock of that operator (RFC 3339).
pub const MOVED_AT: &str = "sluice.dev/moved-at";
/// Annotation of a [`NodeServiceProxy`](super::NodeServiceProxy): the mode that the node was told with the revision that it would go back to.
pub const MODE_BEFORE: &str = "sluice.dev/mode-before";

/// Labels of nodes where no agent can be: Windows keeps kube-proxy; a machine of Amazon's Fargate holds one pod and runs nothing else; behind a
/// virtual kubelet is no kernel. The chart's `agent.nodeSelector` and `agent.affinity` say the same.
const WITHOUT_AGENT: [(&str, &str); 3] = [
    ("kubernetes.io/os", "windows"),
    ("eks.amazonaws.com/compute-type", "fargate"),
    ("type", "virtual-kubelet"),
];

/// Whether a node with these labels can have an agent.
#[must_use]
pub fn can_have_agent(labels: &BTreeMap<String, String>) -> bool {
    let has = |&(name, value): &(&str, &str)| labels.get(name).is_some_and(|is| is == value);
    !WITHOUT_AGENT.iter().any(has)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_can_have_an_agent_but_those_without_a_linux_kernel_for_one() {
        let can =
            |name: &str, value: &str| can_have_agent(&[(name.to_owned(), value.to_owned())].into());
        assert!(can_have_agent(&BTreeMap::new()));
        assert!(can("kubernetes.io/os", "linux"));
        assert!(can("eks.amazonaws.com/compute-type", "ec2"));
        assert!(can("type", "storage"));
        assert!(!can("kubernetes.io/os", "windows"));
        assert!(!can("eks.amazonaws.com/compute-type", "fargate"));
        assert!(!can("type", "virtual-kubelet"));
    }
}
