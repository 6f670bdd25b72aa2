//! What kind, kubeadm and the control plane are told of the cluster. A slower machine gets more time for everything.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::daemon::may_have_every_capability;
use super::error::{KindError, failed};
use crate::lab::pace::{pace, stretched};

/// The roles of the nodes, and their pools by the label `pool`.
pub(super) const POOLS: [(&str, &str); 3] = [
    ("control-plane", "control"),
    ("worker", "a"),
    ("worker", "b"),
];
/// Where the control plane's node has the patches.
const PATCHES: &str = "/kind/patches";
/// As kubeadm writes it into the manifests of the control plane.
const FAILURES_OF_A_PROBE: u32 = 8;
/// How long a node may be silent before its pods are taken out of Services, by default.
const SILENCE: Duration = Duration::from_secs(50);

/// kind's configuration. Patches of the control plane's manifests come into that directory.
pub(super) fn config(directory: &Path) -> Result<Value, KindError> {
    write_patches(directory)?;
    let nodes = POOLS.map(|(role, pool)| {
        let mut node = json!({"role": role, "labels": {"pool": pool}});
        if role == "control-plane" {
            let mount = json!({"hostPath": directory, "containerPath": PATCHES, "readOnly": true});
            node["extraMounts"] = json!([mount]);
        }
        node
    });
    // Refused by default on cgroup v1 since 1.35.
    let kubelet = json!({"kind": "KubeletConfiguration", "failCgroupV1": false});
    let mut init = patient("InitConfiguration");
    init["patches"] = json!({"directory": PATCHES});
    // A slow machine would take half a minute for keys, and long for every handshake.
    let keys = json!({"kind": "ClusterConfiguration", "encryptionAlgorithm": "ECDSA-P256"});
    let kubeadm = [kubelet, keys, init, patient("JoinConfiguration")];
    let kubeadm = kubeadm.map(|patch| patch.to_string());
    let mut config = json!({
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "networking": {"disableDefaultCNI": true, "kubeProxyMode": "none", "ipFamily": "dual"},
        "kubeadmConfigPatches": kubeadm,
        "nodes": nodes,
    });
    if !may_have_every_capability() {
        // Then nothing may make itself less likely to be killed, and pods that are to be would not start.
        let patch = "[plugins.\"io.containerd.grpc.v1.cri\"]\n  restrict_oom_score_adj = true\n";
        config["containerdConfigPatches"] = json!([patch]);
    }
    Ok(config)
}

/// kubeadm's own patience.
fn patient(kind: &str) -> Value {
    let minutes = |minutes: u64| {
        let time = stretched(Duration::from_secs(60 * minutes));
        format!("{}s", time.as_secs())
    };
    let timeouts = json!({
        "controlPlaneComponentHealthCheck": minutes(4),
        "kubeletHealthCheck": minutes(4),
        // So long it waits for the first API server too.
        "kubernetesAPICall": minutes(4),
        "tlsBootstrap": minutes(5),
    });
    json!({"kind": kind, "timeouts": timeouts})
}

/// The kubelet ends a component that is slow to say that it lives, and one that is slow to renew its lease ends itself; of each there is one.
fn write_patches(directory: &Path) -> Result<(), KindError> {
    let alone = "--leader-elect=false".to_owned();
    let silence = stretched(SILENCE).as_secs();
    let silence = format!("--node-monitor-grace-period={silence}s");
    let components = [
        ("etcd", vec![]),
        ("kube-apiserver", vec![]),
        ("kube-controller-manager", vec![alone.clone(), silence]),
        ("kube-scheduler", vec![alone]),
    ];
    let cannot = || failed(format!("write patches into {}", directory.display()));
    std::fs::create_dir_all(directory).map_err(cannot())?;
    for (component, flags) in components {
        let container = "/spec/containers/0";
        let set = |operation: &str, path: &str, value: Value| json!({"op": operation, "path": format!("{container}/{path}"), "value": value});
        let patience = FAILURES_OF_A_PROBE * pace();
        let mut patches = vec![
            set("replace", "livenessProbe/failureThreshold", json!(patience)),
            // There is memory enough to collect garbage seldom.
            set("add", "env", json!([{"name": "GOGC", "value": "400"}])),
        ];
        // kubeadm has the others asked each second, and this one not at all.
        if component != "kube-controller-manager" {
            patches.push(set(
                "replace",
                "readinessProbe/periodSeconds",
                json!(pace()),
            ));
        }
        let flags = flags.into_iter();
        patches.extend(flags.map(|flag| set("add", "command/-", json!(flag))));
        let file = directory.join(format!("{component}+json.json"));
        std::fs::write(file, Value::from(patches).to_string()).map_err(cannot())?;
    }
    Ok(())
}
