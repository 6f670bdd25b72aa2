//! Everything that decisions depend on.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::objects::{Answer, Node, Policy, Proxy};
use crate::revision::Revision;

/// The policy that counts where no other does. No object has it; its rollout is the default one.
pub const BUILT_IN: &str = "built-in";

/// What the API server holds, as far as it has been told.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// Policies by name.
    pub policies: BTreeMap<Arc<str>, Policy>,
    /// Nodes by name.
    pub nodes: BTreeMap<Arc<str>, Node>,
    /// Objects of nodes by name.
    pub proxies: BTreeMap<Arc<str>, Proxy>,
    /// Kept revisions by name.
    pub revisions: BTreeMap<Arc<str>, Revision>,
    /// Services that are proxied.
    pub services: usize,
}

impl Snapshot {
    /// Puts an object of a node in place, and remembers since when it has been ready.
    pub fn set_proxy(&mut self, name: &Arc<str>, mut proxy: Proxy, now: Timestamp) {
        if proxy.answer == Answer::Ready {
            let before = self.proxies.get(name);
            let same = before
                .filter(|before| before.told == proxy.told && before.moved_at == proxy.moved_at);
            proxy.ready_since = same.and_then(|before| before.ready_since).or(Some(now));
        }
        self.proxies.insert(Arc::clone(name), proxy);
    }
}
