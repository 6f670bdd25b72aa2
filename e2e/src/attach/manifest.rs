//! What a node's agent is told by a file.

/// A Node whose pods have the addresses of [`Node::addresses`](super::Node::addresses), and a policy with these classes, a list as in YAML. Where
/// settings come from files no labels are known, so a class that asks for some takes no pod.
pub fn manifest(pod_classes: &str) -> String {
    format!(
        "apiVersion: v1
kind: Node
metadata: {{name: node-a}}
spec: {{podCIDRs: [10.99.0.0/24, 'fd00:99::/112']}}
status: {{addresses: [{{type: InternalIP, address: 10.99.0.1}}, {{type: InternalIP, address: 'fd00:99::1'}}]}}
---
apiVersion: sluice.dev/v1alpha1
kind: ServiceProxyPolicy
metadata: {{name: everything}}
spec:
  mode: IPTables
  sourceNAT: {{podClasses: {pod_classes}}}
"
    )
}
