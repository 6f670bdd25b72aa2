//! Telling the messages of a datagram apart.

use netlink_packet_core::NetlinkBuffer;

/// Messages start at multiples of this.
const ALIGNMENT: usize = 4;

/// The messages of a datagram. One that is cut off is an error, and the last.
pub(crate) fn messages(
    datagram: &[u8],
) -> impl Iterator<Item = Result<NetlinkBuffer<&[u8]>, String>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let datagram = std::mem::take(&mut rest);
        if datagram.is_empty() {
            return None;
        }
        let message = NetlinkBuffer::new_checked(datagram).map_err(|cut| cut.to_string());
        Some(message.inspect(|message| {
            let length = usize::try_from(message.length()).unwrap_or(usize::MAX);
            let next = datagram.get(length.next_multiple_of(ALIGNMENT)..);
            rest = next.unwrap_or_default();
        }))
    })
}
