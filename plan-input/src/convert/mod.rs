//! From Kubernetes objects to the fields that matter. Pure.

mod addresses;
mod endpoint_slice;
mod error;
mod names;
mod node;
mod service;

pub use endpoint_slice::{cause, endpoint_slice};
pub use error::{FieldError, Problem};
pub use names::{namespaced, unnamespaced};
pub use node::{NodeObject, node};
pub use service::service;
