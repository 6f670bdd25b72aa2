//! Kernel modules: which are there, and loading them.

mod error;
mod memory;
mod modprobe;
mod tree;

pub use error::ModulesError;
pub use memory::MemoryModules;
pub use modprobe::ModprobeModules;

/// Whether a module is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ModuleState {
    /// Part of the kernel's image: always there, with the parameters of its command line.
    BuiltIn,
    /// In the kernel now.
    Loaded,
    /// Not in the kernel, and among the modules of the running release.
    Loadable,
    /// None of these as far as it can be seen. In a container the node's modules may be out of sight, and a part of the
    /// kernel's image that has no parameters with them.
    Missing,
}

impl ModuleState {
    /// The kernel has it now.
    pub fn is_present(self) -> bool {
        matches!(self, Self::BuiltIn | Self::Loaded)
    }
}

/// The door to kernel modules. They are the whole node's, whatever the network namespace. In names `-` and `_` are the same.
pub trait Modules: Send {
    /// Looks for a module.
    fn state(&mut self, name: &str) -> Result<ModuleState, ModulesError>;
    /// Loads a module, with those that it needs, and with parameters by name. One that is present stays as it is, its
    /// parameters too.
    fn load(&mut self, name: &str, parameters: &[(&str, &str)]) -> Result<(), ModulesError>;
}

/// The form that the kernel lists a name in.
fn canonical(name: &str) -> String {
    name.replace('-', "_")
}
