//! `sluice-agent convert`

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};
use sluice_crds::v1alpha1::{API_VERSION, SERVICE_PROXY_POLICY, ServiceProxyPolicySpec};

use super::{CliError, Outcome};
use crate::kube_proxy::{Conversion, convert as convert_text};

/// Name of the policy; one for every node has no better one.
const NAME: &str = "from-kube-proxy";

/// What to convert.
#[derive(Debug, Args)]
pub(super) struct ConvertArgs {
    /// A `KubeProxyConfiguration`, or the `ConfigMap` kube-proxy that holds it, in YAML or JSON; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn convert(args: &ConvertArgs) -> Result<Outcome, CliError> {
    let text = read(&args.file).map_err(|source| CliError::System {
        operation: "read kube-proxy's configuration",
        source,
    })?;
    let Conversion {
        policy,
        flags,
        notes,
    } = convert_text(&text)?;
    let mut outcome = Outcome::default();
    outcome.line(format_args!(
        "# Made of kube-proxy's configuration by sluice-agent convert."
    ));
    if !flags.is_empty() {
        outcome.line(format_args!(
            "# Flags of sluice-agent run: {}",
            flags.join(" ")
        ));
    }
    if !notes.is_empty() {
        outcome.line(format_args!("# Without equivalent, or different:"));
    }
    for note in &notes {
        // A name in it may hold a line break, which would end the comment.
        outcome.line(format_args!("# - {}", note.replace(['\n', '\r'], " ")));
    }
    outcome.text.push_str(&manifest(&policy)?);
    Ok(outcome)
}

fn read(file: &Path) -> std::io::Result<String> {
    if file != Path::new("-") {
        return fs::read_to_string(file);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

/// The policy with what differs from its defaults.
fn manifest(policy: &ServiceProxyPolicySpec) -> Result<String, CliError> {
    let failed = |message: String| CliError::System {
        operation: "write the policy",
        source: std::io::Error::other(message),
    };
    let value = |spec| serde_json::to_value(spec).map_err(|error| failed(error.to_string()));
    let spec = differing(value(policy)?, &value(&ServiceProxyPolicySpec::default())?);
    let object = json!({
        "apiVersion": API_VERSION,
        "kind": SERVICE_PROXY_POLICY,
        "metadata": {"name": NAME},
        "spec": spec.unwrap_or_else(|| json!({})),
    });
    serde_saphyr::to_string(&object).map_err(|error| failed(error.to_string()))
}

fn differing(value: Value, default: &Value) -> Option<Value> {
    match (value, default) {
        (value, default) if value == *default => None,
        (Value::Object(members), Value::Object(defaults)) => {
            let kept = members.into_iter().filter_map(|(name, value)| {
                let default = defaults.get(&name).unwrap_or(&Value::Null);
                Some((name, differing(value, default)?))
            });
            Some(Value::Object(kept.collect()))
        }
        (value, _) => Some(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_has_what_differs_and_is_read_as_the_same_policy() {
        let text = "{apiVersion: kubeproxy.config.k8s.io/v1alpha1, kind: KubeProxyConfiguration, mode: ipvs, clusterCIDR: 10.244.0.0/16}";
        let policy = convert_text(text).unwrap().policy;
        let manifest = manifest(&policy).unwrap();
        let read: Value = serde_saphyr::from_str(&manifest).unwrap();
        assert_eq!(read["spec"]["mode"], "IPVS");
        assert_eq!(read["spec"].get("rollout"), None, "{manifest}");
        let read: ServiceProxyPolicySpec = serde_json::from_value(read["spec"].clone()).unwrap();
        assert_eq!(read, policy);
    }
}
