//! An address of the API server that works before Services do. Pure.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt as _;
use serde::Serialize;

/// What the chart is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApiServer {
    /// Host name or address.
    pub(super) host: String,
    /// Port.
    pub(super) port: u16,
    /// Where it is from, and what to look at.
    pub(super) message: String,
}

/// The kubeconfig's, where nodes can use it; else one that the Service `kubernetes` leads to.
pub(super) fn api_server(
    server: &str,
    services: &[Service],
    slices: &[EndpointSlice],
) -> Option<ApiServer> {
    of_kubeconfig(server, services).or_else(|| of_endpoints(slices))
}

fn of_kubeconfig(server: &str, services: &[Service]) -> Option<ApiServer> {
    let rest = server.strip_prefix("https://")?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    // One behind a path is a gateway for people.
    if !path.is_empty() {
        return None;
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (authority, 443),
    };
    let host = host.trim_matches(['[', ']']);
    let address = host.parse::<IpAddr>().ok();
    let is_local = host == "localhost" || address.is_some_and(|address| address.is_loopback());
    let is_service = services.iter().any(|service| {
        let spec = service.spec.as_ref();
        let addresses = spec.and_then(|spec| spec.cluster_ips.as_ref());
        addresses.into_iter().flatten().any(|one| one == host)
    });
    (!is_local && !is_service).then(|| ApiServer {
        host: host.to_owned(),
        port,
        message:
            "of your kubeconfig: see that the nodes reach it, and that it is no Service's address"
                .to_owned(),
    })
}

fn of_endpoints(slices: &[EndpointSlice]) -> Option<ApiServer> {
    let mut slices: Vec<&EndpointSlice> = slices.iter().collect();
    slices.sort_by_key(|slice| slice.name_any());
    let slice = slices.iter().find(|slice| !slice.endpoints.is_empty())?;
    let port = slice.ports.as_ref()?.first()?.port?;
    let count = slice.endpoints.len();
    let message = if count > 1 {
        format!("one of {count} API servers: better the address of the load balancer before them")
    } else {
        "the endpoint of the Service kubernetes: better a name or a load balancer's address, if there is one".to_owned()
    };
    Some(ApiServer {
        host: slice.endpoints.first()?.addresses.first()?.clone(),
        port: u16::try_from(port).ok()?,
        message,
    })
}
