//! Version `v1alpha1`.

mod agents;
mod cidr;
pub mod conditions;
mod conntrack;
mod definitions;
mod endpoint_weights;
mod hairpin;
mod interface_name;
mod invalid;
mod iptables;
mod ipvs;
mod label_selector;
mod mode;
mod node_ports;
mod node_service_proxy;
mod pod_classes;
mod pod_sysctls;
mod policy;
mod policy_status;
mod precedence;
mod resolved_settings;
mod rollout;
mod schema;
mod service_overrides;
mod service_proxy_name;
mod source_nat;
mod sync;
mod sysctls;

pub use agents::{MODE_BEFORE, MOVED_AT, NOT_READY_TAINT, can_have_agent};
pub use cidr::{Cidr, CidrError};
pub use conntrack::Conntrack;
pub use definitions::definitions;
pub use endpoint_weights::EndpointWeight;
pub use hairpin::{Hairpin, HairpinMode};
pub use invalid::Invalid;
pub use iptables::{InstalledVariant, Iptables, IptablesVariant};
pub use ipvs::{ConnectionReuse, GracefulTermination, Ipvs, IpvsTimeouts, VipBinding};
pub use label_selector::{LabelOperator, LabelRequirement, LabelSelector};
pub use mode::{ActiveMode, AutoMode, Mode, ModeRule, ModeSwitch};
pub use node_ports::{NodePortAddress, NodePorts};
pub use node_service_proxy::{
    Capabilities, NodeServiceProxy, NodeServiceProxySpec, NodeServiceProxyStatus,
};
pub use pod_classes::{ClassAddresses, PodAction, PodClass};
pub use pod_sysctls::PodSysctl;
pub use policy::{ServiceProxyPolicy, ServiceProxyPolicySpec};
pub use policy_status::{ModeCount, ServiceProxyPolicyStatus};
pub use precedence::{Precedence, why_not};
pub use resolved_settings::ResolvedSettings;
pub use rollout::{OnFailure, Rollout};
pub use service_overrides::ServiceOverride;
pub use service_proxy_name::{OUR_PROXY_NAME, SERVICE_PROXY_NAME, is_ours_to_serve};
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

/// `kind` of the object of one node.
pub const NODE_SERVICE_PROXY: &str = "NodeServiceProxy";
