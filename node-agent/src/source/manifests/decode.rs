//! From a document to an object.

use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;
use serde_json::value::RawValue;
use sluice_crds::v1alpha1::ServiceProxyPolicySpec;

use super::super::Kind;
use super::document::{self, Body};
use super::object::{Object, Policy};
use sluice_plan_input::convert::{self, FieldError, Problem};

/// What a document says that it is.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Head {
    #[serde(default)]
    pub(super) api_version: String,
    #[serde(default)]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) metadata: HeadMetadata,
}

/// The names in a document's metadata.
#[derive(Debug, Default, Deserialize)]
pub(super) struct HeadMetadata {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) namespace: String,
}

/// Reads what a document says that it is, as far as it says so in the right types.
pub(super) fn head(body: &Body<'_>) -> Head {
    match body {
        Body::Json(text) => serde_json::from_str(text).unwrap_or_else(|_| {
            serde_json::from_str(text)
                .map(|value| head_of_value(&value))
                .unwrap_or_default()
        }),
        Body::Yaml(value) => head_of_value(value),
    }
}

fn head_of_value(value: &Value) -> Head {
    let text = |pointer: &str| {
        value
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    Head {
        api_version: text("/apiVersion"),
        kind: text("/kind"),
        metadata: HeadMetadata {
            name: text("/metadata/name"),
            namespace: text("/metadata/namespace"),
        },
    }
}

/// What a list has. Null is an empty list: Go writes it so.
#[derive(Deserialize)]
struct Items<'a> {
    // A field that is read by a function of its own must be there.
    #[serde(borrow, deserialize_with = "Option::deserialize")]
    items: Option<Vec<&'a RawValue>>,
}

/// The items of a list that is JSON.
pub(super) fn json_items(text: &str) -> Result<Vec<&RawValue>, Fault> {
    let read: Result<Items<'_>, _> = serde_json::from_str(text);
    let error = match read {
        Ok(list) => return Ok(list.items.unwrap_or_default()),
        Err(error) => error,
    };
    let again = serde_json::from_str(text).map(|value: Value| yaml_items(&value).map(drop));
    let of_twice = items_fault(document::json_message(&error));
    Err(again.ok().and_then(Result::err).unwrap_or(of_twice))
}

/// The items of a list that is YAML.
pub(super) fn yaml_items(list: &Value) -> Result<&[Value], Fault> {
    match list.get("items") {
        Some(Value::Array(items)) => Ok(items),
        Some(Value::Null) => Ok(&[]),
        Some(_) => Err(items_fault("it is no list: write one, or []".to_owned())),
        None => Err(FieldError::new("items", Problem::Missing).into()),
    }
}

fn items_fault(reason: String) -> Fault {
    Fault {
        field: "items".to_owned(),
        reason,
    }
}

/// Why a document is no object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// Path of the field.
    pub(super) field: String,
    /// What is wrong and what to do.
    pub(super) reason: String,
}

impl From<FieldError> for Fault {
    fn from(error: FieldError) -> Self {
        Self {
            field: error.field,
            reason: error.problem.to_string(),
        }
    }
}

/// Makes an object of a document of a known kind.
pub(super) fn object(kind: Kind, body: &Body<'_>) -> Result<Object, Vec<Fault>> {
    let one = |error: FieldError| vec![Fault::from(error)];
    match kind {
        Kind::Service => convert::service(typed::<Service>(body)?)
            .map(Object::Service)
            .map_err(one),
        Kind::EndpointSlice => {
            let slice = typed::<EndpointSlice>(body)?;
            let cause = convert::cause(&slice);
            convert::endpoint_slice(slice)
                .map(|slice| Object::EndpointSlice(slice, cause))
                .map_err(one)
        }
        Kind::Node => convert::node(typed::<Node>(body)?)
            .map(Box::new)
            .map(Object::Node)
            .map_err(one),
        Kind::ServiceProxyPolicy => policy(typed(body)?).map(Box::new).map(Object::Policy),
        Kind::NodeServiceProxy | Kind::Pod | Kind::Namespace => Err(vec![Fault {
            field: "kind".to_owned(),
            reason: "only an API server has objects of this kind: leave it out; settings are a ServiceProxyPolicy"
                .to_owned(),
        }]),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PolicyManifest {
    #[serde(rename = "apiVersion")]
    _api_version: IgnoredAny,
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    #[serde(default)]
    metadata: ObjectMeta,
    spec: Option<ServiceProxyPolicySpec>,
    #[serde(rename = "status")]
    _status: Option<IgnoredAny>,
}

fn policy(manifest: PolicyManifest) -> Result<Policy, Vec<Fault>> {
    let name = convert::unnamespaced(&manifest.metadata).map_err(|error| vec![error.into()])?;
    let spec = manifest
        .spec
        .ok_or_else(|| vec![FieldError::new("spec", Problem::Missing).into()])?;
    let invalid = spec.validate();
    if !invalid.is_empty() {
        return Err(invalid
            .into_iter()
            .map(|i| Fault {
                field: i.field,
                reason: i.message,
            })
            .collect());
    }
    let created = manifest
        .metadata
        .creation_timestamp
        .as_ref()
        .map_or(0, |time| time.0.as_second());
    Ok(Policy {
        name: name.into(),
        created,
        spec,
    })
}

/// Reads a document as its type. Only a document that does not fit is read a second time, to learn which field it is.
fn typed<T: DeserializeOwned>(body: &Body<'_>) -> Result<T, Vec<Fault>> {
    let fault = |value: &Value| match serde_path_to_error::deserialize::<_, T>(value) {
        Ok(read) => Ok(read),
        Err(error) => {
            let path = error.path().to_string();
            let field = if path == "." { String::new() } else { path };
            Err(vec![Fault {
                field,
                reason: error.inner().to_string(),
            }])
        }
    };
    match body {
        Body::Json(text) => {
            serde_json::from_str(text).or_else(|_| match serde_json::from_str(text) {
                Ok(value) => fault(&value),
                Err(error) => Err(vec![Fault {
                    field: String::new(),
                    reason: error.to_string(),
                }]),
            })
        }
        Body::Yaml(value) => T::deserialize(value).or_else(|_| fault(value)),
    }
}
