//! `struct ifinfomsg` and its attributes (`linux/if_link.h`).

use super::Port;
use crate::netlink::{Attribute, Request, attributes};

/// `RTM_NEWLINK`
pub(super) const NEW_LINK: u16 = 16;
/// `RTM_GETLINK`
pub(super) const GET_LINK: u16 = 18;

/// Bytes of `struct ifinfomsg`.
const LINK_HEADER: usize = 16;
/// `IFF_PROMISC`
const PROMISCUOUS: u32 = 0x100;

// `IFLA_*`
const NAME: u16 = 3;
const LINK: u16 = 5;
const MASTER: u16 = 10;
const LINK_INFO: u16 = 18;
// `IFLA_INFO_*`
const KIND: u16 = 1;
const DATA: u16 = 2;
const PORT_KIND: u16 = 4;
const PORT_DATA: u16 = 5;
/// `IFLA_BR_VLAN_FILTERING`
const VLAN_FILTERING: u16 = 7;
// `IFLA_BRPORT_*`
const MODE: u16 = 4;
const ISOLATED: u16 = 33;

const BRIDGE: &str = "bridge";

/// A question for one interface.
pub(super) fn question(index: u32) -> Request {
    Request::link(GET_LINK, index)
}

/// A question for the interface of that name.
pub(super) fn question_by_name(name: &str) -> Request {
    let mut request = Request::link(GET_LINK, 0);
    request.text(NAME, name);
    request
}

pub(super) fn set_hairpin(index: u32, on: bool) -> Request {
    let mut request = Request::link(NEW_LINK, index);
    request.nested(LINK_INFO, |info| {
        info.text(PORT_KIND, BRIDGE);
        info.nested(PORT_DATA, |port| port.u8(MODE, u8::from(on)));
    });
    request
}

/// The interface that an answer tells of.
pub(super) fn port(payload: &[u8]) -> Result<Port, String> {
    let word = |at: usize| -> Result<u32, String> {
        let bytes = payload
            .get(at..at + 4)
            .and_then(|bytes| bytes.try_into().ok());
        bytes
            .map(u32::from_ne_bytes)
            .ok_or_else(|| "a link's header is cut".to_owned())
    };
    let mut port = Port {
        index: word(4)?,
        promiscuous: word(8)? & PROMISCUOUS != 0,
        ..Port::default()
    };
    for attribute in attributes(payload.get(LINK_HEADER..).unwrap_or_default()) {
        let attribute = attribute?;
        match attribute.kind {
            NAME => attribute.text()?.clone_into(&mut port.name),
            LINK => port.peer = Some(attribute.u32_host()?),
            MASTER => port.master = Some(attribute.u32_host()?),
            LINK_INFO => read_info(&mut port, attribute.value)?,
            _ => {}
        }
    }
    Ok(port)
}

/// The kernel puts a kind before its data.
fn read_info(port: &mut Port, bytes: &[u8]) -> Result<(), String> {
    let mut port_kind = "";
    for info in attributes(bytes) {
        let info = info?;
        match info.kind {
            KIND => port.kind = Some(info.text()?.to_owned()),
            DATA if port.kind.as_deref() == Some(BRIDGE) => {
                port.vlan_filtering = flag(&info, VLAN_FILTERING)?;
            }
            PORT_KIND => port_kind = info.text()?,
            PORT_DATA if port_kind == BRIDGE => {
                port.hairpin = flag(&info, MODE)?;
                port.isolated = flag(&info, ISOLATED)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn flag(nest: &Attribute<'_>, kind: u16) -> Result<Option<bool>, String> {
    for attribute in attributes(nest.value) {
        let attribute = attribute?;
        if attribute.kind == kind {
            return Ok(Some(attribute.u8()? != 0));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::port;

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = port(&bytes);
        }
    }

    #[test]
    fn a_cut_header_is_told() {
        assert!(port(&[0; 11]).is_err());
        assert!(port(&[0; 16]).is_ok());
    }
}
