//! Advice by a kube-proxy that a cluster has.

use serde_json::json;

use crate::world::World;

const CONFIGURATION: &str = "
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: ipvs
ipvs: {scheduler: wlc}
clusterCIDR: 10.244.0.0/16
enableProfiling: true
";

#[test]
fn the_policy_that_is_advised_is_one_that_the_api_server_takes() {
    let Some(world) = World::up("migrate") else {
        return;
    };
    let plugin = &world.plugin;
    let labels = json!({"k8s-app": "kube-proxy"});
    world.apply(&[
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": "kubernetes-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"}},
            "ports": [{"name": "https", "port": 6443}], "endpoints": [{"addresses": ["192.0.2.10"]}],
        }),
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kube-proxy", "namespace": "kube-system"},
            "data": {"config.conf": CONFIGURATION},
        }),
        json!({
            "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "kube-proxy", "namespace": "kube-system"},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "kube-proxy", "image": "kube-proxy:v1"}]}},
            },
        }),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
            "spec": {"externalIPs": ["198.51.100.80"], "sessionAffinity": "ClientIP", "ports": [{"port": 80}]},
        }),
    ]);
    let (advice, said) = plugin.json(&["migrate"]).unwrap();
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(advice["configuration"], "ConfigMap kube-system/kube-proxy");
    assert_eq!(advice["policy"]["ipvs"]["scheduler"], "wlc", "{advice}");
    // The kubeconfig's address is a loopback one here, so it is that of an endpoint.
    assert_eq!(advice["apiServer"]["host"], "192.0.2.10", "{advice}");
    let features: Vec<&str> = advice["features"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(features, ["externalIPs", "sessionAffinity: ClientIP"]);

    let kubectl = world.installation.kubectl();
    let manifest = advice["manifest"].as_str().unwrap();
    kubectl
        .run_with_input(&["apply", "-f", "-"], manifest)
        .unwrap();
    let mode = kubectl
        .run(&["get", "spp/from-kube-proxy", "-o=jsonpath={.spec.mode}"])
        .unwrap();
    assert_eq!(mode, "IPVS");
    // And the command that takes kube-proxy off the nodes is one that works.
    let steps: Vec<&str> = advice["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step.as_str().unwrap())
        .collect();
    let command = steps
        .iter()
        .flat_map(|step| step.split('`'))
        .find(|words| words.contains("patch daemonset"))
        .unwrap();
    let patch = command.split('\'').nth(1).unwrap();
    kubectl
        .run(&[
            "-n",
            "kube-system",
            "patch",
            "daemonset",
            "kube-proxy",
            "--type",
            "merge",
            "-p",
            patch,
        ])
        .unwrap();
    let selector = [
        "-n",
        "kube-system",
        "get",
        "daemonset/kube-proxy",
        "-o=jsonpath={.spec.template.spec.nodeSelector}",
    ];
    assert!(
        kubectl
            .run(&selector)
            .unwrap()
            .contains("sluice.dev/kube-proxy")
    );
}

#[test]
fn without_a_configuration_that_can_be_read_it_is_said_what_to_give() {
    let Some(world) = World::up("migrate without a configuration") else {
        return;
    };
    let plugin = &world.plugin;
    let bare = plugin.run(&["migrate"]).unwrap();
    assert_eq!(bare.code, Some(0), "{}", bare.stderr);
    assert!(
        bare.stdout
            .contains("there is no ConfigMap kube-system/kube-proxy"),
        "{}",
        bare.stdout
    );

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.conf");
    std::fs::write(&file, "apiVersion: v1\nkind: Pod\n").unwrap();
    let file = file.display().to_string();
    let wrong = plugin.run(&["migrate", "--file", &file]).unwrap();
    assert_eq!(wrong.code, Some(2));
    assert!(
        wrong.stderr.contains(&file) && wrong.stderr.contains("this is Pod of v1"),
        "{}",
        wrong.stderr
    );
    let absent = plugin.run(&["migrate", "--file=/nonexistent"]).unwrap();
    assert!(
        absent.stderr.contains("/nonexistent cannot be read"),
        "{}",
        absent.stderr
    );
}
