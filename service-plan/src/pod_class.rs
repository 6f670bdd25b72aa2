//! Classes of pods, whose traffic has another source address than that of the rest.

use std::sync::Arc;

use ipnet::IpNet;

/// A class of pods. Which pods are in it is decided elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodClass {
    /// Its name.
    pub name: Arc<str>,
    /// What becomes of the source address.
    pub action: PodAction,
    /// The action counts beyond service traffic, towards addresses that are neither pods' nor services'.
    pub egress: bool,
    /// It counts for packets that leave by this interface only.
    pub out_interface: Option<String>,
}

/// What becomes of the source address of a pod's packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PodAction {
    /// It stays.
    Preserve,
    /// The node's takes its place.
    Masquerade,
    /// One of the node's addresses inside these networks takes its place; where the node has none, as [`Masquerade`](Self::Masquerade).
    Snat(Vec<IpNet>),
}

impl PodClass {
    /// It counts for packets that leave by this interface. Where that is not known, only a class of all interfaces counts.
    pub fn counts(&self, leaves_by: Option<&str>) -> bool {
        self.out_interface
            .as_deref()
            .is_none_or(|wanted| leaves_by == Some(wanted))
    }
}
