//! The way, step by step. Pure.

use super::{NAME, NAMESPACE};

/// What decides the steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Way {
    /// kube-proxy is a `DaemonSet` where it usually is.
    pub(super) is_daemon_set: bool,
    /// kube-proxy's mode is IPVS.
    pub(super) from_ipvs: bool,
}

/// Commands are between backticks.
pub(super) fn steps(way: Way) -> Vec<String> {
    let mut steps = vec![
        "Keep the policy above as a file, read its comments, and apply it once Sluice's definitions are in the cluster: `kubectl apply -f policy.yaml`. Nodes are \
         moved to a policy step by step (`spec.rollout`)."
            .to_owned(),
        "Install the chart beside kube-proxy, with the values above. While both run, give Sluice's agents other ports than kube-proxy's \
         10256 and 10249: `--set agent.healthPort=20256 --set agent.metrics.port=20249`. \
         Both can serve at once: whoever sees a connection first translates it."
            .to_owned(),
        "Wait until every node holds its rules: `kubectl sluice status` says that nothing is wrong, and `kubectl sluice diff --node NODE` that kernel and API \
         server agree."
            .to_owned(),
    ];
    steps.push(if way.is_daemon_set {
        format!(
            "Take kube-proxy off the nodes in a way that goes back: `kubectl -n {NAMESPACE} patch daemonset {NAME} --type merge -p \
             '{{\"spec\":{{\"template\":{{\"spec\":{{\"nodeSelector\":{{\"sluice.dev/kube-proxy\":\"here\"}}}}}}}}}}'`. Its rules stay and serve on."
        )
    } else {
        format!(
            "Stop kube-proxy. There is no DaemonSet {NAMESPACE}/{NAME}, so your distribution runs it in another way (k3s and RKE2 by the flag \
             disable-kube-proxy, kubeadm by --skip-phases=addon/kube-proxy). Its rules stay and serve on."
        )
    });
    steps.push(
        "On each node, or in each agent's pod, remove what kube-proxy left: `sluice-agent cleanup --kube-proxy --dry-run` lists it, without --dry-run it goes. It refuses while kube-proxy \
         runs or nothing of Sluice serves."
            .to_owned(),
    );
    if way.from_ipvs {
        steps.push(
            "From kube-proxy's IPVS mode: keep its scheduler in the policy, as above. Sluice's IPVS mode takes its virtual servers over. To iptables mode, \
             `cleanup --kube-proxy` leaves what has connections and says so: run it again when they have ended."
                .to_owned(),
        );
    }
    steps.push(
        "Load balancers that ask for a node's health on 10256 hear nobody meanwhile: give the agents that port now, by a `helm upgrade` without the two values."
            .to_owned(),
    );
    steps.push(if way.is_daemon_set {
        format!("When all is well for some days: `kubectl -n {NAMESPACE} delete daemonset {NAME}`.")
    } else {
        "When all is well for some days, take kube-proxy out of what installs your nodes."
            .to_owned()
    });
    steps.push(
        "Back, at any time: start kube-proxy and wait until its rules are on every node (`iptables-save -t nat | grep KUBE-SVC`; its /healthz says yes from the \
         start). Then stop Sluice's agents, and `sluice-agent cleanup` on each node; with the chart: `helm upgrade` with cleanup=true, then `helm uninstall`."
            .to_owned(),
    );
    steps
}
