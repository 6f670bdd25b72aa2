//! A throw-away virtual machine with a kernel that has everything: IPVS, dummy devices, ipset, nftables, netem.
//!
//! [`run`] boots a guest in seconds and runs one command in it as root. The guest's root file system is the host's,
//! read-only over 9p, under an overlay in memory: whatever was built here runs there at the same path with the same
//! libraries and programs, and nothing that it writes comes back. The guest has no network device.
//!
//! The guest has a `/tmp`, `/run` and `/dev/shm` of its own. Of the host's only the caller's work tree, cargo's target
//! directory and the command's own directory are there, and what [`Guest::shares`] names.

mod disks;
mod error;
pub mod guest_side;
mod initramfs;
mod kernel;
mod machine;
mod messages;
mod packages;
mod run;
mod shares;

pub use disks::Disk;
pub use error::VmError;
pub use kernel::{DEFAULT_KERNEL, Kernel};
pub use run::{End, Guest, Report, run};
pub use shares::Share;
