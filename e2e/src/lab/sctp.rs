//! As much of SCTP (RFC 9260) as it takes to open an association: INIT and INIT ACK, sent through raw sockets, because
//! many kernels have no SCTP sockets. Connection tracking and NAT see real packets with valid checksums.

/// IP protocol number.
pub const IP_PROTOCOL: i32 = 132;

const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const STATE_COOKIE: u16 = 7;
const COMMON_HEADER: usize = 12;
const CHUNK_HEADER: usize = 4;
const INIT_BODY: usize = 16;

/// A packet with one INIT or INIT ACK chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Initiate tag that the sender chose.
    pub initiate_tag: u32,
    /// The chunk.
    pub chunk: Chunk,
}

/// What the packet carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chunk {
    /// INIT.
    Init,
    /// INIT ACK.
    InitAck {
        /// The initiate tag of the INIT it answers.
        peer_tag: u32,
        /// State cookie: opaque to the protocol, here the server's greeting.
        cookie: Vec<u8>,
    },
}

impl Packet {
    /// The packet without its IP header.
    pub fn encode(&self) -> Vec<u8> {
        let (chunk_type, verification_tag, cookie) = match &self.chunk {
            Chunk::Init => (INIT, 0, None),
            Chunk::InitAck { peer_tag, cookie } => (INIT_ACK, *peer_tag, Some(cookie)),
        };
        let mut body = Vec::new();
        body.extend(self.initiate_tag.to_be_bytes());
        body.extend(65_536_u32.to_be_bytes()); // advertised receiver window
        body.extend(1_u16.to_be_bytes()); // outbound streams
        body.extend(1_u16.to_be_bytes()); // inbound streams
        body.extend(1_u32.to_be_bytes()); // initial TSN
        if let Some(cookie) = cookie {
            body.extend(STATE_COOKIE.to_be_bytes());
            body.extend(length(CHUNK_HEADER + cookie.len()));
            body.extend(cookie);
        }
        let mut packet = Vec::new();
        packet.extend(self.source_port.to_be_bytes());
        packet.extend(self.destination_port.to_be_bytes());
        packet.extend(verification_tag.to_be_bytes());
        packet.extend([0; 4]);
        packet.extend([chunk_type, 0]);
        packet.extend(length(CHUNK_HEADER + body.len()));
        packet.extend(body);
        packet.resize(packet.len().next_multiple_of(4), 0);
        let checksum = crc32c(&packet);
        packet[8..COMMON_HEADER].copy_from_slice(&checksum.to_le_bytes());
        packet
    }

    /// Reads a packet without its IP header. `None` for other chunks, wrong checksums and cut packets.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut unsummed = bytes.to_vec();
        let sum = unsummed.get_mut(8..COMMON_HEADER)?;
        let told = u32::from_le_bytes(sum.try_into().ok()?);
        sum.fill(0);
        if told != crc32c(&unsummed) {
            return None;
        }
        let u16_at = |at: usize| Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        let u32_at = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let body = COMMON_HEADER + CHUNK_HEADER;
        let chunk = match *bytes.get(COMMON_HEADER)? {
            INIT => Chunk::Init,
            INIT_ACK => {
                let parameter = body + INIT_BODY;
                let end = parameter + usize::from(u16_at(parameter + 2)?);
                let cookie = bytes.get(parameter + CHUNK_HEADER..end)?.to_vec();
                Chunk::InitAck {
                    peer_tag: u32_at(4)?,
                    cookie,
                }
            }
            _ => return None,
        };
        Some(Self {
            source_port: u16_at(0)?,
            destination_port: u16_at(2)?,
            initiate_tag: u32_at(body)?,
            chunk,
        })
    }
}

/// What a raw socket received, without the header that IPv4's raw sockets leave on.
pub(super) fn payload(received: &[u8], ipv4: bool) -> &[u8] {
    let header = match received.first() {
        Some(first) if ipv4 => usize::from(first & 0xf) * 4,
        _ => 0,
    };
    received.get(header..).unwrap_or_default()
}

fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes()
}

/// CRC-32C (Castagnoli), RFC 9260 appendix A.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_castagnoli_crc() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_packet_survives_encoding_and_a_damaged_one_is_not_read() {
        for chunk in [
            Chunk::Init,
            Chunk::InitAck {
                peer_tag: 7,
                cookie: b"a1 192.0.2.100:4242".to_vec(),
            },
        ] {
            let packet = Packet {
                source_port: 4242,
                destination_port: 80,
                initiate_tag: 99,
                chunk,
            };
            let mut bytes = packet.encode();
            assert_eq!(Packet::decode(&bytes), Some(packet));
            bytes[0] ^= 1;
            assert_eq!(Packet::decode(&bytes), None);
        }
    }
}
