//! The running agent: one thread that owns the data plane, tasks around it that own HTTP and signals.

mod clock;
mod desired;
mod drift_log;
mod failure;
mod forwarding;
mod health_check_table;
mod inbox;
mod intake;
mod ipvs_host;
mod lost_claims;
mod node_addresses;
mod node_network;
mod node_planes;
mod pacing;
mod plane;
mod report;
mod route_notices;
mod rule_notices;
mod start;
mod sync_loop;
mod tunables;

pub use clock::{Clock, SystemClock};
pub use desired::Desired;
pub use forwarding::conditions as forwarding_conditions;
pub use inbox::{Batch, Cause, Inbox};
pub use intake::Intake;
pub use ipvs_host::IpvsHost;
pub use node_network::{NetworkWatch, NodeNetwork};
pub use node_planes::NodePlanes;
pub use plane::{LedgerError, Plane, PlaneError, PlaneLedger, Planes, RefusedMode};
pub use report::Report;
pub use rule_notices::RuleNotices;
pub use start::{AgentError, AgentOptions, run};
pub use sync_loop::{Shared, SyncLoop};
pub use tunables::{Tunables, ledger_path};
