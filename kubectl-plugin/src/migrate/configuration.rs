//! kube-proxy's configuration, from where it is.

use std::path::Path;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;

use super::{NAME, NAMESPACE};
use crate::cluster::Cluster;
use crate::error::PluginError;

/// What kube-proxy does without a word.
const DEFAULTS: &str =
    "{apiVersion: kubeproxy.config.k8s.io/v1alpha1, kind: KubeProxyConfiguration}";

/// A text, and where it is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Configuration {
    pub(super) text: String,
    pub(super) origin: String,
    /// It is no more than the defaults.
    pub(super) is_assumed: bool,
}

impl Configuration {
    pub(super) fn assumed() -> Self {
        Self {
            text: DEFAULTS.to_owned(),
            origin: "kube-proxy's defaults".to_owned(),
            is_assumed: true,
        }
    }
}

pub(super) async fn read(
    cluster: &Cluster,
    file: Option<&Path>,
) -> Result<Configuration, PluginError> {
    if let Some(path) = file {
        let text = std::fs::read_to_string(path).map_err(|source| PluginError::File {
            path: path.to_owned(),
            source,
        })?;
        return Ok(Configuration {
            text,
            origin: path.display().to_string(),
            is_assumed: false,
        });
    }
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    let map = cluster.get(&maps, "configmaps", NAME).await?;
    map.map_or_else(|| Ok(Configuration::assumed()), |map| of_map(&map))
}

fn of_map(map: &ConfigMap) -> Result<Configuration, PluginError> {
    // The API server does not tell kind and version of what was asked for by them.
    let whole = serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "data": map.data});
    Ok(Configuration {
        text: serde_json::to_string(&whole).map_err(PluginError::Json)?,
        origin: format!("ConfigMap {NAMESPACE}/{NAME}"),
        is_assumed: false,
    })
}
