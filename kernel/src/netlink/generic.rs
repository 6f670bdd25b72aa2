//! Generic netlink (`linux/genetlink.h`): the number of a family.

use super::{NetlinkError, NetlinkSocket, Request, attributes};

/// Bytes of `struct genlmsghdr`.
pub(crate) const GENERIC_HEADER: usize = 4;

/// `GENL_ID_CTRL`
const CONTROL: u16 = 0x10;
/// Of the control family.
const CONTROL_VERSION: u8 = 2;
/// `CTRL_CMD_GETFAMILY`
const GET_FAMILY: u8 = 3;
/// `CTRL_ATTR_FAMILY_ID`
const FAMILY_ID: u16 = 1;
/// `CTRL_ATTR_FAMILY_NAME`
const FAMILY_NAME: u16 = 2;

const ENOENT: i32 = 2;

/// The number that the kernel gave to a family; `None` where it has no such family. A message to the family has it as its
/// type.
pub(crate) fn family_id(
    socket: &mut NetlinkSocket,
    name: &str,
) -> Result<Option<u16>, NetlinkError> {
    let mut request = Request::generic(CONTROL, GET_FAMILY, CONTROL_VERSION, 0);
    request.text(FAMILY_NAME, name);
    let mut id = None;
    let asked = socket.ask(&mut request.into_bytes(), &mut |_, payload| {
        for attribute in attributes(payload.get(GENERIC_HEADER..).unwrap_or_default()) {
            let attribute = attribute?;
            if attribute.kind == FAMILY_ID {
                id = Some(attribute.u16_host()?);
            }
        }
        Ok(())
    });
    match asked {
        Ok(()) => id
            .map(Some)
            .ok_or_else(|| NetlinkError::Malformed(format!("no number of family {name}"))),
        Err(NetlinkError::Refused { code: ENOENT, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
