//! The socket.

use std::io;

use netlink_packet_core::{
    ErrorBuffer, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NLMSG_OVERRUN, NetlinkBuffer,
};
use netlink_sys::{Socket, SocketAddr};

use super::batch::{Batch, MAX_ORDERS, RefusedOrder};
use super::{Request, messages};

/// The longest answer is a refusal that quotes a 64 KiB request.
const ANSWER_BYTES: usize = 128 * 1024;
/// How often a dump is asked for again when it was disturbed.
const DUMP_ATTEMPTS: usize = 8;

/// Takes the message type and the payload of an answer; an error says what is wrong with it.
pub(crate) type ReadAnswer<'a> = dyn FnMut(u16, &[u8]) -> Result<(), String> + 'a;

/// Why a question has no (whole) answer.
#[derive(Debug)]
pub(crate) enum NetlinkError {
    /// The socket failed.
    Socket {
        operation: &'static str,
        source: io::Error,
    },
    /// The kernel refused.
    Refused {
        /// Positive errno, or the subsystem's own code.
        code: i32,
        /// The request (from its `nlmsghdr` on) as the kernel quotes it; may be cut after the header.
        request: Vec<u8>,
    },
    /// What was dumped changed while it was dumped (`NLM_F_DUMP_INTR`): something may be missing, or be there twice.
    Interrupted,
    /// The answer is not understood.
    Malformed(String),
}

/// A netlink socket in the network namespace of the thread that opened it.
pub(crate) struct NetlinkSocket {
    socket: Socket,
    sequence: u32,
    answer: Vec<u8>,
    messages_sent: u64,
    sends: u64,
}

impl NetlinkSocket {
    pub(crate) fn open(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // Netlink answers within send(2), and goes on with a dump within recv(2): an empty queue means
        // a lost answer, for which nobody should wait.
        socket.set_non_blocking(true)?;
        // Else every acknowledgement quotes the whole request.
        socket.set_cap_ack(true)?;
        Ok(Self {
            socket,
            sequence: 0,
            answer: Vec::with_capacity(ANSWER_BYTES),
            messages_sent: 0,
            sends: 0,
        })
    }

    /// Requests sent since it was opened.
    pub(crate) fn messages_sent(&self) -> u64 {
        self.messages_sent
    }

    /// Calls of send(2) since it was opened.
    pub(crate) fn sends(&self) -> u64 {
        self.sends
    }

    /// Sends one request (its sequence number is set here), hands the type and payload of each answer to `read`, and
    /// returns when the kernel has acknowledged or finished. After an error of `read` no more is handed to it.
    pub(crate) fn ask(
        &mut self,
        request: &mut [u8],
        read: &mut ReadAnswer<'_>,
    ) -> Result<(), NetlinkError> {
        self.sequence = self.sequence.wrapping_add(1);
        NetlinkBuffer::new(&mut *request).set_sequence_number(self.sequence);
        self.send(request, 1)?;
        let mut dialogue = Dialogue {
            sequence: self.sequence,
            read,
            interrupted: false,
            unread: None,
        };
        loop {
            receive(&self.socket, &mut self.answer)?;
            if dialogue.take(&self.answer)? {
                return dialogue.end();
            }
        }
    }

    /// Sends orders that are answered by yes or no, many at a time, and returns those that were refused, in order; the
    /// others are carried out all the same. Takes requests with their acknowledgement asked for, as [`Request`] makes them.
    pub(crate) fn order(
        &mut self,
        mut orders: impl Iterator<Item = Request>,
    ) -> Result<Vec<RefusedOrder>, NetlinkError> {
        let mut refused = Vec::new();
        let mut before = 0;
        loop {
            let orders: Vec<_> = orders
                .by_ref()
                .take(MAX_ORDERS)
                .map(Request::into_bytes)
                .collect();
            let count = orders.len();
            if count == 0 {
                return Ok(refused);
            }
            let mut batch = Batch::new(orders, &mut self.sequence);
            self.send(&batch.datagram, count)?;
            loop {
                receive(&self.socket, &mut self.answer)?;
                if batch.take(&self.answer)? {
                    break;
                }
            }
            refused.extend(batch.refused.iter().map(|order| RefusedOrder {
                position: before + order.position,
                ..*order
            }));
            before += count;
        }
    }

    fn send(&mut self, datagram: &[u8], messages: usize) -> Result<(), NetlinkError> {
        self.messages_sent += u64::try_from(messages).unwrap_or(u64::MAX);
        self.sends += 1;
        match self.socket.send(datagram, 0) {
            Ok(_) => Ok(()),
            Err(source) => Err(NetlinkError::Socket {
                operation: "send",
                source,
            }),
        }
    }
}

fn receive(socket: &Socket, answer: &mut Vec<u8>) -> Result<(), NetlinkError> {
    answer.clear();
    match socket.recv(answer, 0) {
        Ok(_) => Ok(()),
        Err(source) => Err(NetlinkError::Socket {
            operation: "receive",
            source,
        }),
    }
}

/// The answers to one request.
struct Dialogue<'a, 'read> {
    sequence: u32,
    read: &'a mut ReadAnswer<'read>,
    interrupted: bool,
    unread: Option<String>,
}

impl Dialogue<'_, '_> {
    /// Takes what one recv(2) brought; true at the end of the dialogue.
    fn take(&mut self, datagram: &[u8]) -> Result<bool, NetlinkError> {
        for message in messages(datagram) {
            let message = message.map_err(NetlinkError::Malformed)?;
            // Left over from a request whose answers were given up.
            if message.sequence_number() != self.sequence {
                continue;
            }
            self.interrupted |= message.flags() & NLM_F_DUMP_INTR != 0;
            match message.message_type() {
                NLMSG_DONE | NLMSG_ERROR => return ended(message.payload()).map(|()| true),
                NLMSG_NOOP | NLMSG_OVERRUN => {}
                message_type if self.unread.is_none() => {
                    self.unread = (self.read)(message_type, message.payload()).err();
                }
                _ => {}
            }
        }
        Ok(false)
    }

    fn end(self) -> Result<(), NetlinkError> {
        match self.unread {
            Some(reason) => Err(NetlinkError::Malformed(reason)),
            None if self.interrupted => Err(NetlinkError::Interrupted),
            None => Ok(()),
        }
    }
}

/// `NLMSG_DONE` and `NLMSG_ERROR` begin alike: with a negative error code, or 0.
fn ended(payload: &[u8]) -> Result<(), NetlinkError> {
    let error = ErrorBuffer::new_checked(payload)
        .map_err(|cut| NetlinkError::Malformed(cut.to_string()))?;
    match error.code().filter(|code| code.is_negative()) {
        None => Ok(()),
        Some(code) => Err(NetlinkError::Refused {
            code: code.get().saturating_abs(),
            request: error.payload().to_vec(),
        }),
    }
}

/// Runs `dump` again, a bounded number of times, as long as it was interrupted.
pub(crate) fn settled<T>(
    mut dump: impl FnMut() -> Result<T, NetlinkError>,
) -> Result<T, NetlinkError> {
    let mut answer = dump();
    for _ in 1..DUMP_ATTEMPTS {
        if !matches!(answer, Err(NetlinkError::Interrupted)) {
            break;
        }
        answer = dump();
    }
    answer
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::{NLM_F_DUMP_INTR, NLM_F_MULTIPART, NLMSG_DONE, NLMSG_ERROR};

    use super::{Dialogue, NetlinkError, settled};

    fn message(message_type: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(16 + payload.len())
            .unwrap()
            .to_ne_bytes()
            .to_vec();
        bytes.extend(message_type.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(payload);
        bytes
    }

    fn read_all(datagram: &[u8]) -> (usize, Result<(), NetlinkError>) {
        let mut seen = 0;
        let mut read = |_: u16, _: &[u8]| {
            seen += 1;
            Ok(())
        };
        let mut dialogue = Dialogue {
            sequence: 7,
            read: &mut read,
            interrupted: false,
            unread: None,
        };
        let outcome = dialogue.take(datagram).and_then(|ended| {
            assert!(ended);
            dialogue.end()
        });
        (seen, outcome)
    }

    #[test]
    fn answers_to_an_earlier_request_are_passed_over() {
        let mut datagram = message(0x600, NLM_F_MULTIPART, 6, &[1; 4]);
        datagram.extend(message(NLMSG_ERROR, 0, 6, &(-2_i32).to_ne_bytes()));
        datagram.extend(message(0x600, NLM_F_MULTIPART, 7, &[1; 4]));
        datagram.extend(message(NLMSG_DONE, NLM_F_MULTIPART, 7, &[0; 4]));
        let (seen, outcome) = read_all(&datagram);
        assert_eq!(seen, 1);
        assert!(outcome.is_ok());
    }

    #[test]
    fn a_dump_disturbed_in_any_part_is_interrupted() {
        let mut datagram = message(0x600, NLM_F_MULTIPART | NLM_F_DUMP_INTR, 7, &[1; 4]);
        datagram.extend(message(NLMSG_DONE, NLM_F_MULTIPART, 7, &[0; 4]));
        assert!(matches!(
            read_all(&datagram).1,
            Err(NetlinkError::Interrupted)
        ));
    }

    #[test]
    fn a_dump_that_ends_with_an_error_is_refused() {
        let datagram = message(NLMSG_DONE, NLM_F_MULTIPART, 7, &(-12_i32).to_ne_bytes());
        assert!(matches!(
            read_all(&datagram).1,
            Err(NetlinkError::Refused { code: 12, .. })
        ));
    }

    #[test]
    fn a_cut_message_is_malformed() {
        let datagram = message(0x600, 0, 7, &[1; 64]);
        assert!(matches!(
            read_all(&datagram[..40]).1,
            Err(NetlinkError::Malformed(_))
        ));
    }

    #[test]
    fn an_interrupted_dump_is_asked_for_again_until_it_is_whole_or_too_often() {
        let mut asked = 0;
        let answer = settled(|| {
            asked += 1;
            if asked < 3 {
                Err(NetlinkError::Interrupted)
            } else {
                Ok(asked)
            }
        });
        assert!(matches!(answer, Ok(3)));
        let never: Result<(), _> = settled(|| Err(NetlinkError::Interrupted));
        assert!(matches!(never, Err(NetlinkError::Interrupted)));
    }
}
