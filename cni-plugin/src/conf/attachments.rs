//! `cni.dev/valid-attachments` (CNI specification 1.1.0, section 2, "GC").

use serde::Deserialize;
use serde_json::value::RawValue;
use sluice_attachment::AttachmentId;

use super::ConfError;

#[derive(Deserialize)]
struct Named {
    #[serde(rename = "containerID")]
    container: String,
    ifname: String,
}

/// A list that is not understood must not become a short one: what is missing from it is removed. An attachment with a name that none can
/// have is none of ours.
pub(super) fn read(raw: &RawValue) -> Result<Vec<AttachmentId>, ConfError> {
    let named: Vec<Named> = serde_json::from_str(raw.get()).map_err(|_| ConfError::Invalid {
        key: super::VALID_ATTACHMENTS,
        what: "a list of objects with containerID and ifname",
    })?;
    let ids = named
        .into_iter()
        .filter_map(|named| AttachmentId::new(named.container, named.ifname).ok());
    Ok(ids.collect())
}
