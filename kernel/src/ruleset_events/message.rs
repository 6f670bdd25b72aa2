//! Messages of the `nf_tables` multicast group.

use super::Commit;
use crate::netlink::{self, NETFILTER_HEADER, attributes};

/// `NFNL_SUBSYS_NFTABLES` of `nfnetlink.h`, as the high byte of a message type.
const NFTABLES: u16 = 10 << 8;
// `NFT_MSG_*` of nf_tables.h. The attributes that are read here have the same numbers in all object messages.
const NEW_TABLE: u16 = NFTABLES;
const DELETE_TABLE: u16 = NFTABLES | 2;
const NEW_CHAIN: u16 = NFTABLES | 3;
const DELETE_CHAIN: u16 = NFTABLES | 5;
const NEW_RULE: u16 = NFTABLES | 6;
const DELETE_RULE: u16 = NFTABLES | 8;
pub(super) const NEW_GENERATION: u16 = NFTABLES | 15;

/// `NFTA_TABLE_NAME`, `NFTA_CHAIN_TABLE`, `NFTA_RULE_TABLE`
const TABLE_NAME: u16 = 1;
const GENERATION_ID: u16 = 1;
const PROCESS_ID: u16 = 2;
const PROCESS_NAME: u16 = 3;

/// One message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message<'a> {
    /// A table, chain or rule was made or deleted.
    Object {
        /// Low 16 bits.
        generation: u16,
        family: u8,
        table: &'a str,
    },
    /// A transaction ended; its tables are not in this message.
    End(Commit),
}

/// The messages of a datagram that matter here. What is cut off or strange is left out.
pub(super) fn messages(datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    netlink::messages(datagram)
        .map_while(Result::ok)
        .filter_map(|message| decode(message.message_type(), message.payload()))
}

fn decode(kind: u16, payload: &[u8]) -> Option<Message<'_>> {
    // `struct nfgenmsg`: family, version, `res_id`.
    let (head, body) = payload.split_first_chunk::<NETFILTER_HEADER>()?;
    match kind {
        NEW_TABLE | DELETE_TABLE | NEW_CHAIN | DELETE_CHAIN | NEW_RULE | DELETE_RULE => {
            let generation = u16::from_be_bytes([head[2], head[3]]);
            Some(Message::Object {
                generation,
                family: head[0],
                table: table_name(body)?,
            })
        }
        NEW_GENERATION => Some(Message::End(commit(body)?)),
        _ => None,
    }
}

fn table_name(body: &[u8]) -> Option<&str> {
    attributes(body)
        .map_while(Result::ok)
        .find(|a| a.kind == TABLE_NAME)?
        .text()
        .ok()
}

fn commit(body: &[u8]) -> Option<Commit> {
    let mut generation = None;
    let mut process_id = 0;
    let mut process_name = String::new();
    for attribute in attributes(body).map_while(Result::ok) {
        match attribute.kind {
            GENERATION_ID => generation = attribute.u32_be().ok(),
            PROCESS_ID => process_id = attribute.u32_be().unwrap_or_default(),
            PROCESS_NAME => attribute
                .text()
                .unwrap_or_default()
                .clone_into(&mut process_name),
            _ => {}
        }
    }
    Some(Commit {
        generation: generation?,
        process_id,
        process_name,
        tables: None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::netlink::NETLINK_HEADER;

    fn message(kind: u16, head: [u8; 4], attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut payload = head.to_vec();
        for (kind, value) in attributes {
            let length = u16::try_from(4 + value.len()).unwrap();
            payload.extend(length.to_ne_bytes());
            payload.extend(kind.to_ne_bytes());
            payload.extend(*value);
            payload.resize(payload.len().next_multiple_of(4), 0);
        }
        let length = u32::try_from(NETLINK_HEADER + payload.len()).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.resize(NETLINK_HEADER, 0);
        bytes.extend(payload);
        bytes
    }

    fn sample() -> Vec<u8> {
        let mut datagram = message(
            NEW_RULE,
            [2, 0, 0x12, 0x34],
            &[(TABLE_NAME, b"nat\0"), (2, b"A\0")],
        );
        datagram.extend(message(
            NFTABLES | 0xc,
            [2, 0, 0x12, 0x34],
            &[(TABLE_NAME, b"elements\0")],
        ));
        datagram.extend(message(
            NEW_GENERATION,
            [0; 4],
            &[
                (GENERATION_ID, &[0, 1, 0x12, 0x34]),
                (PROCESS_ID, &[0, 0, 1, 2]),
                (PROCESS_NAME, b"iptables-nft-re\0"),
            ],
        ));
        datagram
    }

    #[test]
    fn objects_and_the_end_of_a_transaction_are_read() {
        let end = Commit {
            generation: 0x1_1234,
            process_id: 258,
            process_name: "iptables-nft-re".to_owned(),
            tables: None,
        };
        let datagram = sample();
        let read: Vec<Message<'_>> = messages(&datagram).collect();
        assert_eq!(
            read,
            [
                Message::Object {
                    generation: 0x1234,
                    family: 2,
                    table: "nat"
                },
                Message::End(end)
            ]
        );
    }

    proptest! {
        #[test]
        fn no_datagram_makes_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            messages(&bytes).for_each(drop);
        }

        #[test]
        fn a_mutilated_datagram_does_not_make_the_decoder_panic(at in 0..sample().len(), byte in any::<u8>(), length in 0..sample().len()) {
            let mut bytes = sample();
            bytes[at] = byte;
            bytes.truncate(length);
            messages(&bytes).for_each(drop);
        }
    }
}
