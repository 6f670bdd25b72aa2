//! A datapath of Open vSwitch, made by the kernel's own interface (`linux/openvswitch.h`), which takes none of its programs.

use std::io::{self, Read as _};

use sluice_kernel::ports::{NetlinkPorts, Ports as _};
use socket2::{Domain, Protocol, Socket, Type};

use super::AttachError;
use crate::lab::Namespace;

const AF_NETLINK: i32 = 16;
const NETLINK_GENERIC: i32 = 16;
/// `NLM_F_REQUEST | NLM_F_ACK`
const FLAGS: u16 = 5;
const NLMSG_ERROR: u16 = 2;
/// Bytes of `struct nlmsghdr` and `struct genlmsghdr`.
const HEADERS: usize = 20;
const ENOENT: i32 = 2;

/// `GENL_ID_CTRL`
const CONTROL: u16 = 0x10;
/// `CTRL_CMD_GETFAMILY`
const GET_FAMILY: u8 = 3;
/// `CTRL_ATTR_FAMILY_ID`
const FAMILY_ID: u16 = 1;
/// `CTRL_ATTR_FAMILY_NAME`
const FAMILY_NAME: u16 = 2;

/// `OVS_DP_CMD_NEW` and `OVS_VPORT_CMD_NEW`
const NEW: u8 = 1;
// `OVS_DP_ATTR_*`
const DATAPATH_NAME: u16 = 1;
const DATAPATH_UPCALL: u16 = 2;
// `OVS_VPORT_ATTR_*`
const PORT_TYPE: u16 = 2;
const PORT_NAME: u16 = 3;
const PORT_UPCALL: u16 = 5;
/// `OVS_VPORT_TYPE_NETDEV`
const DEVICE: u32 = 1;
/// Who is asked about packets that no flow knows.
const NOBODY: u32 = 0;

/// Makes a datapath of this name on a node, with a link of the node as its port. False where the kernel has no Open vSwitch.
pub fn add_switch(node: &Namespace, name: &str, port: &str) -> Result<bool, AttachError> {
    let (name, port) = (name.to_owned(), port.to_owned());
    let made = node.run(move || make(&name, &port))?;
    made.map_err(AttachError::Switch)
}

fn make(name: &str, port: &str) -> io::Result<bool> {
    let Some(datapaths) = family("ovs_datapath")? else {
        return Ok(false);
    };
    let of_datapath = [
        attribute(DATAPATH_NAME, &text(name)),
        attribute(DATAPATH_UPCALL, &NOBODY.to_ne_bytes()),
    ];
    let no_datapath = 0_u32.to_ne_bytes();
    ask(
        datapaths,
        NEW,
        2,
        &[&no_datapath[..], &of_datapath.concat()].concat(),
    )?;
    let links = NetlinkPorts::open().and_then(|mut links| links.named(name));
    let index = links.map_err(io::Error::other)?.unwrap_or_default().index;
    let of_port = [
        attribute(PORT_TYPE, &DEVICE.to_ne_bytes()),
        attribute(PORT_NAME, &text(port)),
        attribute(PORT_UPCALL, &NOBODY.to_ne_bytes()),
    ];
    let ports = family("ovs_vport")?.unwrap_or_default();
    ask(
        ports,
        NEW,
        1,
        &[&index.to_ne_bytes()[..], &of_port.concat()].concat(),
    )?;
    Ok(true)
}

/// The number of a family; asking for it makes the kernel load what has it.
fn family(name: &str) -> io::Result<Option<u16>> {
    let answer = match ask(CONTROL, GET_FAMILY, 2, &attribute(FAMILY_NAME, &text(name))) {
        Err(error) if error.raw_os_error() == Some(ENOENT) => return Ok(None),
        answer => answer?,
    };
    let mut rest = answer.get(HEADERS..).unwrap_or_default();
    while let Some((length, kind)) = Some((half(rest, 0), half(rest, 2))).filter(|of| of.0 >= 4) {
        if kind == FAMILY_ID {
            return Ok(Some(half(rest, 4)));
        }
        rest = rest
            .get(usize::from(length).next_multiple_of(4)..)
            .unwrap_or_default();
    }
    Ok(None)
}

/// Sends a message; the answer is what comes first, an error where the kernel refused.
fn ask(family: u16, command: u8, version: u8, body: &[u8]) -> io::Result<Vec<u8>> {
    let length = u32::try_from(HEADERS + body.len()).map_err(io::Error::other)?;
    let message = [
        &length.to_ne_bytes()[..],
        &family.to_ne_bytes(),
        &FLAGS.to_ne_bytes(),
        &[0; 8], // sequence and port
        &[command, version, 0, 0],
        body,
    ];
    let protocol = Some(Protocol::from(NETLINK_GENERIC));
    let mut socket = Socket::new(Domain::from(AF_NETLINK), Type::RAW, protocol)?;
    socket.send(&message.concat())?;
    let mut answer = vec![0; 8192];
    let length = socket.read(&mut answer)?;
    answer.truncate(length);
    if half(&answer, 4) == NLMSG_ERROR {
        let code = answer.get(16..20).and_then(|code| code.try_into().ok());
        match code.map(i32::from_ne_bytes) {
            Some(0) => {}
            Some(code) => return Err(io::Error::from_raw_os_error(-code)),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
    Ok(answer)
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn text(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

/// Nought past the end.
fn half(bytes: &[u8], at: usize) -> u16 {
    let bytes = bytes
        .get(at..at + 2)
        .and_then(|bytes| bytes.try_into().ok());
    bytes.map(u16::from_ne_bytes).unwrap_or_default()
}
