//! Choosing objects by their labels.

use std::collections::BTreeMap;

use kube::core::Rule;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::invalid::Checker;
use super::schema::{MAX_LABELS, forbidden, required, says_with};

/// A label selector. All its parts must match; without parts it selects everything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct LabelSelector {
    /// Labels that an object must have, with these values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels")]
    pub match_labels: BTreeMap<String, String>,
    /// Further conditions on its labels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_LABELS))]
    pub match_expressions: Vec<LabelRequirement>,
}

/// A condition on one label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = LabelRequirement::rules()))]
pub struct LabelRequirement {
    /// Label key.
    #[schemars(length(min = 1, max = MAX_KEY))]
    pub key: String,
    /// What must hold of it.
    pub operator: LabelOperator,
    /// Values for `In` and `NotIn`; the others take none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "values")]
    pub values: Vec<String>,
}

/// What must hold of a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LabelOperator {
    /// Its value is one of the list.
    In,
    /// It is absent, or its value is none of the list.
    NotIn,
    /// It is there.
    Exists,
    /// It is absent.
    DoesNotExist,
}

impl LabelSelector {
    /// Selects an object with these labels.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.match_labels
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
            && self
                .match_expressions
                .iter()
                .all(|requirement| requirement.matches(labels))
    }

    pub(super) fn is_everything(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }

    pub(super) fn check(&self, c: &mut Checker) {
        c.items(
            "matchExpressions",
            &self.match_expressions,
            |c, requirement| {
                let takes_values = matches!(
                    requirement.operator,
                    LabelOperator::In | LabelOperator::NotIn
                );
                c.field("values", |c| {
                    match (takes_values, requirement.values.is_empty()) {
                        (true, true) => c.wrong(format!(
                            "operator {:?} needs at least one value",
                            requirement.operator
                        )),
                        (false, false) => c.wrong(format!(
                            "operator {:?} takes no values: remove them",
                            requirement.operator
                        )),
                        _ => {}
                    }
                });
            },
        );
    }
}

/// A prefix of 253 characters, a slash, a name of 63.
const MAX_KEY: usize = 317;
/// Longest value of a label.
const MAX_VALUE: usize = 63;

fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "additionalProperties": {"type": "string", "maxLength": MAX_VALUE},
        "maxProperties": MAX_LABELS,
    })
}

fn values(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": {"type": "string", "maxLength": MAX_VALUE},
        "maxItems": MAX_LABELS,
    })
}

impl LabelRequirement {
    fn rules() -> [Rule; 2] {
        let takes_values = "self.operator in ['In', 'NotIn']";
        let none = "(!has(self.values) || self.values.size() == 0)";
        [
            required(
                ".values",
                &format!("!({takes_values} && {none})"),
                says_with("operator %s needs at least one value", &["self.operator"]),
            ),
            forbidden(
                ".values",
                &format!("{takes_values} || {none}"),
                says_with(
                    "operator %s takes no values: remove them",
                    &["self.operator"],
                ),
            ),
        ]
    }

    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        let listed = value.is_some_and(|value| self.values.contains(value));
        match self.operator {
            LabelOperator::In => listed,
            LabelOperator::NotIn => !listed,
            LabelOperator::Exists => value.is_some(),
            LabelOperator::DoesNotExist => value.is_none(),
        }
    }
}
