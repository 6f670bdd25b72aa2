//! What the suite is run against.

use std::time::Duration;

use sluice_kernel::address_set::{
    AddressSetError, AddressSets, IpsetNetlink, ListedEntry, MemorySets,
};

use super::namespace::{in_new_namespace, sh, skip};
use super::program;

/// An implementation, and what the world does to it.
pub(crate) trait Subject {
    fn sets(&mut self) -> &mut dyn AddressSets;
    /// Makes a rule refer to the set.
    fn refer(&mut self, name: &str);
    /// Takes that rule away.
    fn release(&mut self, name: &str);
    /// Lets time pass.
    fn pass(&mut self, seconds: u32);
    /// Lists a set, compared with another witness if there is one.
    fn list(&mut self, name: &str) -> Vec<ListedEntry>;
}

pub(crate) struct InMemory(MemorySets);

impl InMemory {
    pub(crate) fn new() -> Self {
        Self(MemorySets::new())
    }
}

impl Subject for InMemory {
    fn sets(&mut self) -> &mut dyn AddressSets {
        &mut self.0
    }

    fn refer(&mut self, name: &str) {
        self.0.set_references(name, 1);
    }

    fn release(&mut self, name: &str) {
        self.0.set_references(name, 0);
    }

    fn pass(&mut self, seconds: u32) {
        self.0.advance(seconds);
    }

    fn list(&mut self, name: &str) -> Vec<ListedEntry> {
        self.0.list(name).unwrap()
    }
}

pub(crate) struct InKernel(pub(crate) IpsetNetlink);

impl Subject for InKernel {
    fn sets(&mut self) -> &mut dyn AddressSets {
        &mut self.0
    }

    fn refer(&mut self, name: &str) {
        rule("-A", name);
    }

    fn release(&mut self, name: &str) {
        rule("-D", name);
    }

    fn pass(&mut self, seconds: u32) {
        std::thread::sleep(Duration::from_secs(seconds.into()));
    }

    fn list(&mut self, name: &str) -> Vec<ListedEntry> {
        let listed = self.0.list(name).unwrap();
        assert_eq!(program::listed(name), program::written(listed.clone()));
        listed
    }
}

fn rule(action: &str, set: &str) {
    sh(&format!(
        "iptables-legacy -w {action} INPUT -m set --match-set {set} src -j ACCEPT"
    ));
}

/// Runs `test` in a network namespace of its own, unless the kernel has no ipset.
pub(crate) fn in_kernel(test: impl FnOnce(&mut InKernel) + Send) {
    in_new_namespace(|| match IpsetNetlink::open() {
        Err(AddressSetError::Unsupported) => skip("the kernel has no ipset"),
        opened => test(&mut InKernel(opened.unwrap())),
    });
}
