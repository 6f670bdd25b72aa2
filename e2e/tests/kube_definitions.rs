//! The definitions of the chart on a real API server: what it makes of them, and what it says of every object of the table
//! that `sluice-crds` tests them with.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code)] // What the agent says of an object is for the suite beside the table.
#[path = "../../crds/tests/objects/table.rs"]
mod table;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sluice_crds::v1alpha1::{
    NodeServiceProxySpec, NodeServiceProxyStatus, ServiceProxyPolicySpec, ServiceProxyPolicyStatus,
    definitions,
};
use sluice_e2e::control_plane::{Api, ControlPlane, Kubectl, Options, Reply};

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/sluice/files/crds");
const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crds/tests/objects");
const GROUP: &str = "/apis/sluice.dev/v1alpha1";
const PLURALS: [&str; 2] = ["serviceproxypolicies", "nodeserviceproxies"];
/// For what the API server does by itself within a second where nothing else is done.
const PATIENCE: Duration = Duration::from_secs(60);

/// With the definitions, which can be used. `None`, and reported, where there are no programs and no Go to build them.
fn start(test: &str) -> Option<ControlPlane> {
    let control_plane = ControlPlane::start_or_skip(test, &Options::default()).unwrap()?;
    let kubectl = control_plane.kubectl().unwrap();
    apply(&kubectl, "created");
    for plural in PLURALS {
        let name = format!("crd/{plural}.sluice.dev");
        kubectl
            .run(&["wait", "--for=condition=Established", &name])
            .unwrap();
    }
    // Discovery and documentation follow. This asks, whatever is remembered of it.
    wait_until("kubectl knows both kinds", || {
        let found = kubectl.run(&["api-resources", "--api-group=sluice.dev", "-o", "name"]);
        found.is_ok_and(|found| PLURALS.iter().all(|plural| found.contains(plural)))
            && kubectl.run(&["explain", "spp"]).is_ok()
            && kubectl.run(&["explain", "nsp"]).is_ok()
    });
    Some(control_plane)
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "not yet: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Applies the definitions of the chart, each of which then has been so, without a warning.
fn apply(kubectl: &Kubectl, done: &str) {
    let answer = kubectl.answer(&["apply", "-f", CHART], "").unwrap();
    assert_eq!(answer.stderr, "");
    let mut found: Vec<&str> = answer.stdout.lines().collect();
    found.sort_unstable();
    let crd = "customresourcedefinition.apiextensions.k8s.io";
    let mut expected = PLURALS.map(|plural| format!("{crd}/{plural}.sluice.dev {done}"));
    expected.sort_unstable();
    assert_eq!(found, expected);
}

fn path(object: &Value) -> String {
    let of_policies = object["kind"] == "ServiceProxyPolicy";
    format!("{GROUP}/{}", PLURALS[usize::from(!of_policies)])
}

/// Makes the object, then gives it its status, if it has one; the last answer. Unknown fields are refused, as for `kubectl`.
fn create(api: &Api, object: &Value) -> Reply {
    let path = path(object);
    let strict = "fieldValidation=Strict";
    let mut reply = api.post(&format!("{path}?{strict}"), object).unwrap();
    if let (true, Some(status)) = (reply.is_success(), object.get("status")) {
        let name = object["metadata"]["name"].as_str().unwrap();
        reply.body["status"] = status.clone();
        let path = format!("{path}/{name}/status?{strict}");
        reply = api.put(&path, &reply.body).unwrap();
    }
    reply
}

/// Field and words of each refusal.
fn refusals(reply: &Reply) -> Vec<(&str, &str)> {
    if reply.is_success() {
        return Vec::new();
    }
    let causes = reply.body["details"]["causes"].as_array();
    let found: Vec<_> = causes
        .into_iter()
        .flatten()
        .map(|cause| {
            let field = cause["field"].as_str().unwrap_or_default();
            (field, cause["message"].as_str().unwrap_or_default())
        })
        // Such as that rules were not looked at.
        .filter(|(field, _)| !["", "<nil>"].contains(field))
        .collect();
    if found.is_empty() {
        vec![("", reply.body["message"].as_str().unwrap_or_default())]
    } else {
        found
    }
}

#[test]
fn it_says_of_each_object_what_the_table_says() {
    let Some(control_plane) = start("objects") else {
        return;
    };
    let api = control_plane.api().unwrap();
    let begun = Instant::now();
    let rows = table::rows(Path::new(TABLE));
    let mut wrong = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let mut object = row.object();
        object["metadata"]["name"] = json!(format!("row-{number}"));
        let reply = create(&api, &object);
        let found = refusals(&reply);
        let fields: BTreeSet<&str> = found.iter().map(|(field, _)| *field).collect();
        let expected: BTreeSet<&str> = row.refused.keys().map(String::as_str).collect();
        let as_said = fields == expected
            && found
                .iter()
                .all(|(field, words)| words.contains(&row.refused[*field]));
        if !as_said {
            wrong.push(format!(
                "{}: {found:#?} in place of {:#?}",
                row.name, row.refused
            ));
        }
    }
    println!(
        "{} objects in {:.2} s",
        rows.len(),
        begun.elapsed().as_secs_f64()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the types make of a part of an object.
fn typed<T: serde::de::DeserializeOwned + serde::Serialize>(part: &Value) -> Value {
    serde_json::to_value(serde_json::from_value::<T>(part.clone()).unwrap()).unwrap()
}

/// What the schema has a default for as a whole is given, so that the defaults within it count.
fn given_where_default(schema: &Value) -> Value {
    let fields = schema["properties"].as_object().into_iter().flatten();
    fields
        .filter(|(_, field)| field["default"].is_object())
        .map(|(name, field)| (name.clone(), given_where_default(field)))
        .collect()
}

/// The schemas of what people choose: a policy's spec, and the settings of a node.
fn schemas() -> [Value; 2] {
    let [policy, node] = definitions().map(|crd| {
        let schema = crd.spec.versions[0].schema.as_ref().unwrap();
        let schema = serde_json::to_value(&schema.open_api_v3_schema).unwrap();
        schema["properties"]["spec"].clone()
    });
    [policy, node["properties"]["settings"].clone()]
}

#[test]
fn what_it_stores_is_what_the_types_read_with_their_defaults() {
    let Some(control_plane) = start("defaults") else {
        return;
    };
    let api = control_plane.api().unwrap();
    let mut objects: Vec<Value> = table::rows(Path::new(TABLE))
        .into_iter()
        .filter(|row| row.refused.is_empty() && row.agent.is_none())
        .map(|row| row.object())
        .collect();
    assert!(objects.len() >= 20);
    let [policy, settings] = schemas().map(|schema| given_where_default(&schema));
    assert_eq!(policy["ipvs"]["gracefulTermination"], json!({}));
    objects.push(json!({"kind": "ServiceProxyPolicy", "spec": policy}));
    objects.push(json!({"kind": "NodeServiceProxy", "spec": {
        "policy": "edge", "policyGeneration": 1, "revision": "edge-1", "mode": "IPVS", "settings": settings,
    }}));

    for (number, mut object) in objects.into_iter().enumerate() {
        object["apiVersion"] = json!("sluice.dev/v1alpha1");
        object["metadata"] = json!({"name": format!("row-{number}")});
        let reply = create(&api, &object);
        assert!(reply.is_success(), "{object}: {}", reply.body);
        let stored = api.get(&format!("{}/row-{number}", path(&object))).unwrap();
        let (spec, status) = (&object["spec"], &object["status"]);
        let (spec, status) = if object["kind"] == "ServiceProxyPolicy" {
            (
                typed::<ServiceProxyPolicySpec>(spec),
                typed::<Option<ServiceProxyPolicyStatus>>(status),
            )
        } else {
            (
                typed::<NodeServiceProxySpec>(spec),
                typed::<Option<NodeServiceProxyStatus>>(status),
            )
        };
        assert_eq!(stored.body["spec"], spec, "{object}");
        assert_eq!(stored.body["status"], status, "{object}");
    }
}

#[test]
fn definitions_are_sound_and_applying_them_again_changes_nothing() {
    let Some(control_plane) = start("again") else {
        return;
    };
    let kubectl = control_plane.kubectl().unwrap();
    let api = control_plane.api().unwrap();
    let definitions = || {
        PLURALS.map(|plural| {
            let path = format!(
                "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{plural}.sluice.dev"
            );
            api.get(&path).unwrap().body
        })
    };
    let before = definitions();
    for definition in &before {
        let conditions = definition["status"]["conditions"].as_array().unwrap();
        let mut conditions: Vec<_> = conditions
            .iter()
            .map(|condition| {
                let text = |field: &str| condition[field].as_str().unwrap();
                (text("type"), text("status"))
            })
            .collect();
        conditions.sort_unstable();
        // No word of a schema that is not structural.
        assert_eq!(
            conditions,
            [("Established", "True"), ("NamesAccepted", "True")]
        );
        assert_eq!(definition["status"]["storedVersions"], json!(["v1alpha1"]));
        assert_eq!(definition["metadata"]["generation"], 1);
    }
    apply(&kubectl, "unchanged");
    // `metadata.resourceVersion` among the rest.
    assert_eq!(definitions(), before);
}

/// The lines of a table, with single blanks.
fn lines(table: &str) -> Vec<String> {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    table
        .lines()
        .map(words)
        .filter(|line| !line.is_empty())
        .collect()
}

#[test]
fn kubectl_shows_and_explains_both_kinds() {
    let Some(control_plane) = start("kubectl") else {
        return;
    };
    let kubectl = control_plane.kubectl().unwrap();
    let api = control_plane.api().unwrap();

    let [schema, _] = schemas();
    let description = &schema["properties"]["ipvs"]["properties"]["scheduler"]["description"];
    let explained = kubectl
        .run(&["explain", "spp.spec.ipvs.scheduler"])
        .unwrap();
    // It breaks lines.
    let explained = lines(&explained).join(" ");
    assert!(
        explained.contains(description.as_str().unwrap()),
        "{explained}"
    );

    let policy = json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "ServiceProxyPolicy", "metadata": {"name": "edge"},
        "spec": {"mode": "IPVS", "priority": 7},
        "status": {
            "matchedNodes": 3, "updatedNodes": 2, "readyNodes": 1,
            "conditions": [{
                "type": "Ready", "status": "False", "reason": "RollingOut", "message": "",
                "lastTransitionTime": "2026-11-01T00:00:00Z",
            }],
        },
    });
    let condition = |of: &str, status: &str| {
        json!({
            "type": of, "status": status, "reason": "Reason", "message": "",
            "lastTransitionTime": "2026-11-01T00:00:00Z",
        })
    };
    let node = json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "NodeServiceProxy", "metadata": {"name": "node-a"},
        "spec": {"policy": "edge", "policyGeneration": 1, "revision": "edge-2", "mode": "IPVS", "settings": {}},
        "status": {
            "observedRevision": "edge-1", "activeMode": "IPTables",
            "capabilities": {"kernel": "6.1.0", "iptables": ["NFT"], "ipvs": true, "ipset": true, "nftables": true},
            "conditions": [condition("Programmed", "True"), condition("Healthy", "False")],
        },
    });
    for object in [&policy, &node] {
        let reply = create(&api, object);
        assert!(reply.is_success(), "{}", reply.body);
    }

    let shown = lines(&kubectl.run(&["get", "spp,nsp", "-o", "wide"]).unwrap());
    let begin_with = |expected: &[&str]| {
        assert_eq!(shown.len(), expected.len(), "{shown:#?}");
        for (line, begin) in shown.iter().zip(expected) {
            assert!(line.starts_with(begin), "{line} in place of {begin}");
        }
    };
    begin_with(&[
        "NAME MODE PRIORITY MATCHED UPDATED READYNODES READY REASON AGE",
        "serviceproxypolicy.sluice.dev/edge IPVS 7 3 2 1 False RollingOut ",
        "NAME POLICY MODE ACTIVE REVISION OBSERVED PROGRAMMED HEALTHY KERNEL AGE",
        "nodeserviceproxy.sluice.dev/node-a edge IPVS IPTables edge-2 edge-1 True False 6.1.0 ",
    ]);
    let headings = |what: &str| lines(&kubectl.run(&["get", what]).unwrap()).remove(0);
    assert_eq!(
        headings("spp"),
        "NAME MODE PRIORITY MATCHED UPDATED READYNODES READY AGE"
    );
    assert_eq!(
        headings("nsp"),
        "NAME POLICY MODE ACTIVE REVISION OBSERVED PROGRAMMED HEALTHY AGE"
    );

    let names = |what: &str| {
        let mut names = lines(&kubectl.run(&["get", what, "-o", "name"]).unwrap());
        names.sort_unstable();
        names
    };
    let (node, policy) = (
        "nodeserviceproxy.sluice.dev/node-a",
        "serviceproxypolicy.sluice.dev/edge",
    );
    for name in ["spp", "serviceproxypolicy", "serviceproxypolicies"] {
        assert_eq!(names(name), [policy], "{name}");
    }
    for name in ["nsp", "nodeserviceproxy", "nodeserviceproxies"] {
        assert_eq!(names(name), [node], "{name}");
    }
    assert_eq!(names("sluice"), [node, policy]);
}
