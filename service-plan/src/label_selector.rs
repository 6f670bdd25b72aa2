//! Choosing objects by their labels, as `metav1.LabelSelector` does.

use std::collections::BTreeMap;

/// All parts must match; without parts it selects everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelSelector {
    /// Labels that an object must have, with these values.
    pub labels: BTreeMap<String, String>,
    /// Further conditions.
    pub requirements: Vec<LabelRequirement>,
}

/// A condition on one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelRequirement {
    /// The label has one of these values.
    In(String, Vec<String>),
    /// The label is absent or has none of these values.
    NotIn(String, Vec<String>),
    /// The label is there.
    Exists(String),
    /// The label is absent.
    DoesNotExist(String),
}

impl LabelSelector {
    /// Selects an object whose labels have these values.
    pub fn matches<'a>(&self, value_of: impl Fn(&str) -> Option<&'a str>) -> bool {
        let same = |(key, value): (&String, &String)| value_of(key) == Some(value);
        self.labels.iter().all(same) && self.requirements.iter().all(|r| r.matches(&value_of))
    }
}

impl LabelRequirement {
    fn matches<'a>(&self, value_of: impl Fn(&str) -> Option<&'a str>) -> bool {
        let one_of = |key: &str, values: &[String]| {
            value_of(key).is_some_and(|value| values.iter().any(|other| other == value))
        };
        match self {
            Self::In(key, values) => one_of(key, values),
            Self::NotIn(key, values) => !one_of(key, values),
            Self::Exists(key) => value_of(key).is_some(),
            Self::DoesNotExist(key) => value_of(key).is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_must_match() {
        let labels = BTreeMap::from([("app".to_owned(), "web".to_owned())]);
        let web = || vec!["web".to_owned()];
        let rows = [
            (vec![], true),
            (vec![LabelRequirement::In("app".into(), web())], true),
            (vec![LabelRequirement::NotIn("app".into(), web())], false),
            (vec![LabelRequirement::NotIn("tier".into(), web())], true),
            (vec![LabelRequirement::Exists("tier".into())], false),
            (vec![LabelRequirement::DoesNotExist("tier".into())], true),
            (
                vec![
                    LabelRequirement::Exists("app".into()),
                    LabelRequirement::In("app".into(), vec![]),
                ],
                false,
            ),
        ];
        for (requirements, expected) in rows {
            let selector = LabelSelector {
                labels: labels.clone(),
                requirements,
            };
            let value_of = |key: &str| labels.get(key).map(String::as_str);
            assert_eq!(selector.matches(value_of), expected, "{selector:?}");
            assert!(!selector.matches(|_| None), "{selector:?}");
        }
    }
}
