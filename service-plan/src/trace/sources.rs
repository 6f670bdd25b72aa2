//! As which source a packet arrives.

use super::{Trace, Verdict};
use crate::masquerade::keeps_source;
use crate::model::{Family, LocalDetector};
use crate::plan::Endpoint;
use crate::source::Source;

impl Trace {
    /// As which source the packet comes to this endpoint when it leaves by this interface, as far as that is known. Hairpin traffic is always
    /// masqueraded; towards [`Settings::exclude_destinations`] the source stays, unless it is loopback; then the pod's class counts, then
    /// the frontend's rule. Kept where the verdict is not [`Verdict::Balance`].
    pub fn source(&self, endpoint: &Endpoint, leaves_by: Option<&str>) -> Source {
        let Verdict::Balance { masquerade, .. } = &self.verdict else {
            return Source::Kept;
        };
        let destination = endpoint.address.ip();
        let family = Family::of(destination);
        let masqueraded = || Source::masqueraded(family, &self.node, &self.settings);
        if destination == self.source {
            return masqueraded();
        }
        if keeps_source(destination, &self.settings) && !self.source.is_loopback() {
            return Source::Kept;
        }
        match &self.class {
            Some(class) if class.counts(leaves_by) => {
                Source::of_class(&class.action, family, &self.node, &self.settings)
            }
            _ if *masquerade => masqueraded(),
            _ => Source::Kept,
        }
    }

    /// Whether the packet has a source address of the node when it comes to this endpoint, by an interface that is not known.
    pub fn masqueraded(&self, endpoint: &Endpoint) -> bool {
        self.source(endpoint, None) != Source::Kept
    }

    /// As which source a packet that is no service's leaves the node by this interface.
    pub fn egress_source(&self, leaves_by: &str) -> Source {
        let to_pods = match &self.settings.detect_local {
            LocalDetector::BridgeInterface(name) => leaves_by == name,
            LocalDetector::InterfaceNamePrefix(prefix) => leaves_by.starts_with(prefix),
            LocalDetector::Cidrs(_) | LocalDetector::None => false,
        };
        match &self.class {
            Some(class)
                if self.verdict == Verdict::NotOurs
                    && !to_pods
                    && class.counts(Some(leaves_by)) =>
            {
                let family = Family::of(self.source);
                Source::of_class(&class.action, family, &self.node, &self.settings)
            }
            _ => Source::Kept,
        }
    }
}
