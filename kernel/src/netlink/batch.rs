//! Many orders in one send, and the answers to them.

use netlink_packet_core::{ErrorBuffer, NLM_F_ACK, NLMSG_ERROR, NetlinkBuffer};

use super::{NetlinkError, messages};

/// Orders of one send. All may be refused, and the default receive buffer (208 KiB) holds that many refusals of at most
/// 1.3 KiB each, as the kernel counts them.
pub(crate) const MAX_ORDERS: usize = 128;

/// An order that the kernel refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RefusedOrder {
    /// Its place among the orders, from 0.
    pub(crate) position: usize,
    /// Positive errno.
    pub(crate) code: i32,
}

/// Orders on their way, numbered one after the other.
pub(super) struct Batch {
    first_sequence: u32,
    last_sequence: u32,
    pub(super) datagram: Vec<u8>,
    pub(super) refused: Vec<RefusedOrder>,
}

impl Batch {
    /// Only the last asks to be acknowledged: the kernel answers in order, and tells a refusal unasked.
    pub(super) fn new(orders: Vec<Vec<u8>>, sequence: &mut u32) -> Self {
        let mut batch = Self {
            first_sequence: sequence.wrapping_add(1),
            last_sequence: *sequence,
            datagram: Vec::new(),
            refused: Vec::new(),
        };
        let last = orders.len().saturating_sub(1);
        for (position, mut order) in orders.into_iter().enumerate() {
            *sequence = sequence.wrapping_add(1);
            let mut header = NetlinkBuffer::new(&mut order);
            header.set_sequence_number(*sequence);
            if position < last {
                header.set_flags(header.flags() & !NLM_F_ACK);
            }
            batch.datagram.append(&mut order);
        }
        batch.last_sequence = *sequence;
        batch
    }

    /// Takes what one recv(2) brought; true when the last order is answered.
    pub(super) fn take(&mut self, datagram: &[u8]) -> Result<bool, NetlinkError> {
        for message in messages(datagram) {
            let message = message.map_err(NetlinkError::Malformed)?;
            let sequence = message.sequence_number();
            let place = sequence.wrapping_sub(self.first_sequence);
            let of_this_batch = place <= self.last_sequence.wrapping_sub(self.first_sequence);
            if message.message_type() != NLMSG_ERROR || !of_this_batch {
                continue;
            }
            let error = ErrorBuffer::new_checked(message.payload())
                .map_err(|cut| NetlinkError::Malformed(cut.to_string()))?;
            if let Some(code) = error.code() {
                self.refused.push(RefusedOrder {
                    position: usize::try_from(place).unwrap_or(usize::MAX),
                    code: code.get().saturating_abs(),
                });
            }
            if sequence == self.last_sequence {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::{NLM_F_ACK, NLMSG_ERROR, NetlinkBuffer};

    use super::{Batch, RefusedOrder};
    use crate::netlink::Request;

    fn orders(count: u8) -> Vec<Vec<u8>> {
        (0..count)
            .map(|command| Request::generic(0x20, command, 1, 0).into_bytes())
            .collect()
    }

    fn answer(sequence: u32, code: i32) -> Vec<u8> {
        let mut bytes = 36_u32.to_ne_bytes().to_vec();
        bytes.extend(NLMSG_ERROR.to_ne_bytes());
        bytes.extend([0; 2]);
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(code.to_ne_bytes());
        bytes.extend([0; 16]);
        bytes
    }

    #[test]
    fn orders_are_numbered_and_only_the_last_asks_for_an_answer() {
        let mut sequence = u32::MAX - 1;
        let batch = Batch::new(orders(3), &mut sequence);
        let told: Vec<_> = batch
            .datagram
            .chunks(20)
            .map(|message| {
                let header = NetlinkBuffer::new_checked(message).unwrap();
                (header.sequence_number(), header.flags() & NLM_F_ACK != 0)
            })
            .collect();
        assert_eq!(told, [(u32::MAX, false), (0, false), (1, true)]);
        assert_eq!(sequence, 1);
    }

    #[test]
    fn every_refusal_is_matched_to_its_order_and_the_last_answer_ends_the_batch() {
        let mut sequence = u32::MAX - 1;
        let mut batch = Batch::new(orders(4), &mut sequence);
        let mut earlier = answer(u32::MAX - 1, -5);
        earlier.extend(answer(u32::MAX, -17));
        assert!(!batch.take(&earlier).unwrap());
        assert!(!batch.take(&answer(1, -2)).unwrap());
        assert!(batch.take(&answer(2, 0)).unwrap());
        let expected = [(0, 17), (2, 2)].map(|(position, code)| RefusedOrder { position, code });
        assert_eq!(batch.refused, expected);
    }

    #[test]
    fn a_cut_answer_is_malformed() {
        let mut sequence = 0;
        let mut batch = Batch::new(orders(1), &mut sequence);
        assert!(batch.take(&answer(1, 0)[..20]).is_err());
    }
}
