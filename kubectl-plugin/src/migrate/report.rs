//! All of the advice.

use std::fmt::Write as _;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde::Serialize;
use sluice_crds::v1alpha1::{Mode, ServiceProxyPolicySpec};
use sluice_kube_proxy_config::{Conversion, convert, manifest};

use super::agent_values::AgentValues;
use super::api_server::{ApiServer, api_server};
use super::configuration::Configuration;
use super::features::{Feature, features, proxied};
use super::steps::{Way, steps};
use crate::error::PluginError;
use crate::style::Style;

/// Services named one by one; of more, the number is told.
const NAMED: usize = 8;

/// What was found in the cluster.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) configuration: Configuration,
    pub(super) daemon_set: Option<DaemonSet>,
    pub(super) services: Vec<Service>,
    pub(super) nodes: Vec<Node>,
    pub(super) api_endpoints: Vec<EndpointSlice>,
    /// Of the kubeconfig.
    pub(super) server: String,
}

/// The answer of `migrate`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MigrateReport {
    /// Where the configuration is from.
    pub(super) configuration: String,
    /// kube-proxy's image, where it is a `DaemonSet`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kube_proxy_image: Option<String>,
    /// The policy that says the same.
    pub(super) policy: ServiceProxyPolicySpec,
    /// The same as YAML, to be applied.
    pub(super) manifest: String,
    /// Fields without an equivalent, or with another meaning, each with what to do.
    pub(super) notes: Vec<String>,
    /// For the chart's `agent`: what no policy says.
    pub(super) agent: AgentValues,
    /// For the chart's `apiServer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) api_server: Option<ApiServer>,
    /// Services that a proxy serves.
    pub(super) service_count: usize,
    /// What they use that is worth a look.
    pub(super) features: Vec<Feature>,
    /// What else to look at.
    pub(super) warnings: Vec<String>,
    /// The way, in order.
    pub(super) steps: Vec<String>,
}

impl MigrateReport {
    pub(super) fn of(found: &Found) -> Result<Self, PluginError> {
        let refused = |source| PluginError::Convert {
            origin: found.configuration.origin.clone(),
            source,
        };
        let Conversion {
            policy,
            flags,
            mut notes,
        } = convert(&found.configuration.text).map_err(refused)?;
        let agent = AgentValues::of(flags, &mut notes);
        let api_server = api_server(&found.server, &found.services, &found.api_endpoints);
        Ok(Self {
            configuration: found.configuration.origin.clone(),
            kube_proxy_image: found.daemon_set.as_ref().and_then(image),
            manifest: manifest(&policy).map_err(refused)?,
            notes,
            agent,
            service_count: proxied(&found.services),
            features: features(&found.services),
            warnings: warnings(found, api_server.as_ref()),
            api_server,
            steps: steps(Way {
                is_daemon_set: found.daemon_set.is_some(),
                from_ipvs: policy.mode == Mode::IPVS,
            }),
            policy,
        })
    }

    pub(super) fn text(&self, style: Style) -> String {
        let mut text = String::new();
        let title = |text: &mut String, words: &str| {
            // Writing to a string does not fail, here and below.
            let _ = writeln!(text, "{}", style.title(words));
        };
        title(
            &mut text,
            &format!("# Policy that says what {} says", self.configuration),
        );
        text.push_str(&self.manifest);
        if !self.notes.is_empty() {
            title(&mut text, "\n# Without equivalent, or different");
            list(&mut text, self.notes.iter().map(String::as_str));
        }
        title(&mut text, "\n# Values of the chart");
        match &self.api_server {
            Some(ApiServer {
                host,
                port,
                message,
            }) => {
                let _ = writeln!(
                    text,
                    "apiServer:\n  host: {host:?}  # {message}\n  port: {port}"
                );
            }
            None => {
                let _ = writeln!(
                    text,
                    "apiServer: {{}}  # set host and port: see the warning below"
                );
            }
        }
        text.push_str(&self.agent.yaml());
        title(&mut text, &format!("\n# Services: {}", self.service_count));
        for feature in &self.features {
            let _ = writeln!(
                text,
                "- {} ({}): {}",
                feature.name,
                feature.services.len(),
                feature.advice
            );
            let named = feature.services.iter().take(NAMED).map(String::as_str);
            let more = feature.services.len().saturating_sub(NAMED);
            let named = named.collect::<Vec<_>>().join(", ");
            let _ = match more {
                0 => writeln!(text, "    {named}"),
                more => writeln!(text, "    {named} and {more} more"),
            };
        }
        if !self.warnings.is_empty() {
            title(&mut text, "\n# Look at");
            for warning in &self.warnings {
                let _ = writeln!(text, "- {}", style.bad(warning));
            }
        }
        title(&mut text, "\n# Steps");
        for (number, step) in self.steps.iter().enumerate() {
            let _ = writeln!(text, "{}. {step}", number + 1);
        }
        text
    }
}

fn list<'a>(text: &mut String, lines: impl Iterator<Item = &'a str>) {
    for line in lines {
        let _ = writeln!(text, "- {}", line.replace(['\n', '\r'], " "));
    }
}

fn image(daemon_set: &DaemonSet) -> Option<String> {
    let pod = daemon_set.spec.as_ref()?.template.spec.as_ref()?;
    pod.containers.first()?.image.clone()
}

fn warnings(found: &Found, api_server: Option<&ApiServer>) -> Vec<String> {
    let mut warnings = Vec::new();
    if found.configuration.is_assumed {
        warnings.push(
            "there is no ConfigMap kube-system/kube-proxy, so the policy goes by kube-proxy's defaults: give its configuration by --file, or compare its flags"
                .to_owned(),
        );
    }
    if api_server.is_none() {
        warnings.push(
            "no address of the API server that works without Services is known: your kubeconfig has a loopback, Service or gateway address, and the Service \
             kubernetes has no endpoints"
                .to_owned(),
        );
    }
    let without_cidr = found.nodes.iter().filter(|node| {
        let spec = node.spec.as_ref();
        spec.is_none_or(|spec| spec.pod_cidr.is_none() && spec.pod_cidrs.is_none())
    });
    let without_cidr = without_cidr.count();
    if without_cidr > 0 {
        warnings.push(format!(
            "{without_cidr} of {} nodes have no spec.podCIDRs: sourceNAT.detectLocal Auto and NodeCIDR cannot tell their pods, so choose ClusterCIDR, BridgeInterface \
             or InterfaceNamePrefix, as your network plugin asks",
            found.nodes.len()
        ));
    }
    warnings
}
