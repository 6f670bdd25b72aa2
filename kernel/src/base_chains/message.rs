//! Chains as the kernel tells them.

use super::{BaseChain, Hook};
use crate::netlink::{NETFILTER_HEADER, attributes};
use crate::ruleset_events::TableFamily;

// `NFTA_CHAIN_*` of nf_tables.h.
const TABLE: u16 = 1;
const NAME: u16 = 3;
const HOOK: u16 = 4;
const POLICY: u16 = 5;
// `NFTA_HOOK_*`
const NUMBER: u16 = 1;
const PRIORITY: u16 = 2;
/// `NF_DROP` of `netfilter.h`.
const DROP: u32 = 0;

/// The chain of a message, if it is a base chain.
pub(super) fn base_chain(payload: &[u8]) -> Result<Option<BaseChain>, String> {
    // `struct nfgenmsg`: family, version, `res_id`.
    let Some((head, body)) = payload.split_first_chunk::<NETFILTER_HEADER>() else {
        return Err("the answer is cut off".to_owned());
    };
    let (mut table, mut name) = (String::new(), String::new());
    let (mut hook, mut drops) = (None, false);
    for attribute in attributes(body) {
        let attribute = attribute?;
        match attribute.kind {
            TABLE => attribute.text()?.clone_into(&mut table),
            NAME => attribute.text()?.clone_into(&mut name),
            HOOK => hook = place(attribute.value)?,
            POLICY => drops = attribute.u32_be()? == DROP,
            _ => {}
        }
    }
    Ok(hook.map(|(hook, priority)| BaseChain {
        family: TableFamily(head[0]),
        table,
        name,
        hook,
        priority,
        drops,
    }))
}

fn place(nested: &[u8]) -> Result<Option<(Hook, i32)>, String> {
    let (mut hook, mut priority) = (None, 0);
    for attribute in attributes(nested) {
        let attribute = attribute?;
        match attribute.kind {
            NUMBER => hook = Some(Hook(attribute.u32_be()?)),
            PRIORITY => priority = attribute.u32_be()?.cast_signed(),
            _ => {}
        }
    }
    Ok(hook.map(|hook| (hook, priority)))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in crate::base_chains) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + value.len()).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// `table inet firewall { chain in { type filter hook input priority -10; policy drop; } }`
    fn sample() -> Vec<u8> {
        let hook = [
            attribute(NUMBER, &[0, 0, 0, 1]),
            attribute(PRIORITY, &[0xff, 0xff, 0xff, 0xf6]),
        ];
        let nested = 0x8000;
        [
            vec![1, 0, 0, 7],
            attribute(TABLE, b"firewall\0"),
            attribute(NAME, b"in\0"),
            attribute(HOOK | nested, &hook.concat()),
            attribute(POLICY, &[0, 0, 0, 0]),
            attribute(7, b"filter\0"),
        ]
        .concat()
    }

    #[test]
    fn a_base_chain_is_read_with_its_place_and_policy() {
        let read = base_chain(&sample()).unwrap().unwrap();
        let expected = BaseChain {
            family: TableFamily::INET,
            table: "firewall".to_owned(),
            name: "in".to_owned(),
            hook: Hook::INPUT,
            priority: -10,
            drops: true,
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn a_chain_without_a_hook_is_no_base_chain() {
        let bytes = [vec![2, 0, 0, 7], attribute(NAME, b"A\0")].concat();
        assert_eq!(base_chain(&bytes), Ok(None));
        assert!(base_chain(&bytes[..2]).is_err());
    }

    proptest! {
        #[test]
        fn a_mutilated_message_does_not_make_the_decoder_panic(at in 0..sample().len(), byte in any::<u8>(), length in 0..sample().len()) {
            let mut bytes = sample();
            bytes[at] = byte;
            bytes.truncate(length);
            let _ = base_chain(&bytes);
        }
    }
}
