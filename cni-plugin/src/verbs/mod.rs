//! What each verb does.

mod add;
mod check;
mod del;
mod gc;
mod status;

use std::path::PathBuf;
use std::time::Duration;

use sluice_attachment::{AttachmentId, Pod};
use sluice_kernel::address_set::{AddressSetError, AddressSets, IpsetNetlink};

pub(crate) use self::add::{AddError, add, undo};
pub(crate) use self::check::check;
pub(crate) use self::del::del;
pub(crate) use self::gc::gc;
pub(crate) use self::status::status;

/// How long another call may hold the store; each holds it for milliseconds.
const STORE_PATIENCE: Duration = Duration::from_secs(20);

/// An attachment as the environment names it.
#[derive(Debug)]
pub(crate) struct Attachment {
    pub(crate) id: AttachmentId,
    pub(crate) netns: PathBuf,
    pub(crate) pod: Option<Pod>,
}

fn kernel_sets() -> Result<Box<dyn AddressSets>, AddressSetError> {
    Ok(Box::new(IpsetNetlink::open()?))
}
