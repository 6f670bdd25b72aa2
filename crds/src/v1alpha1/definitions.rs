//! The definitions of the kinds, as an API server takes them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use super::node_service_proxy::NodeServiceProxy;
use super::policy::ServiceProxyPolicy;

/// The definition of each kind. `CustomResourceExt::crd` says the same, but would let `status` be null.
pub fn definitions() -> [CustomResourceDefinition; 2] {
    [ServiceProxyPolicy::crd(), NodeServiceProxy::crd()].map(|mut crd| {
        let schemas = crd.spec.versions.iter_mut().filter_map(|version| {
            let schema = version.schema.as_mut()?;
            schema.open_api_v3_schema.as_mut()
        });
        for root in schemas {
            root.title = None;
            if let Some(status) = root
                .properties
                .as_mut()
                .and_then(|properties| properties.get_mut("status"))
            {
                status.nullable = None;
            }
        }
        crd
    })
}
