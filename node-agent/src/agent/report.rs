//! What the data plane's thread tells of the settings that it was given, for those who pass it on.

use std::sync::Arc;

use sluice_crds::v1alpha1::ActiveMode;

use super::plane::RefusedMode;
use crate::attachments::Terms;
use crate::source::Revision;

/// The state as of the last sync.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Whose settings were taken in; absent where they are nobody's revision.
    pub revision: Option<Revision>,
    /// The kernel holds what they ask for, in the mode below.
    pub programmed: bool,
    /// Why the last sync failed; absent when it went well.
    pub failure: Option<String>,
    /// Which mode serves new connections; absent before the first sync.
    pub mode: Option<ActiveMode>,
    /// What could not be taken.
    pub refused: Option<RefusedMode>,
    /// What is done otherwise than the settings ask, in sentences.
    pub conditions: Vec<String>,
    /// Service ports that are served.
    pub service_ports: u32,
    /// What attachments of pods get by the settings that the kernel holds; before the first sync by those that an earlier agent left there, if they are known.
    pub terms: Option<Arc<Terms>>,
}
