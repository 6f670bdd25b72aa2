//! Whether an API server that was away has the same store as before.

use k8s_openapi::api::core::v1::Service;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};

/// A service that every API server makes by itself, in a store of its own.
const OF_THE_SERVER: &str = "kubernetes";

/// What is known of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Identity {
    uid: String,
    /// Versions count up, until a store is put back to an earlier state.
    version: u64,
}

impl Identity {
    fn follows(&self, before: &Self) -> bool {
        self.uid == before.uid && self.version >= before.version
    }
}

/// The store that was seen last.
///
/// A watch that is resumed at a version that a store put back or made anew has not reached yet says nothing at all, for hours maybe: nobody
/// calls that an error. So before one is resumed, the store is looked at.
pub(super) struct Store {
    services: Api<Service>,
    seen: Option<Identity>,
}

/// What a look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// The same as before, later.
    Same,
    /// Another one, or an earlier state: what was listed means nothing.
    Other,
    /// The API server does not say now, though it may later: nothing is to be resumed before.
    Nothing,
    /// It has never said, so there is nothing to compare with.
    Unknown,
}

impl Store {
    pub(super) fn new(client: Client) -> Self {
        Self {
            services: Api::namespaced(client, "default"),
            seen: None,
        }
    }

    /// Looks, with one small request.
    pub(super) async fn look(&mut self) -> Found {
        let one = ListParams::default().fields(&format!("metadata.name={OF_THE_SERVER}"));
        let silent = if self.seen.is_some() {
            Found::Nothing
        } else {
            Found::Unknown
        };
        let list = match self.services.list(&one).await {
            Ok(list) => list,
            // Who may not ask will not learn it by waiting. A list that is read again costs little.
            Err(kube::Error::Api(status)) if status.code == 403 => return Found::Other,
            Err(error) => {
                tracing::debug!(%error, "the API server does not say which store it has");
                return silent;
            }
        };
        let version = list.metadata.resource_version.as_deref();
        let version = version.and_then(|version| version.parse().ok());
        // A new store may have come further than the old one before it has this service. Versions alone tell nothing.
        let uid = list.items.first().and_then(ResourceExt::uid);
        let (Some(version), Some(uid)) = (version, uid) else {
            return silent;
        };
        self.compare(Identity { uid, version })
    }

    fn compare(&mut self, now: Identity) -> Found {
        let found = match &self.seen {
            None => Found::Unknown,
            Some(before) if now.follows(before) => Found::Same,
            Some(_) => Found::Other,
        };
        self.seen = Some(now);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_was_made_anew_or_put_back_is_another() {
        let identity = |uid: &str, version| Identity {
            uid: uid.to_owned(),
            version,
        };
        let before = identity("a", 100);
        assert!(identity("a", 100).follows(&before) && identity("a", 101).follows(&before));
        assert!(!identity("a", 99).follows(&before));
        assert!(!identity("b", 101).follows(&before));
    }
}
