//! The definitions that an API server is given.

#![allow(clippy::unwrap_used)] // Helpers of tests fail as tests do.

#[path = "../examples/api-reference/reference.rs"]
mod reference;
#[path = "../examples/crd-yaml/render.rs"]
mod render;

use std::path::Path;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::cel::apply_defaults;
use serde_json::{Value, json};
use sluice_crds::v1alpha1::{
    NodeServiceProxySpec, ResolvedSettings, ServiceProxyPolicySpec, definitions,
};

#[test]
fn the_files_of_the_chart_are_up_to_date() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(render::FOLDER);
    for (name, text) in render::files().unwrap() {
        let file = std::fs::read_to_string(folder.join(&name)).unwrap_or_default();
        assert!(
            file == text,
            "{name} is not what the types say: run `make crds`"
        );
    }
}

#[test]
fn the_reference_for_people_is_up_to_date_and_has_every_field() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(reference::PATH);
    let text = reference::text().unwrap();
    let file = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        file == text,
        "docs/api-reference.md is not what the types say: run `make crds`"
    );
    for field in [
        "`sourceNAT.podClasses[].snat.addressCIDRs[]`",
        "`rollout.progressDeadlineSeconds`",
        "`settings.ipvs.scheduler`",
        "`conditions[]`",
    ] {
        assert!(text.contains(field), "{field}");
    }
}

#[test]
fn the_files_say_what_the_definitions_say() {
    for ((_, text), crd) in render::files().unwrap().iter().zip(definitions()) {
        let read: CustomResourceDefinition = serde_saphyr::from_str(text).unwrap();
        assert_eq!(read, crd);
    }
}

fn schema(crd: &CustomResourceDefinition) -> Value {
    let schema = crd.spec.versions[0].schema.as_ref().unwrap();
    serde_json::to_value(schema.open_api_v3_schema.as_ref().unwrap()).unwrap()
}

fn spec_schemas() -> [Value; 2] {
    definitions().map(|crd| schema(&crd)["properties"]["spec"].clone())
}

/// Calls `visit` for every schema in the schema, the outer before the inner, with its path; that of a list's items ends in `[]`.
fn walk(schema: &Value, path: &str, visit: &mut impl FnMut(&str, &Value)) {
    visit(path, schema);
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        walk(field, &format!("{path}.{name}"), visit);
    }
    for inner in [&schema["items"], &schema["additionalProperties"]] {
        if inner.is_object() {
            walk(inner, &format!("{path}[]"), visit);
        }
    }
}

fn each(mut check: impl FnMut(&str, &Value) -> bool) {
    let mut wrong = Vec::new();
    for crd in definitions() {
        walk(&schema(&crd), &crd.spec.names.kind, &mut |path, schema| {
            if !check(path, schema) {
                wrong.push(path.to_owned());
            }
        });
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_field_has_a_description() {
    each(|path, schema| {
        // What an item of plain texts is, its list says.
        let plain_item = path.ends_with("[]") && schema["type"] != "object";
        let text = schema["description"].as_str().unwrap_or_default();
        plain_item || text.ends_with('.') && !text.contains("[`")
    });
}

#[test]
fn nothing_may_be_null_and_no_unknown_field_is_kept() {
    each(|_, schema| {
        schema.get("nullable").is_none()
            && schema.get("anyOf").is_none()
            && schema.get("oneOf").is_none()
            && schema.get("x-kubernetes-preserve-unknown-fields").is_none()
            && schema["type"].is_string()
    });
}

#[test]
fn numbers_have_a_format_that_is_known_and_bounds() {
    each(|_, schema| {
        schema["type"] != "integer" || schema["format"] == "int64" && schema["minimum"].is_number()
    });
}

#[test]
fn lists_and_texts_are_bounded_so_that_rules_are_cheap() {
    each(|_, schema| match schema["type"].as_str() {
        Some("array") => schema["maxItems"].is_number(),
        Some("string") => {
            schema["maxLength"].is_number()
                || schema["enum"].is_array()
                || schema["format"].is_string()
        }
        Some("object") => {
            schema.get("additionalProperties").is_none() || schema["maxProperties"].is_number()
        }
        _ => true,
    });
}

#[test]
fn the_defaults_of_the_schema_are_those_of_the_types() {
    let [policy, node] = spec_schemas();
    let defaults = apply_defaults(&policy, &json!({}));
    let types = ServiceProxyPolicySpec::default();
    assert_eq!(
        serde_json::from_value::<ServiceProxyPolicySpec>(defaults.clone()).unwrap(),
        types
    );
    assert_eq!(defaults, serde_json::to_value(types).unwrap());
    let defaults = apply_defaults(&node["properties"]["settings"], &json!({}));
    assert_eq!(
        defaults,
        serde_json::to_value(ResolvedSettings::default()).unwrap()
    );
}

#[test]
fn the_settings_of_a_node_are_those_of_the_policy() {
    let [policy, node] = spec_schemas();
    let mut of_policy = policy["properties"].as_object().unwrap().clone();
    for operators in ["nodeSelector", "priority", "mode", "auto", "rollout"] {
        assert!(of_policy.remove(operators).is_some(), "{operators}");
    }
    assert_eq!(
        Value::Object(of_policy),
        node["properties"]["settings"]["properties"]
    );
}

#[test]
fn a_node_is_told_what_the_policy_says_but_for_what_is_the_operators() {
    let policy: ServiceProxyPolicySpec = serde_json::from_value(json!({
        "mode": "IPVS",
        "iptables": {"variant": "NFT"},
        "ipvs": {"scheduler": "lc"},
        "sourceNAT": {"masqueradeAll": true, "podClasses": [{"name": "a", "action": "Preserve", "egress": true}]},
        "hairpin": {"mode": "None"},
        "conntrack": {"maxPerCore": 1, "min": 1},
        "modeSwitch": {"drainTimeoutSeconds": 1},
        "nodePorts": {"addresses": ["primary"]},
        "sync": {"fullIntervalSeconds": 60},
        "sysctls": [{"name": "net.core.somaxconn", "value": "1"}],
        "endpointWeights": [{"weight": 2}],
        "serviceOverrides": [{"ipvsScheduler": "sh"}],
    }))
    .unwrap();
    let node: NodeServiceProxySpec = serde_json::from_value(json!({
        "policy": "edge", "policyGeneration": 1, "revision": "edge-1", "mode": "IPVS",
        "settings": ResolvedSettings::from(&policy),
    }))
    .unwrap();
    assert_eq!(node.as_policy(), policy);
    assert_eq!(node.validate(), []);
}

#[test]
fn what_is_wrong_with_a_node_names_its_own_fields() {
    let node: NodeServiceProxySpec = serde_json::from_value(json!({
        "policy": "edge", "policyGeneration": 1, "revision": "edge-1", "mode": "IPVS",
        "settings": {"nodePorts": {"localhost": true}, "sourceNAT": {"markBit": 32}},
    }))
    .unwrap();
    let problems: Vec<String> = node.validate().iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "spec.mode: IPVS cannot serve node ports on 127.0.0.1: set settings.nodePorts.localhost to false, or mode to IPTables",
            "spec.settings.sourceNAT.markBit: 32 is not between 0 and 31",
        ]
    );
}

#[test]
fn columns_show_fields_that_there_are() {
    for crd in definitions() {
        let schema = schema(&crd);
        let version = &crd.spec.versions[0];
        for column in version.additional_printer_columns.as_ref().unwrap() {
            let path = column.json_path.strip_prefix('.').unwrap();
            let path = path.split("[?").next().unwrap();
            if path == "metadata.creationTimestamp" {
                continue;
            }
            let field = path
                .split('.')
                .fold(&schema, |schema, name| &schema["properties"][name]);
            let shown = column.json_path.contains("[?") || field["type"] == column.type_;
            assert!(field.is_object() && shown, "{}", column.json_path);
        }
    }
}

#[test]
fn names_are_short_and_kinds_of_the_whole_cluster() {
    let names = definitions().map(|crd| {
        assert_eq!(crd.spec.scope, "Cluster");
        let version = &crd.spec.versions[0];
        assert!(version.subresources.as_ref().unwrap().status.is_some());
        (crd.metadata.name, crd.spec.names.short_names)
    });
    let of = |name: &str, short: &str| (Some(name.to_owned()), Some(vec![short.to_owned()]));
    assert_eq!(
        names,
        [
            of("serviceproxypolicies.sluice.dev", "spp"),
            of("nodeserviceproxies.sluice.dev", "nsp"),
        ]
    );
}
