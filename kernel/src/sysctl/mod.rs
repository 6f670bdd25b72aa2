//! Kernel tunables below `/proc/sys`.

mod error;
mod ledger;
mod memory;
mod proc;

pub use error::{LedgerError, SysctlError};
pub use ledger::{Restored, SysctlLedger};
pub use memory::MemorySysctls;
pub use proc::ProcSysctls;

/// The door to sysctls. Names are dotted (`net.ipv4.conf.all.route_localnet`); a part that itself has a dot (an interface
/// name `eth0.5`) is written with a slash in place of the dot, as sysctl(8) does.
pub trait Sysctls: Send {
    /// Reads a value, without the line end.
    fn read(&mut self, name: &str) -> Result<String, SysctlError>;
    /// Reads first and writes only a difference (white space apart). Returns the old value if it wrote.
    fn set(&mut self, name: &str, value: &str) -> Result<Option<String>, SysctlError>;
}

/// Two values are the same to the kernel: it separates numbers by tabs, people by blanks.
fn same_value(one: &str, other: &str) -> bool {
    one.split_whitespace().eq(other.split_whitespace())
}
