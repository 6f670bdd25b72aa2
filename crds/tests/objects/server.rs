//! An API server's judgement of an object, in this process: the schema, then the lists, then the rules, with its words.

use std::collections::BTreeSet;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::paths::{Location, LocationSegment};
use jsonschema::{ValidationError, Validator};
use kube::core::cel::{ErrorKind, Validator as Rules};
use serde_json::{Value, json};

/// What is wrong with a field.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) field: String,
    pub(crate) words: String,
    /// The rule (CEL) that says so, if one does.
    pub(crate) rule: Option<String>,
}

impl Refusal {
    fn new(field: String, words: String) -> Self {
        Self {
            field,
            words,
            rule: None,
        }
    }
}

/// Judges the objects of one kind.
pub(crate) struct Server {
    schema: Value,
    validator: Validator,
    rules: Rules,
}

impl Server {
    /// By the schema of a definition.
    pub(crate) fn new(schema: Value) -> Self {
        Self {
            validator: jsonschema::draft4::new(&schema).unwrap(),
            rules: Rules::new(),
            schema,
        }
    }

    /// Every rule of it.
    pub(crate) fn rules(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        collect_rules(&self.schema, &mut found);
        found
    }

    /// What it says when the object is created with strict checks of its fields, as `kubectl` does.
    pub(crate) fn refusals(&self, object: &Value) -> Vec<Refusal> {
        let mut unknown = Vec::new();
        unknown_fields(&self.schema, object, "", &mut unknown);
        if !unknown.is_empty() {
            return unknown;
        }
        let object = &without_nulls(&self.schema, object);
        let mut blocked = false;
        let mut found = Vec::new();
        for error in self.validator.iter_errors(object) {
            let (refusal, blocks) = in_words(&error);
            blocked |= blocks;
            found.push(refusal);
        }
        duplicates(&self.schema, object, "", &mut found);
        if !blocked && let Err(errors) = self.rules.validate(&self.schema, object, None) {
            found.extend(errors.into_iter().map(|error| {
                assert_eq!(error.kind, ErrorKind::ValidationFailure, "{error}");
                Refusal {
                    rule: Some(error.rule),
                    ..Refusal::new(error.field_path, error.message)
                }
            }));
        }
        found
    }
}

/// The words of the API server for what a schema refuses, and whether it looks at no rules then.
fn in_words(error: &ValidationError<'_>) -> (Refusal, bool) {
    let field = path(error.instance_path());
    let value = error.instance();
    let (field, words, blocks) = match error.kind() {
        ValidationErrorKind::Maximum { limit } => {
            let words = format!("{field} in body should be less than or equal to {limit}");
            (field, words, false)
        }
        ValidationErrorKind::Minimum { limit } => {
            let words = format!("{field} in body should be greater than or equal to {limit}");
            (field, words, false)
        }
        ValidationErrorKind::MinLength { limit } => {
            let words = format!("{field} in body should be at least {limit} chars long");
            (field, words, false)
        }
        ValidationErrorKind::MaxLength { limit } => (
            field,
            format!("Too long: may not be more than {limit} bytes"),
            true,
        ),
        ValidationErrorKind::MaxItems { limit } => (
            field,
            format!("Too many: must have at most {limit} items"),
            true,
        ),
        ValidationErrorKind::Enum { options } => {
            let options: Vec<String> = options
                .as_array()
                .unwrap()
                .iter()
                .map(Value::to_string)
                .collect();
            let words = format!(
                "Unsupported value: {value}: supported values: {}",
                options.join(", ")
            );
            (field, words, true)
        }
        ValidationErrorKind::Type { kind } => {
            let TypeKind::Single(kind) = kind else {
                panic!("{error}")
            };
            let words = format!("{field} in body must be of type {kind}: {value}");
            (field, words, true)
        }
        ValidationErrorKind::Required { property } => (
            join(&field, property.as_str().unwrap()),
            "Required value".to_owned(),
            true,
        ),
        other => panic!("{field}: the API server's words for {other:?} are not known here"),
    };
    (Refusal::new(field, words), blocks)
}

fn path(location: &Location) -> String {
    location
        .into_iter()
        .fold(String::new(), |path, segment| match segment {
            LocationSegment::Property(name) => join(&path, &name),
            LocationSegment::Index(index) => format!("{path}[{index}]"),
        })
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn collect_rules(schema: &Value, found: &mut BTreeSet<String>) {
    if let Some(rules) = schema["x-kubernetes-validations"].as_array() {
        found.extend(
            rules
                .iter()
                .map(|rule| rule["rule"].as_str().unwrap().to_owned()),
        );
    }
    match schema {
        Value::Object(fields) => fields
            .values()
            .for_each(|field| collect_rules(field, found)),
        Value::Array(items) => items.iter().for_each(|item| collect_rules(item, found)),
        _ => {}
    }
}

/// Calls `visit` for each field or item of the value that the schema knows.
fn children(
    schema: &Value,
    value: &Value,
    path: &str,
    mut visit: impl FnMut(&Value, &Value, &str),
) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if let Some(schema) = schema["properties"].get(name) {
                    visit(schema, field, &join(path, name));
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                visit(&schema["items"], item, &format!("{path}[{index}]"));
            }
        }
        _ => {}
    }
}

fn unknown_fields(schema: &Value, value: &Value, path: &str, found: &mut Vec<Refusal>) {
    if let (Some(fields), Some(known)) = (value.as_object(), schema["properties"].as_object()) {
        let of_every_object = ["apiVersion", "kind", "metadata"];
        for name in fields.keys() {
            let everywhere = path.is_empty() && of_every_object.contains(&name.as_str());
            if !known.contains_key(name) && !everywhere {
                let words = format!("unknown field \"{}\"", join(path, name));
                found.push(Refusal::new(String::new(), words));
            }
        }
    }
    children(schema, value, path, |schema, value, path| {
        unknown_fields(schema, value, path, found);
    });
}

/// Null where the schema does not allow it is dropped.
fn without_nulls(schema: &Value, value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, field)| !field.is_null() || schema["properties"].get(name).is_none())
            .map(|(name, field)| {
                (
                    name.clone(),
                    without_nulls(&schema["properties"][name], field),
                )
            })
            .collect(),
        Value::Array(items) => items
            .iter()
            .map(|item| without_nulls(&schema["items"], item))
            .collect(),
        other => other.clone(),
    }
}

fn duplicates(schema: &Value, value: &Value, path: &str, found: &mut Vec<Refusal>) {
    let keys = match schema["x-kubernetes-list-type"].as_str() {
        Some("set") => Some(Vec::new()),
        Some("map") => schema["x-kubernetes-list-map-keys"].as_array().cloned(),
        _ => None,
    };
    if let (Some(items), Some(keys)) = (value.as_array(), keys) {
        let key = |item: &Value| {
            if keys.is_empty() {
                item.clone()
            } else {
                json!(
                    keys.iter()
                        .map(|key| &item[key.as_str().unwrap()])
                        .collect::<Vec<_>>()
                )
            }
        };
        let mut seen = BTreeSet::new();
        for (index, item) in items.iter().enumerate() {
            if !seen.insert(key(item).to_string()) {
                found.push(Refusal::new(
                    format!("{path}[{index}]"),
                    format!("Duplicate value: {item}"),
                ));
            }
        }
    }
    children(schema, value, path, |schema, value, path| {
        duplicates(schema, value, path, found);
    });
}
