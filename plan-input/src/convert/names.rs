//! Names of objects. They end up in rules, logs and file names, so nothing but what Kubernetes allows may be in them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use sluice_service_plan::model::ObjectName;

use super::error::{FieldError, Problem};

/// Namespace and name of an object that lives in a namespace; `default` when it does not say which.
pub fn namespaced(metadata: &ObjectMeta) -> Result<ObjectName, FieldError> {
    let namespace = metadata
        .namespace
        .as_deref()
        .filter(|namespace| !namespace.is_empty())
        .unwrap_or("default");
    check_label(namespace, || "metadata.namespace".to_owned())?;
    Ok(ObjectName::new(namespace, unnamespaced(metadata)?))
}

/// Name of an object.
pub fn unnamespaced(metadata: &ObjectMeta) -> Result<&str, FieldError> {
    let name = metadata.name.as_deref().unwrap_or_default();
    let field = || "metadata.name".to_owned();
    if name.is_empty() {
        return Err(FieldError::new(field(), Problem::Missing));
    }
    if name.len() > 253 || !name.split('.').all(is_label_text) {
        return Err(FieldError::new(
            field(),
            Problem::NotASubdomain(name.to_owned()),
        ));
    }
    Ok(name)
}

/// Refuses what is not a DNS label (RFC 1123).
pub(super) fn check_label(text: &str, field: impl Fn() -> String) -> Result<(), FieldError> {
    if text.len() > 63 || !is_label_text(text) {
        return Err(FieldError::new(
            field(),
            Problem::NotALabel(text.to_owned()),
        ));
    }
    Ok(())
}

fn is_label_text(text: &str) -> bool {
    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && bytes.iter().all(|b| alphanumeric(b) || *b == b'-')
}
