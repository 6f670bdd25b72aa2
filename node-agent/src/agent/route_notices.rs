//! Hears when bindings of service addresses may be lost: routes are deleted, or a device goes down or away.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use sluice_kernel::links::{LinkError, RouteEvents};

use super::inbox::Inbox;
use crate::balancer::ipvs::names::ROUTE_PROTOCOL;

/// How long the kernel is listened to at a stretch.
const WAIT: Duration = Duration::from_secs(3600);
/// Losses come in numbers; they are told at once.
const SETTLE: Duration = Duration::from_millis(50);
/// Rest after the socket failed.
const RETRY: Duration = Duration::from_secs(1);

/// Begins to listen.
pub(super) fn open() -> Result<RouteEvents, LinkError> {
    RouteEvents::open(ROUTE_PROTOCOL)
}

/// Tells the inbox until the process ends. Our own deletions are told too: a look at what is bound tells them apart.
pub(super) fn follow(mut events: RouteEvents, inbox: &Arc<Inbox>) -> ! {
    loop {
        match listen(&mut events) {
            Ok(false) => {}
            Ok(true) => inbox.set_binding_lost(),
            Err(error) => {
                tracing::warn!(%error, "lost routes are not heard; they are looked for every few seconds");
                thread::sleep(RETRY);
                if let Ok(again) = open() {
                    events = again;
                    inbox.set_binding_lost();
                }
            }
        }
    }
}

fn listen(events: &mut RouteEvents) -> Result<bool, LinkError> {
    let lost = !events.wait(WAIT)?.is_empty();
    if lost {
        thread::sleep(SETTLE);
        events.wait(Duration::ZERO)?;
    }
    Ok(lost)
}
