//! A real cluster of kind: a control plane and two workers as containers, in a network namespace that no way leads out of.
//!
//! ```text
//!   outside (the lab's network namespace, with dockerd) ==== network "kind" ====+==== control plane   pool=control
//!                                                                               +==== worker          pool=a
//!                                                                               +==== worker2         pool=b
//! ```
//!
//! The cluster has two address families, no kube-proxy, and a pod network of the plainest kind: a bridge on each node with
//! hairpin off, and routes between the nodes. All of it ends with the value, and with the process that holds it.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

mod built_node;
mod client;
mod cluster;
mod daemon;
mod diagnostics;
mod disk;
mod error;
mod images;
mod kube_proxy;
mod kubernetes_images;
mod node_image;
mod pod_images;
mod pod_network;
mod programs;
mod published_node;
mod settings;
pub mod workload;

pub use client::{Client, Load, LoadReport};
pub use cluster::{Cluster, Node, time_limit};
pub use daemon::Daemon;
pub use disk::Disk;
pub use error::KindError;
pub use pod_images::PodImage;
pub use programs::Program;

/// A short name for texts: another one when one of them changes.
fn key(texts: &[&str]) -> String {
    let mut hasher = SipHasher13::new();
    for text in texts {
        hasher.write(text.as_bytes());
        hasher.write_u8(0xff);
    }
    format!("{:016x}", hasher.finish())
}
