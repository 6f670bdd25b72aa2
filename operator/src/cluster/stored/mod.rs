//! Objects as the API server stores them. Their definition may be newer than this operator, so spec and status are read each for itself, and of a
//! status each field: what a rollout goes by is not lost with what is not known here.

mod policy;
mod proxy;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub(super) use policy::StoredPolicy;
pub(crate) use proxy::StoredProxy;

/// What is known here of a status.
fn read_status<T: DeserializeOwned + Default>(mut stored: Value) -> T {
    if let Some(fields) = stored.as_object_mut() {
        fields.retain(|name, value| read_alone::<T>(name, value).is_ok());
    }
    serde_json::from_value(stored).unwrap_or_default()
}

/// Of a type that needs none of its fields, what has only this one.
fn read_alone<T: DeserializeOwned>(name: &str, value: &Value) -> serde_json::Result<T> {
    serde_json::from_value(json!({ name: value }))
}
