//! A `KubeProxyConfiguration`, section by section: what was asked for is taken out, and what stays behind is unknown.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::time::Duration;

use super::duration::{self, DurationError};

const API_VERSION: &str = "kubeproxy.config.k8s.io/v1alpha1";
const KIND: &str = "KubeProxyConfiguration";
/// Under which kubeadm's `ConfigMap` holds it.
const KEY: &str = "config.conf";

/// Why a configuration cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No YAML.
    #[error("not YAML: {0}")]
    Yaml(String),
    /// Something else.
    #[error(
        "this is {found}, not a {KIND} of {API_VERSION} nor a ConfigMap with one under data.\"{KEY}\": give kube-proxy's --config file, or \
         the output of `kubectl -n kube-system get configmap kube-proxy -o yaml`"
    )]
    OtherKind {
        /// What it is.
        found: String,
    },
    /// A field of another type.
    #[error("{field}: {message}")]
    Field {
        /// Its path.
        field: String,
        /// What is wrong.
        message: String,
    },
    /// A field that is no duration.
    #[error("{field}: {source}")]
    Duration {
        /// Its path.
        field: String,
        /// What is wrong.
        source: DurationError,
    },
}

/// Members of an object that were not taken yet.
#[derive(Debug)]
pub(super) struct Section {
    path: String,
    members: Map<String, Value>,
}

/// The configuration in a text: a file of its own, or a `ConfigMap`.
pub(super) fn read(text: &str) -> Result<Section, ConfigError> {
    let value: Value =
        serde_saphyr::from_str(text).map_err(|error| ConfigError::Yaml(error.to_string()))?;
    let told = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
    match (told("apiVersion"), told("kind")) {
        ("v1", "ConfigMap") => {
            let inner = value.get("data").and_then(|data| data.get(KEY));
            let inner = inner
                .and_then(Value::as_str)
                .ok_or_else(|| ConfigError::OtherKind {
                    found: format!("a ConfigMap without data.\"{KEY}\""),
                })?;
            // One level only: a ConfigMap within is of another kind.
            let inner: Value = serde_saphyr::from_str(inner)
                .map_err(|error| ConfigError::Yaml(error.to_string()))?;
            of_configuration(inner)
        }
        _ => of_configuration(value),
    }
}

fn of_configuration(value: Value) -> Result<Section, ConfigError> {
    let told = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or("nothing");
    let found = format!("{} of {}", told("kind"), told("apiVersion"));
    match value {
        Value::Object(mut members) if found == format!("{KIND} of {API_VERSION}") => {
            members.remove("kind");
            members.remove("apiVersion");
            let path = String::new();
            Ok(Section { path, members })
        }
        _ => Err(ConfigError::OtherKind { found }),
    }
}

impl Section {
    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    /// A member of a type; absent where it is null too.
    pub(super) fn take<T: DeserializeOwned>(
        &mut self,
        name: &str,
    ) -> Result<Option<T>, ConfigError> {
        match self.members.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                serde_json::from_value(value)
                    .map(Some)
                    .map_err(|error| ConfigError::Field {
                        field: self.path_of(name),
                        message: error.to_string(),
                    })
            }
        }
    }

    /// A text; absent where it is empty, as kube-proxy takes it.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, ConfigError> {
        Ok(self.take(name)?.filter(|text: &String| !text.is_empty()))
    }

    /// A Go duration.
    pub(super) fn duration(&mut self, name: &str) -> Result<Option<Duration>, ConfigError> {
        let Some(text) = self.take::<String>(name)? else {
            return Ok(None);
        };
        let read = duration::parse(&text);
        read.map(Some).map_err(|source| ConfigError::Duration {
            field: self.path_of(name),
            source,
        })
    }

    /// A section below; an empty one where it is absent.
    pub(super) fn section(&mut self, name: &str) -> Result<Self, ConfigError> {
        Ok(Self {
            path: self.path_of(name),
            members: self.take(name)?.unwrap_or_default(),
        })
    }

    /// Paths of members that nobody took.
    pub(super) fn unknown(&self) -> Vec<String> {
        self.members.keys().map(|name| self.path_of(name)).collect()
    }

    /// Paths and values of members that mean something: neither null, empty, false nor zero.
    pub(super) fn set_members(&self) -> Vec<(String, String)> {
        let set = self
            .members
            .iter()
            .filter(|(_, value)| means_something(value));
        set.map(|(name, value)| (self.path_of(name), value.to_string()))
            .collect()
    }

    /// An error about one of its members.
    pub(super) fn wrong(&self, name: &str, message: String) -> ConfigError {
        ConfigError::Field {
            field: self.path_of(name),
            message,
        }
    }
}

fn means_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(is) => *is,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty() && text != "0s",
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => members.values().any(means_something),
    }
}
