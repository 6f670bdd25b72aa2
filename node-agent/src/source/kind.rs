//! Kinds of objects.

use std::fmt;

use sluice_crds::v1alpha1::{API_VERSION, NODE_SERVICE_PROXY, SERVICE_PROXY_POLICY};

/// A kind of object that a source reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `v1` Service.
    Service,
    /// `discovery.k8s.io/v1` `EndpointSlice`.
    EndpointSlice,
    /// `v1` Node.
    Node,
    /// `sluice.dev/v1alpha1` `ServiceProxyPolicy`.
    ServiceProxyPolicy,
    /// `sluice.dev/v1alpha1` `NodeServiceProxy`.
    NodeServiceProxy,
    /// `v1` Pod.
    Pod,
    /// `v1` Namespace.
    Namespace,
}

impl Kind {
    /// Those that manifests may have.
    pub const OF_MANIFESTS: [Self; 4] = [
        Self::Service,
        Self::EndpointSlice,
        Self::Node,
        Self::ServiceProxyPolicy,
    ];

    /// Its name in manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Node => "Node",
            Self::ServiceProxyPolicy => SERVICE_PROXY_POLICY,
            Self::NodeServiceProxy => NODE_SERVICE_PROXY,
            Self::Pod => "Pod",
            Self::Namespace => "Namespace",
        }
    }

    /// Its `apiVersion` in manifests.
    pub fn api_version(self) -> &'static str {
        match self {
            Self::Service | Self::Node | Self::Pod | Self::Namespace => "v1",
            Self::EndpointSlice => "discovery.k8s.io/v1",
            Self::ServiceProxyPolicy | Self::NodeServiceProxy => API_VERSION,
        }
    }

    /// Its objects live in namespaces.
    pub fn is_namespaced(self) -> bool {
        matches!(self, Self::Service | Self::EndpointSlice | Self::Pod)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
