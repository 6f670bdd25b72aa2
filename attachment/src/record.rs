//! What is remembered of an attachment.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{AttachmentId, Treatment};

/// The version of records that this code writes.
pub const RECORD_VERSION: u32 = 1;

/// One attachment as it was made. Fields that are not known are passed over, so an older program reads a newer record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// [`RECORD_VERSION`] of its writer.
    pub version: u32,
    /// Which attachment.
    pub id: AttachmentId,
    /// Path of the sandbox's network namespace.
    pub netns: String,
    /// Name of the network configuration.
    pub network: String,
    /// Whose sandbox, where the runtime said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Pod>,
    /// The pod's addresses on this interface. Another attachment that is given one of them takes it out of here.
    pub addresses: Vec<IpAddr>,
    /// The node's end of the pod's link, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_interface: Option<String>,
    /// What was done for hairpin.
    pub hairpin: HairpinSet,
    /// What the pod was given.
    pub treatment: Treatment,
}

/// Identity of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pod {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID; tells a pod from its successor of the same name. Absent from runtimes that do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

/// What was done for hairpin. It is recorded before it is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum HairpinSet {
    /// The flag of the port that `host_interface` is.
    BridgePort {
        /// Name of the bridge.
        bridge: String,
    },
    /// `host_interface` is a link of its own, for which the node routes: packets come back by it without more.
    Routed,
    /// Nothing, as the mode says.
    Nothing,
}
