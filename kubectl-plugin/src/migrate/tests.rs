//! Advice by what is in a cluster.

use serde_json::{Value, json};

use super::configuration::Configuration;
use super::report::{Found, MigrateReport};
use crate::style::Style;

fn service(name: &str, spec: &Value) -> Value {
    let mut whole = json!({"clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"], "ports": [{"port": 80, "protocol": "TCP"}]});
    for (key, value) in spec.as_object().unwrap() {
        whole[key] = value.clone();
    }
    json!({"metadata": {"name": name, "namespace": "shop"}, "spec": whole})
}

fn found(configuration: &str, services: &[Value]) -> Found {
    Found {
        configuration: Configuration {
            text: format!("{{apiVersion: kubeproxy.config.k8s.io/v1alpha1, kind: KubeProxyConfiguration, {configuration}}}"),
            origin: "ConfigMap kube-system/kube-proxy".to_owned(),
            is_assumed: false,
        },
        daemon_set: Some(
            serde_json::from_value(json!({
                "metadata": {"name": "kube-proxy"},
                "spec": {"selector": {}, "template": {"spec": {"containers": [{"name": "kube-proxy", "image": "kube-proxy:v1.36.3"}]}}},
            }))
            .unwrap(),
        ),
        services: services.iter().cloned().map(serde_json::from_value).collect::<Result<_, _>>().unwrap(),
        nodes: vec![serde_json::from_value(json!({"metadata": {"name": "a"}, "spec": {"podCIDR": "10.244.0.0/24"}})).unwrap()],
        api_endpoints: vec![
            serde_json::from_value(json!({
                "metadata": {"name": "kubernetes"}, "addressType": "IPv4", "ports": [{"name": "https", "port": 6443}],
                "endpoints": [{"addresses": ["192.0.2.10"]}, {"addresses": ["192.0.2.11"]}],
            }))
            .unwrap(),
        ],
        server: "https://api.example.org:6443/".to_owned(),
    }
}

fn report(found: &Found) -> MigrateReport {
    MigrateReport::of(found).unwrap()
}

#[test]
fn the_configuration_becomes_a_policy_that_can_be_applied_and_what_is_lost_is_said() {
    let found = found(
        "mode: ipvs, ipvs: {scheduler: wlc}, clusterCIDR: 10.244.0.0/16, enableProfiling: true, clientConnection: {kubeconfig: /k}, logging: {format: json}",
        &[],
    );
    let report = report(&found);
    let text = report.text(Style::PLAIN);
    for line in [
        "# Policy that says what ConfigMap kube-system/kube-proxy says\napiVersion: sluice.dev/v1alpha1\n",
        "mode: IPVS",
        "scheduler: wlc",
        "enableProfiling: no profiles over HTTP",
        "\nagent:\n  logFormat: json\n",
        "From kube-proxy's IPVS mode: keep its scheduler",
        "kubectl -n kube-system delete daemonset kube-proxy",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert_eq!(
        report.kube_proxy_image.as_deref(),
        Some("kube-proxy:v1.36.3")
    );
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(
        json["agent"],
        json!({"logFormat": "json"}),
        "the rest is the chart's"
    );
    assert_eq!(json["policy"]["ipvs"]["scheduler"], "wlc");
    // In this order, or connections fail.
    let at = |words: &str| text.find(words).unwrap();
    assert!(at("Install the chart beside kube-proxy") < at("kubectl sluice status"));
    assert!(at("kubectl sluice status") < at("Take kube-proxy off"));
    assert!(at("Take kube-proxy off") < at("cleanup --kube-proxy --dry-run"));
}

#[test]
fn services_are_told_by_what_they_use() {
    let services = [
        service("plain", &json!({})),
        service("ips", &json!({"externalIPs": ["192.0.2.9"]})),
        service(
            "ranges",
            &json!({"type": "LoadBalancer", "loadBalancerSourceRanges": ["192.0.2.0/24"], "externalTrafficPolicy": "Local", "healthCheckNodePort": 30001}),
        ),
        service(
            "sticky",
            &json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}}),
        ),
        service(
            "usual",
            &json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}}}),
        ),
        service(
            "inner",
            &json!({"internalTrafficPolicy": "Local", "trafficDistribution": "PreferClose"}),
        ),
        service("dns", &json!({"ports": [{"port": 53, "protocol": "UDP"}]})),
        service(
            "headless",
            &json!({"clusterIP": "None", "externalIPs": ["192.0.2.9"]}),
        ),
        service(
            "alias",
            &json!({"type": "ExternalName", "sessionAffinity": "ClientIP"}),
        ),
    ];
    let report = report(&found("mode: iptables", &services));
    let users = |feature: &str| -> Vec<&str> {
        let row = report.features.iter().find(|one| one.name == feature);
        row.map(|row| {
            row.services
                .iter()
                .map(|name| name.trim_start_matches("shop/"))
                .collect()
        })
        .unwrap_or_default()
    };
    assert_eq!(report.service_count, 7);
    for (feature, expected) in [
        ("externalIPs", &["ips"][..]),
        ("loadBalancerSourceRanges", &["ranges"]),
        ("externalTrafficPolicy: Local", &["ranges"]),
        ("healthCheckNodePort", &["ranges"]),
        ("sessionAffinity: ClientIP", &["sticky", "usual"]),
        ("sessionAffinityConfig.clientIP.timeoutSeconds", &["sticky"]),
        ("internalTrafficPolicy: Local", &["inner"]),
        ("topology", &["inner"]),
        ("UDP", &["dns"]),
        ("SCTP", &[]),
        ("another proxy's name", &[]),
    ] {
        assert_eq!(users(feature), expected, "{feature}");
    }
    let text = report.text(Style::PLAIN);
    assert!(
        text.contains("# Services: 7\n- externalIPs (1): "),
        "{text}"
    );
    assert!(!text.contains("From kube-proxy's IPVS mode"));
}

#[test]
fn the_api_servers_address_is_one_that_works_without_services() {
    let mut found = found("mode: iptables", &[service("kubernetes", &json!({}))]);
    let address = |found: &Found| {
        report(found)
            .api_server
            .map(|one| format!("{} {}", one.host, one.port))
    };
    assert_eq!(address(&found).as_deref(), Some("api.example.org 6443"));
    for (server, expected) in [
        ("https://192.0.2.1/", "192.0.2.1 443"),
        ("https://[2001:db8::1]:6443/", "2001:db8::1 6443"),
        ("https://[2001:db8::1]/", "2001:db8::1 443"),
        // A tunnel, a Service and a gateway for people: what the Service leads to is better.
        ("https://127.0.0.1:40001/", "192.0.2.10 6443"),
        ("https://localhost:6443/", "192.0.2.10 6443"),
        ("https://10.96.0.7/", "192.0.2.10 6443"),
        (
            "https://gateway.example.org/clusters/one",
            "192.0.2.10 6443",
        ),
    ] {
        server.clone_into(&mut found.server);
        assert_eq!(address(&found).as_deref(), Some(expected), "{server}");
    }
    let text = report(&found).text(Style::PLAIN);
    assert!(
        text.contains("  host: \"192.0.2.10\"  # one of 2 API servers"),
        "{text}"
    );
    found.api_endpoints.clear();
    assert_eq!(address(&found), None);
    assert!(
        report(&found)
            .text(Style::PLAIN)
            .contains("no address of the API server that works without Services")
    );
}

#[test]
fn a_cluster_without_the_usual_objects_is_told_what_to_give() {
    let mut found = found("mode: iptables", &[]);
    found.configuration = Configuration::assumed();
    found.daemon_set = None;
    found.nodes = vec![serde_json::from_value(json!({"metadata": {"name": "a"}})).unwrap()];
    let text = report(&found).text(Style::PLAIN);
    for line in [
        "give its configuration by --file",
        "1 of 1 nodes have no spec.podCIDRs",
        "disable-kube-proxy",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(!text.contains("delete daemonset"));
    found.configuration.text = "a: b".to_owned();
    let error = MigrateReport::of(&found).unwrap_err().to_string();
    assert!(
        error.contains("kube-proxy's defaults") && error.contains("KubeProxyConfiguration"),
        "{error}"
    );
}
