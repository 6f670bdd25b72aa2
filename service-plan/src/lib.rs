//! What a node must do with Service traffic, decided purely.
//!
//! ```text
//! model (Service, EndpointSlice, Node, Settings) -> Catalog -> plan (ServicePlan per service) -> whoever programs a kernel
//!                                                                  \-> trace(packet, plan): the verdict and why
//! ```
//!
//! Nothing here knows a Kubernetes client, an async runtime or a kernel.

pub mod access;
pub mod catalog;
pub mod destination;
mod label_selector;
pub mod masquerade;
pub mod model;
pub mod node_ports;
pub mod packet;
pub mod plan;
mod pod_class;
mod service_plans;
pub mod source;
pub mod trace;
