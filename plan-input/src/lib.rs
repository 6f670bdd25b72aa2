//! From what an API server or a manifest holds to what a plan is made of. Pure.
//!
//! ```text
//! Service, EndpointSlice, Node -> convert  -> model of sluice-service-plan
//! ServiceProxyPolicy           -> settings -> its Settings
//! ```

pub mod convert;
pub mod settings;
