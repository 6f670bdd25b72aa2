//! Types of the conditions in a status. Those of a policy follow kstatus, so that `kubectl wait` means what people expect.
//!
//! A condition's `observedGeneration` is the `metadata.generation` of the object that it speaks of: one that lags behind says nothing yet of the
//! present spec.

/// Of a policy: it counts for the nodes that it selects.
pub const ACCEPTED: &str = "Accepted";
/// Of a policy: every node that it counts for is at its newest revision, programmed and healthy.
pub const READY: &str = "Ready";
/// Of a policy: nodes are being moved.
pub const RECONCILING: &str = "Reconciling";
/// Of a policy: nothing will move any more until a person does something.
pub const STALLED: &str = "Stalled";

/// Of a node: it can run the revision that it was given.
pub const SUPPORTED: &str = "Supported";
/// Of a node: the kernel holds what the revision asks for.
pub const PROGRAMMED: &str = "Programmed";
/// Of a node: the agent keeps up with changes.
pub const HEALTHY: &str = "Healthy";
