//! Who leads the operators, by their lease.

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use serde::Serialize;

use crate::age::{in_words, seconds_since};

/// A lease that was not renewed for so long has no holder, also where clocks differ by a minute.
const LOST_SECONDS: u64 = 120;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Leader {
    /// Nobody leads, though somebody did.
    pub(super) wrong: bool,
    /// Identity of who leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) holder: Option<String>,
    /// Namespace of the lease.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) namespace: Option<String>,
    /// Seconds since it was renewed, by this machine's clock and that of who did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) renewed_seconds_ago: Option<u64>,
    /// The same for people.
    pub(super) message: String,
}

impl Leader {
    pub(super) fn of(leases: &Result<Vec<Lease>, String>, now: Timestamp) -> Self {
        let none = |message: String, wrong| Self {
            wrong,
            holder: None,
            namespace: None,
            renewed_seconds_ago: None,
            message,
        };
        let leases = match leases {
            Ok(leases) => leases,
            Err(why) => return none(format!("who leads is not known: {why}"), false),
        };
        let renewed = |lease: &Lease| {
            let time = lease.spec.as_ref()?.renew_time.as_ref()?;
            Some(time.0)
        };
        // Of two installations the one that lives counts.
        let Some(lease) = leases.iter().max_by_key(|lease| renewed(lease)) else {
            return none(
                "no operator has a lease: none runs, or one with --leader-election=false; the policies' state tells which".to_owned(),
                false,
            );
        };
        let namespace = lease.metadata.namespace.clone();
        let ago = renewed(lease).map(|time| seconds_since(time, now));
        let holder = lease
            .spec
            .as_ref()
            .and_then(|spec| spec.holder_identity.clone())
            .filter(|holder| !holder.is_empty());
        let is_lost = ago.is_none_or(|ago| ago > LOST_SECONDS);
        let place = namespace.as_deref().unwrap_or_default();
        let when = ago.map_or_else(
            || "never".to_owned(),
            |ago| format!("{} ago", in_words(ago)),
        );
        let message = match &holder {
            Some(holder) if !is_lost => format!("{holder} leads (namespace {place}), seen {when}"),
            Some(holder) => format!(
                "nobody leads: {holder} was seen {when}; look at the operator's pods in namespace {place}. Nodes serve on, but no change of a policy reaches them"
            ),
            None => format!(
                "nobody leads: the lease in namespace {place} is free; look at the operator's pods there. Nodes serve on, but no change of a policy reaches them"
            ),
        };
        Self {
            wrong: is_lost || holder.is_none(),
            holder,
            namespace,
            renewed_seconds_ago: ago,
            message,
        }
    }
}
