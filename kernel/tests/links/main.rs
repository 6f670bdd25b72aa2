//! The door to links against the kernel and `ip`, in namespaces of its own; its twin runs the same suite.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests fail as tests do.

mod addresses;
mod devices;
mod listing;
#[path = "../namespace/mod.rs"]
mod namespace;
mod notices;
mod routes;
mod sample;
mod subject;

use namespace::{in_new_namespace, sh};
use sluice_kernel::links::{LinkError, LinkOperation, Links, MemoryLinks, NetlinkLinks, named};
use subject::BRIDGE;

#[test]
fn a_door_stays_in_the_namespace_it_was_opened_in() {
    in_new_namespace(|| {
        sh(BRIDGE);
        let mut door = NetlinkLinks::open().unwrap();
        in_new_namespace(|| assert!(named(&door.links().unwrap(), "br0").is_some()));
    });
}

#[test]
fn the_twin_fails_when_told_to() {
    let twin = MemoryLinks::new();
    let refused = || LinkError::NotPermitted {
        operation: "test".to_owned(),
    };
    twin.fail_next(LinkOperation::List, refused());
    let mut door = twin.clone();
    assert!(matches!(
        door.addresses(),
        Err(LinkError::NotPermitted { .. })
    ));
    assert!(door.addresses().is_ok());
}
