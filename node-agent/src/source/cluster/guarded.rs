//! One object that cannot be read must not stall a watch.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// An object as its type, or where it does not fit. kube's own guard copies every object twice in a form of many small pieces; this one does
/// that only with those that cannot be read.
#[derive(Debug, Clone)]
pub(super) struct Guarded<K>(pub(super) Result<K, Box<Unreadable>>);

/// An object that does not fit its type.
#[derive(Debug, Clone)]
pub(super) struct Unreadable {
    pub(super) metadata: ObjectMeta,
    /// `status`, as it is.
    pub(super) status: Value,
    /// Path of the field; empty for the object as a whole.
    pub(super) field: String,
    /// What is wrong.
    pub(super) error: String,
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Guarded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        match serde_json::from_str(text.get()) {
            Ok(object) => Ok(Self(Ok(object))),
            Err(_) => unreadable::<K>(text.get()).map_err(D::Error::custom),
        }
    }
}

/// Reads it again, to learn which field it is.
fn unreadable<K: DeserializeOwned>(text: &str) -> serde_json::Result<Guarded<K>> {
    let mut value: Value = serde_json::from_str(text)?;
    let error = match serde_path_to_error::deserialize::<_, K>(&value) {
        Ok(object) => return Ok(Guarded(Ok(object))),
        Err(error) => error,
    };
    let field = error.path().to_string();
    let mut take = |name: &str| value.get_mut(name).map(Value::take).unwrap_or_default();
    Ok(Guarded(Err(Box::new(Unreadable {
        metadata: serde_json::from_value(take("metadata"))?,
        status: take("status"),
        field: if field == "." { String::new() } else { field },
        error: error.inner().to_string(),
    }))))
}

impl<K: Resource> Resource for Guarded<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dt: &K::DynamicType) -> Cow<'_, str> {
        K::kind(dt)
    }

    fn group(dt: &K::DynamicType) -> Cow<'_, str> {
        K::group(dt)
    }

    fn version(dt: &K::DynamicType) -> Cow<'_, str> {
        K::version(dt)
    }

    fn plural(dt: &K::DynamicType) -> Cow<'_, str> {
        K::plural(dt)
    }

    fn meta(&self) -> &ObjectMeta {
        match &self.0 {
            Ok(object) => object.meta(),
            Err(unreadable) => &unreadable.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match &mut self.0 {
            Ok(object) => object.meta_mut(),
            Err(unreadable) => &mut unreadable.metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;
    use kube::api::{ObjectList, WatchEvent};

    use super::*;

    const GOOD: &str = r#"{"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}"#;
    const ODD: &str = r#"{"metadata": {"name": "odd"}, "spec": {"ports": [{"port": "eighty"}]}, "status": {"a": 1}}"#;

    #[test]
    fn an_object_that_does_not_fit_has_its_name_and_the_field() {
        let line = format!(r#"{{"type": "ADDED", "object": {ODD}}}"#);
        let Ok(WatchEvent::Added(read)) =
            serde_json::from_str::<WatchEvent<Guarded<Service>>>(&line)
        else {
            panic!("the line is no event");
        };
        assert_eq!(read.meta().name.as_deref(), Some("odd"));
        let unreadable = read.0.unwrap_err();
        assert_eq!(unreadable.field, "spec.ports[0].port");
        assert_eq!(unreadable.status["a"], 1);
    }

    #[test]
    fn the_others_of_a_list_are_read() {
        let text = format!(
            r#"{{"apiVersion": "v1", "kind": "ServiceList", "metadata": {{}}, "items": [{ODD}, {GOOD}]}}"#
        );
        let list: ObjectList<Guarded<Service>> = serde_json::from_str(&text).unwrap();
        assert!(list.items[0].0.is_err() && list.items[1].0.is_ok());
    }
}
