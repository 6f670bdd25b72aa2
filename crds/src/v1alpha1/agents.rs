//! Which nodes agents are for.

use std::collections::BTreeMap;

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
