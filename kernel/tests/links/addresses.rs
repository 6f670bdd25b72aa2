//! Addresses, one and many.

use sluice_kernel::links::{InterfaceAddress, LinkError, Links, RefusedObject};

use crate::subject::{everywhere, index};

#[test]
fn addresses_are_added_once_and_deleted_once() {
    everywhere(|door| {
        let interface = index(door, "br0");
        for (address, prefix_len) in [
            ("10.9.0.1", 24),
            ("10.9.0.2", 32),
            ("fd00:9::1", 64),
            ("fd00:9::2", 128),
        ] {
            let address = InterfaceAddress {
                interface,
                address: address.parse().unwrap(),
                prefix_len,
            };
            for _ in 0..2 {
                door.add_address(&address).unwrap();
                assert_eq!(
                    door.addresses()
                        .unwrap()
                        .iter()
                        .filter(|a| **a == address)
                        .count(),
                    1,
                    "{address:?}"
                );
            }
            assert!(door.delete_address(&address).unwrap(), "{address:?}");
            assert!(!door.delete_address(&address).unwrap(), "{address:?}");
            assert!(!door.addresses().unwrap().contains(&address), "{address:?}");
            let nowhere = InterfaceAddress {
                interface: 9999,
                ..address
            };
            assert!(
                matches!(
                    door.add_address(&nowhere),
                    Err(LinkError::NoSuchInterface { .. })
                ),
                "{address:?}"
            );
        }
    });
}

#[test]
fn a_batch_of_addresses_is_added_and_deleted_without_those_that_are_refused() {
    everywhere(|door| {
        let interface = index(door, "br0");
        let on = |address: &str, interface| InterfaceAddress {
            interface,
            address: address.parse().unwrap(),
            prefix_len: if address.contains(':') { 128 } else { 32 },
        };
        let batch = [
            on("10.96.0.10", interface),
            on("10.96.0.11", 9999),
            on("fd00:96::a", interface),
        ];
        let held = |door: &mut dyn Links| {
            let mut held = door.addresses_of(interface).unwrap();
            held.retain(|a| batch.contains(a));
            held.sort_unstable();
            held
        };
        for _ in 0..2 {
            let refused = door.add_addresses(&batch).unwrap();
            assert!(
                matches!(
                    refused[..],
                    [RefusedObject {
                        position: 1,
                        error: LinkError::NoSuchInterface { .. }
                    }]
                ),
                "{refused:?}"
            );
            assert_eq!(held(door), [batch[0], batch[2]]);
        }
        for _ in 0..2 {
            assert!(door.delete_addresses(&batch).unwrap().is_empty());
            assert_eq!(held(door), []);
        }
    });
}
