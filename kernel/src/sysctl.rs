//! Kernel tunables below `/proc/sys`.

/// Errors of [`Sysctls`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SysctlError {
    /// This kernel (or network namespace) has no such tunable.
    #[error("this kernel has no sysctl {name}")]
    NotFound {
        /// Dotted name.
        name: String,
    },
    /// It may not be written here: read-only `/proc/sys`, or not this namespace's.
    #[error("sysctl {name} cannot be written here")]
    ReadOnly {
        /// Dotted name.
        name: String,
    },
    /// The kernel does not take the value.
    #[error("the kernel refuses {value:?} for sysctl {name}")]
    InvalidValue {
        /// Dotted name.
        name: String,
        /// The value.
        value: String,
    },
    /// Anything else.
    #[error("sysctl {name}: {operation}")]
    Io {
        /// Dotted name.
        name: String,
        /// What was tried.
        operation: &'static str,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
}

/// The door to sysctls. Names are dotted (`net.ipv4.conf.all.route_localnet`); a part that itself has a dot (an interface
/// name `eth0.5`) is written with a slash in place of the dot, as sysctl(8) does.
pub trait Sysctls: Send {
    /// Reads a value, without the line end.
    fn read(&mut self, name: &str) -> Result<String, SysctlError>;
    /// Reads first and writes only a difference (white space apart). Returns the old value if it wrote.
    fn set(&mut self, name: &str, value: &str) -> Result<Option<String>, SysctlError>;
}
