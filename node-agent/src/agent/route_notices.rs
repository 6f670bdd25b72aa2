//! Hears when bindings of service addresses may be lost: routes are deleted, or a device goes down or away.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use sluice_kernel::links::{LinkError, RouteEvents, RouteNotice};

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

/// Tells the inbox until the process ends. Our own deletions are told too: the data plane knows them.
pub(super) fn follow(mut events: RouteEvents, inbox: &Arc<Inbox>) -> ! {
    loop {
        match listen(&mut events) {
            Ok(lost) if lost.is_empty() => {}
            Ok(lost) => inbox.push_lost_bindings(lost),
            Err(error) => {
                tracing::warn!(%error, "lost routes are not heard; they are looked for every few seconds");
                thread::sleep(RETRY);
                if let Ok(again) = open() {
                    events = again;
                    inbox.push_lost_bindings(vec![RouteNotice::Overrun]);
                }
            }
        }
    }
}

fn listen(events: &mut RouteEvents) -> Result<Vec<RouteNotice>, LinkError> {
    let mut lost = events.wait(WAIT)?;
    if !lost.is_empty() {
        thread::sleep(SETTLE);
        lost.extend(events.wait(Duration::ZERO)?);
    }
    Ok(lost)
}
