//! Every value is in the schema and in the reference.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::rendering::{chart_file, objects};

const REFERENCE: &str = include_str!("../../../docs/values.md");

/// Paths of the leaves: what is no table of names that the chart knows. A table that is empty is one value: its fields are another program's.
fn leaves(value: &Value, schema: &Value, path: &str, into: &mut BTreeSet<String>) {
    let known = schema["properties"].as_object();
    match (value.as_object(), known) {
        (Some(fields), Some(known)) if !fields.is_empty() => {
            for (name, field) in fields {
                let below = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                let schema = known
                    .get(name)
                    .unwrap_or_else(|| panic!("{below} is not in values.schema.json"));
                leaves(field, schema, &below, into);
            }
        }
        _ => {
            into.insert(path.to_owned());
        }
    }
}

/// Of the schema alone, where no value is above them.
fn schema_leaves(
    schema: &Value,
    values: &BTreeSet<String>,
    path: &str,
    into: &mut BTreeSet<String>,
) {
    match schema["properties"].as_object() {
        Some(known) if !values.contains(path) => {
            for (name, below) in known {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                schema_leaves(below, values, &path, into);
            }
        }
        _ => {
            into.insert(path.to_owned());
        }
    }
}

/// Names and defaults as the reference tells them. Its other tables are of capabilities, which are in capitals.
fn rows() -> impl Iterator<Item = (&'static str, &'static str)> {
    let row = |line: &'static str| {
        let (name, rest) = line.strip_prefix("| `")?.split_once('`')?;
        let default = rest.split('|').nth(1)?.trim().trim_matches('`');
        name.starts_with(char::is_lowercase)
            .then_some((name, default))
    };
    REFERENCE.lines().filter_map(row)
}

#[test]
fn values_schema_and_reference_name_the_same() {
    let values = objects(&chart_file("values.yaml")).remove(0);
    let schema: Value = serde_json::from_str(&chart_file("values.schema.json")).unwrap();
    let mut in_values = BTreeSet::new();
    leaves(&values, &schema, "", &mut in_values);
    let mut in_schema = BTreeSet::new();
    schema_leaves(&schema, &in_values, "", &mut in_schema);
    // Helm's own, for charts that this one is a part of.
    in_schema.remove("global");
    assert_eq!(in_values, in_schema);

    let in_reference: BTreeSet<String> = rows().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(in_values, in_reference, "docs/values.md");
}

#[test]
fn the_reference_tells_the_defaults() {
    let values = objects(&chart_file("values.yaml")).remove(0);
    for (name, told) in rows() {
        let pointer = format!("/{}", name.replace('.', "/"));
        let default = values.pointer(&pointer).unwrap();
        let written = match default {
            Value::String(text) if text.is_empty() => "\"\"".to_owned(),
            Value::String(text) => text.clone(),
            // Too long for a cell.
            Value::Object(fields) if !fields.is_empty() => continue,
            Value::Array(items) if !items.is_empty() => continue,
            other => other.to_string(),
        };
        assert_eq!(told, written, "{name}");
    }
}
