//! Is this node's proxy well? Told by what the kernel holds, not by whether a loop turned.

mod endpoints;
mod service_servers;
mod state;

pub use endpoints::{health_router, proxy_mode_router};
pub use service_servers::{HealthCheckTable, serve_health_checks};
pub use state::{Health, Trouble};
