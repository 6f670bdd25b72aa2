//! Reading `struct nlattr` (`linux/netlink.h`).

use netlink_packet_core::{NLA_HEADER_SIZE, NLA_TYPE_MASK};

/// Attributes start at multiples of this.
pub(super) const ALIGNMENT: usize = 4;

/// One attribute; the flags are off its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attribute<'a> {
    /// Number of the attribute.
    pub(crate) kind: u16,
    /// What it carries.
    pub(crate) value: &'a [u8],
}

impl<'a> Attribute<'a> {
    fn bytes<const N: usize>(&self) -> Result<[u8; N], String> {
        self.value.try_into().map_err(|_| {
            let (kind, found) = (self.kind, self.value.len());
            format!("attribute {kind} has {found} bytes, not {N}")
        })
    }

    pub(crate) fn u8(&self) -> Result<u8, String> {
        self.bytes::<1>().map(u8::from_ne_bytes)
    }

    pub(crate) fn u16_be(&self) -> Result<u16, String> {
        self.bytes().map(u16::from_be_bytes)
    }

    pub(crate) fn u32_be(&self) -> Result<u32, String> {
        self.bytes().map(u32::from_be_bytes)
    }

    pub(crate) fn u16_host(&self) -> Result<u16, String> {
        self.bytes().map(u16::from_ne_bytes)
    }

    pub(crate) fn u32_host(&self) -> Result<u32, String> {
        self.bytes().map(u32::from_ne_bytes)
    }

    pub(crate) fn u64_host(&self) -> Result<u64, String> {
        self.bytes().map(u64::from_ne_bytes)
    }

    pub(crate) fn ipv4(&self) -> Result<[u8; 4], String> {
        self.bytes()
    }

    pub(crate) fn ipv6(&self) -> Result<[u8; 16], String> {
        self.bytes()
    }

    /// Text up to its terminating zero.
    pub(crate) fn text(&self) -> Result<&'a str, String> {
        let text = self
            .value
            .split(|byte| *byte == 0)
            .next()
            .unwrap_or_default();
        std::str::from_utf8(text).map_err(|_| format!("attribute {} is not UTF-8", self.kind))
    }
}

/// The attributes that lie one after the other in `bytes`.
pub(crate) fn attributes(bytes: &[u8]) -> impl Iterator<Item = Result<Attribute<'_>, String>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let attribute = first(rest);
        rest = match attribute {
            Ok(found) => {
                let length = NLA_HEADER_SIZE + found.value.len();
                rest.get(length.next_multiple_of(ALIGNMENT)..)
                    .unwrap_or_default()
            }
            Err(_) => &[],
        };
        Some(attribute)
    })
}

fn first(bytes: &[u8]) -> Result<Attribute<'_>, String> {
    let Some((&[length_0, length_1, kind_0, kind_1], _)) = bytes.split_first_chunk() else {
        return Err(format!(
            "{} bytes are too few for an attribute",
            bytes.len()
        ));
    };
    let length = usize::from(u16::from_ne_bytes([length_0, length_1]));
    let value = bytes
        .get(NLA_HEADER_SIZE..length)
        .ok_or_else(|| format!("an attribute of {length} bytes in {} bytes", bytes.len()))?;
    Ok(Attribute {
        kind: u16::from_ne_bytes([kind_0, kind_1]) & NLA_TYPE_MASK,
        value,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::attributes;

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic_and_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            prop_assert!(attributes(&bytes).count() <= bytes.len());
        }
    }

    #[test]
    fn an_attribute_longer_than_its_message_is_refused_and_ends_the_reading() {
        let mut bytes = 40_u16.to_ne_bytes().to_vec();
        bytes.extend([1, 0, 9, 9, 9, 9]);
        let read: Vec<_> = attributes(&bytes).collect();
        assert_eq!(
            read,
            [Err("an attribute of 40 bytes in 8 bytes".to_owned())]
        );
    }
}
