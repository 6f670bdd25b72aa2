//! What a person is told who describes an object.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{self, EventType, Recorder, Reporter};
use sluice_api_access::with_causes;
use sluice_crds::v1alpha1::API_VERSION;

use super::patience::Patience;
use super::{FIELD_MANAGER, Kind};
use crate::status::Event;

/// An API server takes notes of at most so many bytes.
const LONGEST_NOTE: usize = 1024;

/// See the module.
pub(super) struct Events {
    client: Client,
    reporter: Reporter,
    pub(super) patience: Patience,
}

impl Events {
    pub(super) fn new(client: Client, identity: &str) -> Self {
        let reporter = Reporter {
            controller: FIELD_MANAGER.to_owned(),
            instance: Some(identity.to_owned()),
        };
        Self {
            client,
            reporter,
            patience: Patience::default(),
        }
    }

    /// Somebody keeps undoing what the operator writes.
    pub(super) async fn tell_contest(
        &self,
        kind: Kind,
        name: &Arc<str>,
        uid: Option<String>,
        writer: &str,
    ) {
        let part = if kind == Kind::Policy {
            "status"
        } else {
            "spec"
        };
        let note = format!(
            "{writer} undoes what the operator writes to the {part}: it is put back, at last once a minute only; find out what {writer} is, \
             and end it"
        );
        tracing::warn!(kind = kind.as_str(), name = &**name, writer, "{note}");
        let event = Event {
            is_warning: true,
            reason: "Contested",
            note,
        };
        self.tell(kind, name, uid, &event).await;
    }

    /// An event that cannot be told is told nowhere else: conditions say the same.
    pub(super) async fn tell(
        &self,
        kind: Kind,
        name: &Arc<str>,
        uid: Option<String>,
        event: &Event,
    ) {
        let about = ObjectReference {
            api_version: Some(API_VERSION.to_owned()),
            kind: Some(kind.as_str().to_owned()),
            name: Some(name.to_string()),
            uid,
            ..ObjectReference::default()
        };
        let mut note = event.note.clone();
        while note.len() > LONGEST_NOTE {
            note.pop();
        }
        let published = events::Event {
            type_: if event.is_warning {
                EventType::Warning
            } else {
                EventType::Normal
            },
            reason: event.reason.to_owned(),
            note: Some(note),
            action: "Rollout".to_owned(),
            secondary: None,
        };
        // One that remembers would take what is new for the last of its reason again, with the note of then.
        let recorder = Recorder::new(self.client.clone(), self.reporter.clone());
        let publish = recorder.publish(&published, &about);
        let error = match self.patience.wait(publish).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => with_causes(&error),
            Err(error) => error.to_string(),
        };
        tracing::warn!(
            kind = kind.as_str(),
            name = &**name,
            error,
            "an event cannot be told"
        );
    }
}
