//! Labs in which Sluice meets a real kernel, and the tables of what must happen there.
//!
//! [`lab`] makes a node, its pods and their neighbours out of network namespaces. [`packets`] is the table of what a
//! Service must do to a packet, the same for every data plane. [`control_plane`] is a real API server, and [`vm`] a
//! machine with a kernel that has everything. [`container_runtime`] is a real containerd.

pub mod agent_process;
pub mod attach;
pub mod bench;
pub mod cache;
pub mod changes;
pub mod container_runtime;
pub mod control_plane;
mod debian_package;
pub mod demo;
mod go_module;
pub mod installation;
pub mod kube_proxy_process;
pub mod kubectl_plugin;
pub mod lab;
pub mod operator_process;
pub mod packets;
mod server_process;
pub mod skip;
pub mod source_nat;
pub mod vm;
