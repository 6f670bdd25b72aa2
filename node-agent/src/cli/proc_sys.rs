//! Where the node's sysctls are written.

use std::path::PathBuf;

use clap::Args;

/// A container runtime mounts `/proc/sys` read-only, and nothing over it: the node's `/proc/sys/net` comes below another directory.
#[derive(Debug, Clone, Args)]
pub(super) struct ProcSysArgs {
    /// The node's /proc/sys, or a directory with a writable mount of its `net`
    #[arg(
        long,
        env = "SLUICE_PROC_SYS",
        default_value = "/proc/sys",
        value_name = "DIR"
    )]
    pub(super) proc_sys: PathBuf,
}
