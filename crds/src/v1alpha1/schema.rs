//! From the schema that is derived from a type to the one that an API server takes.

use std::fmt::Display;

use kube::core::{Message, Reason, Rule};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

/// Greatest number of rows of a list, of networks and of names. The API server weighs a rule by the longest list that it may meet.
pub(super) const MAX_ROWS: usize = 256;
/// Greatest number of conditions of a selector, of labels, and of values of one.
pub(super) const MAX_LABELS: usize = 64;
/// Greatest number of conditions in a status.
const MAX_CONDITIONS: usize = 32;
/// Greatest length of the name of a node, namespace or zone.
const MAX_NAME: u32 = 253;

/// The kernel keeps many numbers in an `int`.
pub(super) const INT_MAX: u32 = i32::MAX.cast_unsigned();

/// A rule of the API server (CEL), its place relative to the type it stands at, and what to say when it does not hold.
pub(super) fn rule(field: &str, rule: &str, message: Message) -> Rule {
    let rule = Rule::new(rule).message(message);
    if field.is_empty() {
        rule
    } else {
        rule.field_path(field)
    }
}

/// The same, for what is missing.
pub(super) fn required(field: &str, text: &str, message: Message) -> Rule {
    rule(field, text, message).reason(Reason::FieldValueRequired)
}

/// The same, for what must not be there.
pub(super) fn forbidden(field: &str, text: &str, message: Message) -> Rule {
    rule(field, text, message).reason(Reason::FieldValueForbidden)
}

/// A rule for a list: of its rows, only the last may be one that matches everything, as `matches_all` says of a row.
pub(super) fn catch_all_last(matches_all: impl Fn(&str) -> String, message: Message) -> Rule {
    let condition = format!(
        "self.size() < 2 || self.filter(row, {}).size() == ({} ? 1 : 0)",
        matches_all("row"),
        matches_all("self[self.size() - 1]")
    );
    rule("", &condition, message)
}

/// Always the same sentence.
pub(super) fn says(sentence: impl Display) -> Message {
    Message::Message(sentence.to_string())
}

/// A sentence with values in it: each `%s` or `%d` stands for the next of the CEL expressions.
/// (A sum of texts would do the same, but the API server has no bound for what a sum with a number costs.)
pub(super) fn says_with(sentence: impl Display, values: &[&str]) -> Message {
    Message::Expression(format!(
        "{}.format([{}])",
        literal(sentence),
        values.join(", ")
    ))
}

/// The text as a CEL literal.
pub(super) fn literal(text: impl Display) -> String {
    let text = text.to_string();
    format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))
}

/// The texts as a CEL list.
pub(super) fn list(texts: &[&str]) -> String {
    format!(
        "[{}]",
        texts.iter().map(literal).collect::<Vec<_>>().join(", ")
    )
}

/// An absent field leaves the kernel alone; 0 does not.
pub(super) fn not_zero(message: &str) -> [Rule; 1] {
    [rule("", "self != 0", says(message))]
}

/// A list of names without duplicates.
pub(super) fn names(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": {"type": "string", "maxLength": MAX_NAME},
        "maxItems": MAX_ROWS,
        "x-kubernetes-list-type": "set",
    })
}

/// A list of networks without duplicates, whose items have this schema.
pub(super) fn network_list<T: JsonSchema>(
    generator: &mut SchemaGenerator,
    more: impl IntoIterator<Item = Rule>,
) -> Schema {
    let mut items = T::json_schema(generator).to_value();
    if let Some(Value::Array(rules)) = items.get_mut("x-kubernetes-validations") {
        rules.extend(more.into_iter().map(|rule| json!(rule)));
    }
    json_schema!({
        "type": "array",
        "items": items,
        "maxItems": MAX_ROWS,
        "x-kubernetes-list-type": "set",
    })
}

/// The standard conditions of a status.
pub(super) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": MAX_CONDITIONS,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "description": "What is true of the object, since when and why.",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": {"type": "string", "maxLength": 316, "description": "What it is about."},
                "status": {
                    "type": "string", "enum": ["True", "False", "Unknown"],
                    "description": "Whether it is so.",
                },
                "reason": {
                    "type": "string", "minLength": 1, "maxLength": 1024,
                    "description": "Why, as one word for programs.",
                },
                "message": {"type": "string", "maxLength": 32_768, "description": "Why, as a sentence for people."},
                "lastTransitionTime": {
                    "type": "string", "format": "date-time",
                    "description": "When the status changed last.",
                },
                "observedGeneration": {
                    "type": "integer", "format": "int64", "minimum": 0,
                    "description": "The generation of the object that it is about.",
                },
            },
        },
    })
}

/// Makes a derived schema one that an API server takes and that a person can read:
/// absent is never null, integers have a format that the server knows and bounds that it checks, an enumeration is a list of words,
/// whose meaning its field's description tells.
pub(super) fn structural(schema: &mut Schema) {
    if let Some(node) = schema.as_object_mut() {
        rewrite(node);
    }
}

fn rewrite(node: &mut Map<String, Value>) {
    node.remove("title");
    drop_null(node);
    number(node);
    unwrap_lines(node);
    words(node);
    for child in ["items", "additionalProperties"] {
        if let Some(Value::Object(child)) = node.get_mut(child) {
            rewrite(child);
        }
    }
    if let Some(Value::Object(properties)) = node.get_mut("properties") {
        for property in properties.values_mut() {
            if let Value::Object(property) = property {
                rewrite(property);
            }
        }
    }
}

/// `Option<T>` is `T`, which may be absent.
fn drop_null(node: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = node.get_mut("type") {
        types.retain(|name| name != "null");
        if let [one] = types.as_slice() {
            let one = one.clone();
            node.insert("type".to_owned(), one);
        }
    }
    if let Some(Value::Array(mut either)) = node.remove("anyOf") {
        either.retain(|schema| schema.get("type") != Some(&json!("null")));
        match (either.pop(), either.is_empty()) {
            (Some(Value::Object(only)), true) => {
                for (key, value) in only {
                    node.entry(key).or_insert(value);
                }
            }
            (last, _) => {
                either.extend(last);
                node.insert("anyOf".to_owned(), Value::Array(either));
            }
        }
    }
}

/// The API server knows no unsigned numbers. Of a number beyond its format it says less well what is wrong than of one beyond its bounds,
/// so the bounds are narrower than the format.
fn number(node: &mut Map<String, Value>) {
    let (minimum, maximum) = match node.get("format").and_then(Value::as_str) {
        Some("uint32") => (0, i64::from(u32::MAX)),
        Some("int32") => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => return,
    };
    node.entry("minimum").or_insert(json!(minimum));
    node.entry("maximum").or_insert(json!(maximum));
    node.insert("format".to_owned(), json!("int64"));
}

/// Lines of a doc comment are one paragraph; `kubectl explain` breaks them where its window ends.
fn unwrap_lines(node: &mut Map<String, Value>) {
    if let Some(Value::String(text)) = node.get_mut("description") {
        let paragraphs = text.split("\n\n").map(|part| part.replace('\n', " "));
        *text = paragraphs.collect::<Vec<_>>().join("\n\n");
    }
}

/// One `oneOf` branch a word becomes an `enum`; what the branches say goes to the description.
fn words(node: &mut Map<String, Value>) {
    let Some(Value::Array(branches)) = node.get("oneOf") else {
        return;
    };
    let word = |branch: &Value| Some(branch.get("const")?.as_str()?.to_owned());
    let Some(words) = branches.iter().map(word).collect::<Option<Vec<_>>>() else {
        return;
    };
    let meanings = branches
        .iter()
        .zip(&words)
        .filter_map(|(branch, word)| {
            let meaning = branch.get("description")?.as_str()?.replace('\n', " ");
            Some(format!("{word}: {meaning}"))
        })
        .collect::<Vec<_>>()
        .join("\n");
    node.remove("oneOf");
    node.insert("type".to_owned(), json!("string"));
    node.insert("enum".to_owned(), json!(words));
    let field = node.get("description").and_then(Value::as_str);
    let description = match field {
        Some(field) if !field.contains(&meanings) => format!("{field}\n\n{meanings}"),
        Some(field) => field.to_owned(),
        None => meanings,
    };
    node.insert("description".to_owned(), json!(description));
}
