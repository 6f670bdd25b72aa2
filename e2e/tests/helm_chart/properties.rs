//! What holds for every rendering.

use serde_json::Value;

use crate::rendering::{CASES, case, helm, objects, title};

/// The pod templates among objects, and pods themselves.
fn pods(objects: &[Value]) -> Vec<(String, &Value)> {
    let spec = |object: &Value| match object["kind"].as_str() {
        Some("Pod") => Some("/spec".to_owned()),
        Some("DaemonSet" | "Deployment" | "Job") => Some("/spec/template/spec".to_owned()),
        _ => None,
    };
    objects
        .iter()
        .filter_map(|object| Some((title(object), object.pointer(&spec(object)?)?)))
        .collect()
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers"]
        .into_iter()
        .filter_map(|kind| pod[kind].as_array())
        .flatten()
}

/// What a container may have beside nothing at all, and where.
const CAPABILITIES: [&str; 4] = ["NET_ADMIN", "NET_RAW", "SYS_ADMIN", "SYS_MODULE"];
/// What of the node a pod may see.
const HOST_PATHS: [&str; 7] = [
    "/run/sluice",
    "/var/lib/sluice",
    "/run/xtables.lock",
    "/proc/sys/net",
    "/lib/modules",
    "/opt/cni/bin",
    "/etc/cni/net.d",
];

#[test]
fn no_container_has_more_than_it_is_known_to_need() {
    let Some(helm) = helm("rights of containers") else {
        return;
    };
    for name in CASES {
        let objects = objects(&case(&helm, name));
        let pods = pods(&objects);
        assert!(pods.len() >= 3, "{name}: {}", pods.len());
        for (of, pod) in pods {
            assert_eq!(
                pod.pointer("/securityContext/seccompProfile/type"),
                Some(&Value::from("RuntimeDefault")),
                "{name}: {of}"
            );
            for container in containers(pod) {
                let what = format!("{name}: {of}: {}", container["name"]);
                let context = &container["securityContext"];
                assert!(context["privileged"].is_null(), "{what}");
                assert_eq!(context["readOnlyRootFilesystem"], true, "{what}");
                assert_eq!(context["allowPrivilegeEscalation"], false, "{what}");
                let dropped = &context["capabilities"]["drop"];
                assert_eq!(*dropped, serde_json::json!(["ALL"]), "{what}");
                let added = context["capabilities"]["add"].as_array();
                let known: &[&str] = match container["args"][0].as_str() {
                    Some("run" | "cleanup") => &CAPABILITIES,
                    Some("install" | "uninstall") => &["DAC_OVERRIDE"],
                    _ => &[],
                };
                for capability in added.into_iter().flatten().filter_map(Value::as_str) {
                    assert!(known.contains(&capability), "{what}");
                    let loads = name == "everything";
                    assert!(capability != "SYS_MODULE" || loads, "{what}");
                }
                // Where SELinux is enforced, it is what may write on the node.
                let mounts = container["volumeMounts"].as_array();
                let is_confined = context["seLinuxOptions"]["type"] != "spc_t";
                assert!(mounts.is_none_or(Vec::is_empty) == is_confined, "{what}");
                for resource in ["cpu", "memory"] {
                    let request = &container["resources"]["requests"][resource];
                    assert!(request.is_string(), "{what}: {resource}");
                }
            }
            for volume in pod["volumes"].as_array().into_iter().flatten() {
                let path = volume.pointer("/hostPath/path").and_then(Value::as_str);
                assert!(
                    path.is_some_and(|path| HOST_PATHS.contains(&path)),
                    "{name}: {of}: {volume}"
                );
            }
        }
    }
}

#[test]
fn no_pod_asks_cluster_dns() {
    let Some(helm) = helm("name resolution of pods") else {
        return;
    };
    for name in CASES {
        for (of, pod) in pods(&objects(&case(&helm, name))) {
            // In the node's network, ClusterFirst means the node's resolver.
            let asks_the_node = pod["dnsPolicy"] == "Default"
                || (pod["hostNetwork"] == true && pod["dnsPolicy"].is_null());
            assert!(asks_the_node, "{name}: {of}");
        }
    }
}

#[test]
fn a_container_that_ends_leaves_its_sentence_in_the_status_of_its_pod() {
    let Some(helm) = helm("last words of containers") else {
        return;
    };
    for name in CASES {
        for (of, pod) in pods(&objects(&case(&helm, name))) {
            for container in containers(pod) {
                assert_eq!(
                    container["terminationMessagePolicy"], "FallbackToLogsOnError",
                    "{name}: {of}: {}",
                    container["name"]
                );
            }
        }
    }
}

#[test]
fn who_needs_no_root_has_none() {
    let Some(helm) = helm("users of containers") else {
        return;
    };
    let objects = objects(&case(&helm, "in-cluster"));
    let pods = pods(&objects);
    let others: Vec<_> = pods
        .into_iter()
        .filter(|(of, _)| of != "DaemonSet sluice-agent")
        .collect();
    assert_eq!(others.len(), 2, "{others:?}");
    for (of, pod) in others {
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{of}");
        assert!(
            pod["hostNetwork"].is_null() && pod["volumes"].is_null(),
            "{of}"
        );
    }
}

#[test]
fn objects_of_a_namespace_say_which_and_no_two_are_the_same() {
    let Some(helm) = helm("objects of the chart") else {
        return;
    };
    let of_no_namespace = [
        "CustomResourceDefinition",
        "ClusterRole",
        "ClusterRoleBinding",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    ];
    for name in CASES {
        let objects = objects(&case(&helm, name));
        let mut titles: Vec<String> = objects.iter().map(title).collect();
        titles.sort();
        let all = titles.len();
        titles.dedup();
        assert_eq!(titles.len(), all, "{name}");
        for object in &objects {
            let kind = object["kind"].as_str().unwrap();
            if of_no_namespace.contains(&kind) {
                continue;
            }
            let namespace = &object["metadata"]["namespace"];
            assert_eq!(namespace, "sluice-system", "{name}: {}", title(object));
        }
    }
}

#[test]
fn nothing_is_of_the_kinds_that_the_chart_defines() {
    let Some(helm) = helm("kinds in the chart") else {
        return;
    };
    for name in CASES {
        for object in objects(&case(&helm, name)) {
            let version = object["apiVersion"].as_str().unwrap();
            assert!(!version.starts_with("sluice.dev/"), "{}", title(&object));
        }
    }
}

#[test]
fn the_right_to_patch_nodes_comes_with_the_option_that_needs_it() {
    let Some(helm) = helm("the right to patch nodes") else {
        return;
    };
    for name in CASES {
        let objects = objects(&case(&helm, name));
        let patches_nodes = |rule: &Value| {
            let has = |list: &str, word: &str| {
                let words = rule[list].as_array();
                words.is_some_and(|words| words.iter().any(|one| one == word))
            };
            has("resources", "nodes") && (has("verbs", "patch") || has("verbs", "*"))
        };
        let of_role = |object: &&Value| {
            let rules = object["rules"].as_array();
            rules.is_some_and(|rules| rules.iter().any(patches_nodes))
        };
        let roles: Vec<String> = objects.iter().filter(of_role).map(title).collect();
        let expected: &[&str] = match name {
            "everything" => &["ClusterRole sluice-operator-taint"],
            _ => &[],
        };
        assert_eq!(roles, expected, "{name}");
        let is_bound = objects
            .iter()
            .any(|object| object.pointer("/roleRef/name") == Some(&"sluice-operator-taint".into()));
        assert_eq!(is_bound, name == "everything", "{name}");
    }
}

/// Metrics of Services have a label `namespace` of their own, which alerts go by.
#[test]
fn a_scrape_keeps_the_labels_of_metrics() {
    let Some(helm) = helm("labels of metrics") else {
        return;
    };
    let objects = objects(&case(&helm, "everything"));
    let monitors = objects.iter().filter(|one| one["kind"] == "PodMonitor");
    let endpoints: Vec<&Value> = monitors
        .filter_map(|monitor| monitor.pointer("/spec/podMetricsEndpoints")?.as_array())
        .flatten()
        .collect();
    assert_eq!(endpoints.len(), 2, "{endpoints:?}");
    for endpoint in endpoints {
        assert_eq!(endpoint["honorLabels"], true, "{endpoint}");
    }
}
