//! Version `v1alpha1`.

mod cidr;
mod conntrack;
mod endpoint_weights;
mod invalid;
mod mode;
mod node_ports;
mod node_selector;
mod policy;
mod source_nat;
mod sync;
mod sysctls;

pub use cidr::{Cidr, CidrError};
pub use conntrack::Conntrack;
pub use endpoint_weights::EndpointWeight;
pub use invalid::Invalid;
pub use mode::{Iptables, IptablesVariant, Mode};
pub use node_ports::{NodePortAddress, NodePorts};
pub use node_selector::{NodeSelector, Requirement, RequirementOperator};
pub use policy::ServiceProxyPolicySpec;
pub use source_nat::{
    BridgeInterface, ClusterCidr, DetectLocal, DetectLocalMode, InterfaceNamePrefix, PortRange,
    Snat, SourceNat,
};
pub use sync::SyncIntervals;
pub use sysctls::Sysctl;

/// `apiVersion` of this version's objects.
pub const API_VERSION: &str = "sluice.dev/v1alpha1";

/// `kind` of the policy object.
pub const SERVICE_PROXY_POLICY: &str = "ServiceProxyPolicy";
