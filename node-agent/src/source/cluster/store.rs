//! Whether an API server that was away has the same store as before.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};

/// A service that every API server makes by itself, in a store of its own.
const OF_THE_SERVER: &str = "kubernetes";

/// A store of which nothing was heard for so long is looked at: bookmarks move watches on, and nobody tells us. What remains is a store that is put
/// back to what it was less than this ago, without an event since.
pub(super) const SILENCE: Duration = Duration::from_secs(180);

/// Tells a store from those that were there before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Era(u64);

/// What is known of a store.
#[derive(Debug, Clone, Default)]
struct Known {
    era: Era,
    /// Of the service; absent before it was seen.
    uid: Option<String>,
    /// The newest version that was heard of. They count up, until a store is put back to an earlier state.
    newest: u64,
}

impl Known {
    /// What a look has seen. So much was known `before` it was begun.
    fn looked(&mut self, before: &Self, uid: String, version: u64) -> Era {
        if before.era != self.era {
            // Somebody else who looked has found out before.
            return self.era;
        }
        // A new store may have come further than the old one before it has this service. Versions alone tell nothing.
        let has_same_uid = before.uid.as_ref().is_none_or(|known| *known == uid);
        if has_same_uid && version >= before.newest {
            self.newest = self.newest.max(version);
        } else {
            self.era.0 += 1;
            self.newest = version;
        }
        self.uid = Some(uid);
        self.era
    }

    fn heard(&mut self, era: Era, version: u64) {
        if era == self.era {
            self.newest = self.newest.max(version);
        }
    }
}

/// What was seen of the store last, by whoever follows a kind.
///
/// A watch that is resumed at a version that a store put back or made anew has not reached yet says nothing at all, for hours maybe: nobody
/// calls that an error. So before one is resumed, the store is looked at.
pub(super) struct Store {
    services: Api<Service>,
    known: Mutex<Known>,
}

/// Why a look has seen nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unseen {
    ForNow,
    Forbidden,
}

impl Store {
    pub(super) fn new(client: Client) -> Self {
        Self {
            services: Api::namespaced(client, "default"),
            known: Mutex::default(),
        }
    }

    /// Goes on for ever: looks whenever nothing was heard for so long.
    pub(super) async fn keep_known(&self, silence: Duration) {
        loop {
            let newest = self.known().newest;
            tokio::time::sleep(silence).await;
            if self.known().newest == newest {
                // Whoever needs to know it will ask again.
                let _ = self.look().await;
            }
        }
    }

    /// Looks, with one small request.
    async fn look(&self) -> Result<Era, Unseen> {
        // What others hear while the answer is on its way may be newer than it.
        let before = self.known().clone();
        let one = ListParams::default().fields(&format!("metadata.name={OF_THE_SERVER}"));
        let list = match self.services.list(&one).await {
            Ok(list) => list,
            Err(kube::Error::Api(status)) if status.code == 403 => return Err(Unseen::Forbidden),
            Err(error) => {
                tracing::debug!(%error, "the API server does not say which store it has");
                return Err(Unseen::ForNow);
            }
        };
        let version = number(list.metadata.resource_version.as_deref());
        let uid = list.items.first().and_then(ResourceExt::uid);
        let (Some(version), Some(uid)) = (version, uid) else {
            return Err(Unseen::ForNow);
        };
        Ok(self.known().looked(&before, uid, version))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn number(version: Option<&str>) -> Option<u64> {
    version?.parse().ok()
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
    /// It has never said, or not to us, so there is nothing to compare with.
    Unknown,
}

/// The objects of one kind that were listed, and which store they are of.
pub(super) struct Listed {
    store: Arc<Store>,
    /// Absent while the API server has not said it.
    era: Option<Era>,
    newest: u64,
    /// An API server may keep a kind in another store than Services. Its versions are others, and tell nothing of this one.
    is_elsewhere: bool,
}

impl Listed {
    pub(super) fn of(store: Arc<Store>) -> Self {
        Self {
            store,
            era: None,
            newest: 0,
            is_elsewhere: false,
        }
    }

    pub(super) fn begin(&mut self) {
        self.newest = 0;
    }

    pub(super) fn add(&mut self, object: &ObjectMeta) {
        let version = number(object.resource_version.as_deref());
        self.newest = self.newest.max(version.unwrap_or_default());
    }

    /// The list is complete. Looks at what a later look compares with.
    pub(super) async fn end(&mut self) {
        if let Ok(era) = self.store.look().await {
            self.era = Some(era);
            // A look is not behind what was listed before it.
            self.is_elsewhere = self.newest > self.store.known().newest;
        }
    }

    /// A watch tells a change.
    pub(super) fn heard(&self, object: &ObjectMeta) {
        let version = number(object.resource_version.as_deref());
        if let (Some(era), Some(version), false) = (self.era, version, self.is_elsewhere) {
            self.store.known().heard(era, version);
        }
    }

    /// Whether the store is the one that was seen last.
    pub(super) async fn look(&mut self) -> Found {
        match self.store.look().await {
            Ok(era) => match self.era.replace(era) {
                None => Found::Unknown,
                Some(before) if before == era => Found::Same,
                Some(_) => Found::Other,
            },
            Err(Unseen::ForNow) if self.era.is_some() => Found::Nothing,
            // Who may not ask will not learn it by waiting. A list that is read again costs little.
            Err(Unseen::ForNow | Unseen::Forbidden) => Found::Unknown,
        }
    }
}

#[cfg(test)]
mod tests;
