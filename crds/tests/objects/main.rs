//! Objects that an API server accepts, and those that it refuses with the words that it has for them.

#![allow(clippy::panic, clippy::unwrap_used)] // Helpers of tests fail as tests do.

mod server;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use sluice_crds::v1alpha1::{NodeServiceProxy, ServiceProxyPolicy, definitions};

use server::Server;
use table::{Judgement, Row};

fn rows() -> Vec<Row> {
    table::rows(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/objects"))
}

fn servers() -> BTreeMap<String, Server> {
    definitions()
        .into_iter()
        .map(|crd| {
            let schema = crd.spec.versions[0].schema.as_ref().unwrap();
            let schema = serde_json::to_value(schema.open_api_v3_schema.as_ref()).unwrap();
            (crd.spec.names.kind, Server::new(schema))
        })
        .collect()
}

#[test]
fn the_api_server_says_of_each_object_what_the_table_says() {
    let (servers, rows) = (servers(), rows());
    assert!(rows.len() >= 60);
    let mut wrong = Vec::new();
    for row in rows {
        let object = row.object();
        let found = servers[object["kind"].as_str().unwrap()].refusals(&object);
        let fields: BTreeSet<_> = found.iter().map(|refusal| &refusal.field).collect();
        let as_said = fields == row.refused.keys().collect()
            && found
                .iter()
                .all(|refusal| refusal.words.contains(&row.refused[&refusal.field]));
        if !as_said {
            wrong.push(format!(
                "{}: {found:?} in place of {:?}",
                row.name, row.refused
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_rule_refuses_an_object_of_the_table() {
    let servers = servers();
    let mut idle: BTreeSet<_> = servers.values().flat_map(Server::rules).collect();
    for row in rows() {
        let object = row.object();
        for refusal in servers[object["kind"].as_str().unwrap()].refusals(&object) {
            if let Some(rule) = refusal.rule {
                idle.remove(&rule);
            }
        }
    }
    assert!(idle.is_empty(), "{idle:#?}");
}

#[test]
fn each_row_has_a_name_of_its_own() {
    let rows = rows();
    let names: BTreeSet<_> = rows.iter().map(|row| &row.name).collect();
    assert_eq!(names.len(), rows.len());
}

/// Reads the object as its type and validates it.
fn agent(object: &Value) -> Result<(), String> {
    let problems = if object["kind"] == "NodeServiceProxy" {
        let node: NodeServiceProxy = read(object)?;
        node.spec.validate()
    } else {
        let policy: ServiceProxyPolicy = read(object)?;
        policy.spec.validate()
    };
    let words: Vec<String> = problems.iter().map(ToString::to_string).collect();
    if words.is_empty() {
        Ok(())
    } else {
        Err(words.join("; "))
    }
}

fn read<T: serde::de::DeserializeOwned>(object: &Value) -> Result<T, String> {
    serde_json::from_value(object.clone()).map_err(|error| error.to_string())
}

#[test]
fn the_agent_judges_as_the_api_server_does_where_the_table_does_not_say_otherwise() {
    let mut wrong = Vec::new();
    for row in rows() {
        let server = if row.refused.is_empty() {
            Judgement::Accepts
        } else {
            Judgement::Refuses
        };
        let found = agent(&row.object());
        if found.is_ok() != (row.agent.unwrap_or(server) == Judgement::Accepts) {
            wrong.push(format!("{}: {found:?}", row.name));
        }
        if row.agent == Some(server) {
            wrong.push(format!("{}: needs no word on the agent", row.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
