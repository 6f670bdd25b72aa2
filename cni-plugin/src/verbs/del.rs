//! DEL (CNI specification 1.1.0, section 2).

use sluice_attachment::AttachmentId;
use sluice_attachment::protocol::Detached;
use sluice_attachment::store::Store;

use super::{STORE_PATIENCE, kernel_sets};
use crate::cni::CniError;
use crate::conf::Conf;
use crate::{decision, membership};

/// Gives back what an attachment holds. What is missing is no error: nothing is there to be given back.
pub(crate) fn del(conf: &Conf, id: &AttachmentId) -> Result<(), CniError> {
    if conf.state_directory.exists() {
        let store = Store::open(&conf.state_directory)?;
        let locked = store.lock(STORE_PATIENCE)?;
        match locked.get(id)? {
            Some(record) => membership::leave(&locked, &record, &mut kernel_sets)?,
            // What a writer that died left half written.
            None => {
                locked.remove(id)?;
            }
        }
    }
    decision::tell_detached(conf, Detached { id: id.clone() });
    Ok(())
}
