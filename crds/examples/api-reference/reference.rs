//! The definitions of the API group for people: every field by its path.

use std::fmt::Write as _;

use serde_json::{Map, Value};
use sluice_crds::v1alpha1::{API_VERSION, definitions};

/// The file, as a path from the folder of this crate.
pub(crate) const PATH: &str = "../docs/api-reference.md";

const HEAD: &str = "\
<!-- Made by `make crds` from the types in crds/src. Change those. -->
# API reference

The kinds of `sluice.dev/v1alpha1`. `kubectl explain spp.spec` says the same. A field that is absent means its default; one that does not exist
is refused. `[]` is a list.
";
/// Those that every condition of every kind has.
const OF_CONDITIONS: &str = "conditions[]";

/// The whole file.
pub(crate) fn text() -> Result<String, Box<dyn std::error::Error>> {
    let mut text = HEAD.to_owned();
    for crd in definitions() {
        let names = &crd.spec.names;
        let short = names.short_names.clone().unwrap_or_default().join(", ");
        write!(text, "\n## {}\n\n", names.kind)?;
        let crd = serde_json::to_value(&crd)?;
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let about = words(&schema["description"]);
        let scope = words(&crd["spec"]["scope"]);
        writeln!(
            text,
            "{about} `apiVersion: {API_VERSION}`; scope {scope}; short name `{short}`."
        )?;
        for part in ["spec", "status"] {
            let schema = &schema["properties"][part];
            if schema.is_null() {
                continue;
            }
            write!(
                text,
                "\n### {part}\n\n{}\n\n",
                words(&schema["description"])
            )?;
            text.push_str("| field | type | meaning |\n|---|---|---|\n");
            fields(&mut text, "", schema)?;
        }
    }
    Ok(text)
}

fn fields(text: &mut String, above: &str, schema: &Value) -> std::fmt::Result {
    let none = Map::new();
    for (name, schema) in schema["properties"].as_object().unwrap_or(&none) {
        let path = format!("{above}{name}");
        let (path, inner) = match schema["type"].as_str() {
            Some("array") => (format!("{path}[]"), &schema["items"]),
            _ => (path, schema),
        };
        let about = words(&schema["description"]);
        let about = if about.is_empty() {
            words(&inner["description"])
        } else {
            about
        };
        writeln!(text, "| `{path}` | {} | {about} |", kind(inner))?;
        if !path.ends_with(OF_CONDITIONS) {
            fields(text, &format!("{path}."), inner)?;
        }
    }
    Ok(())
}

/// What a value looks like.
fn kind(schema: &Value) -> String {
    if let Some(values) = schema["enum"].as_array() {
        let values = values.iter().filter_map(Value::as_str);
        let values = values.map(|value| format!("`{value}`"));
        return values.collect::<Vec<_>>().join(", ");
    }
    if !schema["additionalProperties"].is_null() {
        return "map".to_owned();
    }
    words(&schema["type"])
}

/// In one line of a table.
fn words(text: &Value) -> String {
    let text = text.as_str().unwrap_or_default();
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}
