//! Values that cannot be meant are refused, by a sentence that says what to change.

use crate::rendering::{helm, objects, template, title};

const HOST: &str = "apiServer.host=192.0.2.10";

/// Values, and what is said of them.
const REFUSED: [(&[&str], &str); 28] = [
    (
        &[],
        "apiServer.host is missing: Sluice makes Services work, so it cannot reach the API server by the Service `kubernetes`. Set apiServer.host",
    ),
    (
        &[HOST, "apiServer.fromService=true"],
        "apiServer.host and apiServer.fromService=true contradict each other",
    ),
    (
        &["apiServer.host=https://192.0.2.10:6443"],
        "give the host alone, without https:// and without a port, which is apiServer.port",
    ),
    (&["apiServer.host=192.0.2.10:6443"], "give the host alone"),
    (
        &["apiServer.host=[2001:db8::10]:6443"],
        "give the host alone",
    ),
    (
        &["apiServer.host=kubernetes"],
        "apiServer.host is \"kubernetes\", the name of a Service: Sluice makes Services work",
    ),
    (
        &["apiServer.host=kubernetes.default.svc.cluster.local"],
        "the name of a Service",
    ),
    (
        &[HOST, "apiServer.port=0"],
        "at '/apiServer/port': minimum: got 0, want 1",
    ),
    (
        &[HOST, "agent.mode=ipvs"],
        "at '/agent/mode': value must be one of 'Auto', 'IPTables', 'IPVS'",
    ),
    (
        &[HOST, "agent.mod=IPVS"],
        "at '/agent': additional properties 'mod' not allowed",
    ),
    (
        &[HOST, "agents.mode=IPVS"],
        "additional properties 'agents' not allowed",
    ),
    (
        &[HOST, "agent.healthPort=10249"],
        "agent.healthPort and agent.metrics.port are both 10249: both are ports of the node, so give each its own",
    ),
    (
        &[HOST, "agent.maxUnavailable=0"],
        "at '/agent/maxUnavailable'",
    ),
    (
        &[HOST, "agent.metrics.bindAddress=localhost"],
        "at '/agent/metrics/bindAddress'",
    ),
    (
        &[HOST, "agent.firstServices={vault}"],
        "at '/agent/firstServices/0'",
    ),
    (
        &[HOST, "monitoring.podMonitor.enabled=true"],
        "agents tell their metrics on 127.0.0.1 only: set agent.metrics.bindAddress=0.0.0.0",
    ),
    (
        &[HOST, "cni.entry.type=bridge"],
        "cni.entry.type is \"bridge\": leave it out",
    ),
    (
        &[HOST, "cni.entry.requireAgnet=true"],
        "at '/cni/entry': additional properties 'requireAgnet' not allowed",
    ),
    (
        &[HOST, "cni.entry.requireAgent=yes"],
        "at '/cni/entry/requireAgent': got string, want boolean",
    ),
    (
        &[HOST, "cni.entry.statusGate=1"],
        "at '/cni/entry/statusGate': got number, want boolean",
    ),
    (
        &[HOST, "cni.entry.agentTimeoutMilliseconds=0"],
        "at '/cni/entry/agentTimeoutMilliseconds': minimum: got 0, want 1",
    ),
    (
        &[HOST, "cni.entry.agentTimeoutMilliseconds=10001"],
        "at '/cni/entry/agentTimeoutMilliseconds': maximum: got 10,001, want 10,000",
    ),
    (
        &[HOST, "cni.entry.withoutAgent.hairpin=PromiscuousBridge"],
        "at '/cni/entry/withoutAgent/hairpin': value must be one of 'HairpinVeth', 'None'",
    ),
    (
        &[HOST, "cni.entry.withoutAgent.sourceNat=Preserve"],
        "at '/cni/entry/withoutAgent': additional properties 'sourceNat' not allowed",
    ),
    // The agent's paths are fixed, so another one here would lead nowhere.
    (
        &[HOST, "cni.entry.socket=/run/agent.sock"],
        "at '/cni/entry': additional properties 'socket' not allowed",
    ),
    (&[HOST, "cni.binDir=opt"], "at '/cni/binDir'"),
    (
        &[HOST, "operator.replicas=two"],
        "at '/operator/replicas': got string, want integer",
    ),
    (
        &[HOST, "image.pullPolicy=Sometimes"],
        "value must be one of 'Always', 'IfNotPresent', 'Never'",
    ),
];

#[test]
fn wrong_values_are_refused_with_a_sentence() {
    let Some(helm) = helm("refused values") else {
        return;
    };
    for (values, words) in REFUSED {
        let set: Vec<&str> = values.iter().flat_map(|value| ["--set", value]).collect();
        let Err(told) = template(&helm, &set) else {
            panic!("{values:?} is not refused");
        };
        assert!(told.contains(words), "{values:?}: {told}");
    }
    let told = template(&helm, &["--set", HOST, "--kube-version", "1.31.4"]).unwrap_err();
    let words = "chart requires kubeVersion: >=1.32.0-0";
    assert!(told.contains(words), "{told}");
}

#[test]
fn an_address_of_the_api_server_is_a_name_or_an_address_of_either_family() {
    let Some(helm) = helm("addresses of the API server") else {
        return;
    };
    for (host, url) in [
        ("api.example.com", "https://api.example.com:6443"),
        ("192.0.2.10", "https://192.0.2.10:6443"),
        ("2001:db8::10", "https://[2001:db8::10]:6443"),
        ("[2001:db8::10]", "https://[2001:db8::10]:6443"),
        (
            "kubernetes.example.com",
            "https://kubernetes.example.com:6443",
        ),
    ] {
        let set = format!("apiServer.host={host}");
        let text = template(&helm, &["--set-string", &set]).unwrap();
        let told = text.matches(&format!("- --api-server={url}\n")).count();
        // The agent, the operator, and the test.
        assert_eq!(told, 3, "{host}");
    }
}

/// So worker nodes of Kubespray, RKE2 and k3s reach it: by a proxy on their loopback.
#[test]
fn an_api_server_on_the_loopback_of_nodes_is_the_agents_alone() {
    let Some(helm) = helm("an API server on loopback") else {
        return;
    };
    for (host, url) in [
        ("localhost", "https://localhost:6443"),
        ("127.0.0.1", "https://127.0.0.1:6443"),
        ("127.1.2.3", "https://127.1.2.3:6443"),
        ("::1", "https://[::1]:6443"),
        ("[::1]", "https://[::1]:6443"),
    ] {
        let set = format!("apiServer.host={host}");
        let objects = objects(&template(&helm, &["--set-string", &set]).unwrap());
        let told = format!("--api-server={url}");
        let who: Vec<String> = objects
            .iter()
            .filter(|object| object.to_string().contains("--api-server="))
            .map(|object| {
                assert!(object.to_string().contains(&told), "{object}");
                title(object)
            })
            .collect();
        assert_eq!(who, ["DaemonSet sluice-agent"], "{host}");
    }
}
