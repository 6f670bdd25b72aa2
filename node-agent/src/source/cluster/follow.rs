//! Follows one kind of objects at the API server, for ever.

#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Event, InitialListStrategy, watcher};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use sluice_api_access::{Authority, with_causes};
use sluice_crds::v1alpha1::NodeServiceProxy;
use tokio::sync::watch;

use super::super::Kind;
use super::guarded::Guarded;
use super::rest::Failures;
use super::source::Mailbox;
use super::store::{Found, Listed, Store};
use super::trouble::{Trouble, code};
use super::view::{Read, View};
use crate::agent::Report;
use crate::attachments::Terms;
use crate::metrics::Metrics;

/// A list that lost nearly everything is read again after so long, and then believed.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// An API server that is away is tried again at the latest after so long,
const LONGEST_REST: Duration = Duration::from_secs(15);
/// and what needs a person's hand at the latest after so long.
const LONGEST_REST_IN_VAIN: Duration = Duration::from_secs(30);
/// A watch that was resumed and does not fail for so long works, also when it has nothing to say. It takes at most as long to connect.
const PROBATION: Duration = Duration::from_secs(12);

/// Slices of headless services are nobody's to proxy. Services of other proxies are: a selector cannot say "ours, or nobody's in particular", so
/// those are left out of the plan.
const PROXIED_SLICES: &str = "!service.kubernetes.io/headless";

/// A kind that is followed.
pub(super) trait Followed:
    Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static
{
    const KIND: Kind;
    /// Of all of them, those that matter to the node of this name.
    fn selection(node: &str) -> watcher::Config;
    fn take(view: &mut View, object: Read<Self>);
}

impl Followed for Service {
    const KIND: Kind = Kind::Service;

    fn selection(_: &str) -> watcher::Config {
        watcher::Config::default()
    }

    fn take(view: &mut View, object: Read<Self>) {
        view.service(object);
    }
}

impl Followed for EndpointSlice {
    const KIND: Kind = Kind::EndpointSlice;

    fn selection(_: &str) -> watcher::Config {
        watcher::Config::default().labels(PROXIED_SLICES)
    }

    fn take(view: &mut View, object: Read<Self>) {
        view.slice(object);
    }
}

impl Followed for Node {
    const KIND: Kind = Kind::Node;

    fn selection(node: &str) -> watcher::Config {
        of_name(node)
    }

    fn take(view: &mut View, object: Read<Self>) {
        view.node(object);
    }
}

impl Followed for NodeServiceProxy {
    const KIND: Kind = Kind::NodeServiceProxy;

    fn selection(node: &str) -> watcher::Config {
        of_name(node)
    }

    fn take(view: &mut View, object: Read<Self>) {
        view.node_service_proxy(object);
    }
}

impl Followed for PartialObjectMeta<Pod> {
    const KIND: Kind = Kind::Pod;

    fn selection(node: &str) -> watcher::Config {
        watcher::Config::default().fields(&format!("spec.nodeName={node}"))
    }

    fn take(view: &mut View, object: Read<Self>) {
        view.pods.put(Self::KIND, metadata_of(object));
    }
}

impl Followed for PartialObjectMeta<Namespace> {
    const KIND: Kind = Kind::Namespace;

    fn selection(_: &str) -> watcher::Config {
        watcher::Config::default()
    }

    fn take(view: &mut View, object: Read<Self>) {
        view.pods.put(Self::KIND, metadata_of(object));
    }
}

fn metadata_of<K>(object: Read<PartialObjectMeta<K>>) -> ObjectMeta {
    match object {
        Ok(object) => object.metadata,
        Err(unreadable) => unreadable.metadata,
    }
}

fn of_name(name: &str) -> watcher::Config {
    watcher::Config::default().fields(&format!("metadata.name={name}"))
}

/// Who is asked.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) client: Client,
    /// Whose signature its certificate must have.
    pub(super) authority: Authority,
    /// What it has behind it.
    pub(super) store: Arc<Store>,
}

/// Follows a kind. Whatever goes wrong is said once and tried again, the longer after the more often.
pub(super) async fn follow<K: Followed>(
    server: Server,
    node: Arc<str>,
    mailbox: Arc<Mailbox>,
    metrics: Arc<Metrics>,
) {
    let api: Api<Guarded<K>> = Api::all(server.client);
    let mut follower = Follower {
        kind: K::KIND,
        authority: server.authority,
        mailbox,
        metrics,
        listed: Listed::of(server.store),
        failures: Failures::default(),
        trouble: None,
        is_on_probation: false,
        is_listing: false,
        believe: false,
    };
    let mut config = K::selection(&node).streaming_lists();
    loop {
        let events = pin!(watcher(api.clone(), config.clone()));
        if follower.follow(events, is_streaming(&config)).await == Next::ListInWhole {
            tracing::info!(kind = %K::KIND, "the API server streams no lists: they are read in whole");
            config = K::selection(&node).any_semantic();
        }
    }
}

/// Follows a kind as long as it matters by the settings in force.
pub(super) async fn follow_while<K: Followed>(
    server: Server,
    node: Arc<str>,
    mailbox: Arc<Mailbox>,
    metrics: Arc<Metrics>,
    mut report: watch::Receiver<Report>,
    matters: fn(&Terms) -> bool,
) {
    let does = |report: &Report| report.terms.as_deref().is_some_and(matters);
    loop {
        if report.wait_for(does).await.is_err() {
            // The agent ends.
            return std::future::pending().await;
        }
        let (node, mailbox, metrics) = (&node, &mailbox, &metrics);
        let followed = follow::<K>(
            server.clone(),
            Arc::clone(node),
            Arc::clone(mailbox),
            Arc::clone(metrics),
        );
        tokio::select! {
            () = followed => {}
            _ = report.wait_for(|report| !does(report)) => {}
        }
        mailbox.change(|view| view.pods.forget(K::KIND));
        metrics.api.forget(K::KIND.as_str());
    }
}

/// Why all objects are to be listed anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// What was listed cannot be gone by.
    ListAgain,
    /// The server does not stream lists.
    ListInWhole,
}

struct Follower {
    kind: Kind,
    authority: Authority,
    mailbox: Arc<Mailbox>,
    metrics: Arc<Metrics>,
    listed: Listed,
    failures: Failures,
    /// What was said last; absent while all goes well.
    trouble: Option<&'static str>,
    /// The watch is resumed, and has not said anything yet.
    is_on_probation: bool,
    /// A list has begun, and not ended.
    is_listing: bool,
    /// The next list counts, whatever it lacks.
    believe: bool,
}

impl Follower {
    /// Takes what a watch says, and resumes it when it breaks, until all is to be listed anew.
    async fn follow<K: Followed>(
        &mut self,
        mut events: impl Stream<Item = watcher::Result<Event<Guarded<K>>>> + Unpin,
        is_streaming: bool,
    ) -> Next {
        loop {
            let event = if self.is_on_probation {
                let Ok(event) = tokio::time::timeout(PROBATION, events.next()).await else {
                    self.works();
                    continue;
                };
                event
            } else {
                events.next().await
            };
            let error = match event {
                // The runtime begins it anew without a word.
                Some(Ok(Event::Init)) if self.is_listing => {
                    let rest = self.failed(&cut_short());
                    tokio::time::sleep(rest).await;
                    return Next::ListAgain;
                }
                Some(Ok(event)) => {
                    if self.take::<K>(event).await {
                        tokio::time::sleep(LOOK_AGAIN).await;
                        return Next::ListAgain;
                    }
                    continue;
                }
                Some(Err(error)) => error,
                None => return Next::ListAgain,
            };
            if is_streaming && streams_no_lists(&error) {
                return Next::ListInWhole;
            }
            let rest = self.failed(&error);
            tokio::time::sleep(rest).await;
            if self.is_to_list_again(&error).await {
                return Next::ListAgain;
            }
        }
    }

    /// A watch may be resumed only where nothing was lost, and on the same store. Whatever the error was: a new store that is not through
    /// yet says that it has no room, or no rights for anybody.
    async fn is_to_list_again(&mut self, error: &watcher::Error) -> bool {
        if matches!(
            error,
            watcher::Error::WatchFailed(kube::Error::SerdeError(_))
        ) {
            // Nobody knows what it would have been.
            return true;
        }
        let mut found = self.listed.look().await;
        while found == Found::Nothing {
            tokio::time::sleep(self.failures.rest(LONGEST_REST)).await;
            found = self.listed.look().await;
        }
        self.is_on_probation = found == Found::Same;
        if found == Found::Other {
            tracing::warn!(
                kind = %self.kind,
                "the API server has another store than before, or an earlier state of it: all is listed anew"
            );
        }
        // With nothing to compare with, a list that is read again is the safe way.
        found != Found::Same
    }

    /// Returns whether the list is to be read again, after a while.
    async fn take<K: Followed>(&mut self, event: Event<Guarded<K>>) -> bool {
        let kind = self.kind;
        let believe = self.believe;
        let (is_begin, is_end) = (
            matches!(event, Event::Init),
            matches!(event, Event::InitDone),
        );
        match &event {
            Event::Init => self.listed.begin(),
            Event::InitApply(object) => self.listed.add(object.meta()),
            Event::Apply(object) | Event::Delete(object) => self.listed.heard(object.meta()),
            Event::InitDone => {}
        }
        self.is_listing = !is_end && (is_begin || self.is_listing);
        let doubts = self.mailbox.change(|view| match event {
            Event::Init => {
                view.begin_list(kind);
                None
            }
            Event::InitApply(object) | Event::Apply(object) => {
                K::take(view, object.0);
                None
            }
            Event::Delete(object) => {
                view.deleted(kind, object.meta());
                None
            }
            Event::InitDone => view.end_list(kind, believe),
        });
        // A list that is read in whole begins before the server was asked, and what breaks a list may do so each time.
        if !self.is_listing {
            self.works();
        }
        if !is_end {
            return false;
        }
        self.believe = doubts.is_some();
        let Some((gone, of)) = doubts else {
            self.listed.end().await;
            return false;
        };
        tracing::error!(
            %kind,
            gone,
            of,
            "the API server has lost nearly everything: what it had is served on, and counts as deleted if it is not back in {} s",
            LOOK_AGAIN.as_secs()
        );
        true
    }

    fn works(&mut self) {
        self.failures.end();
        self.is_on_probation = false;
        if self.trouble.take().is_some() {
            tracing::info!(kind = %self.kind, "the API server answers again");
        }
        self.metrics.api.set_connected(self.kind.as_str(), true);
    }

    /// Books it, and says it where it is new. Returns how long to rest.
    fn failed(&mut self, error: &watcher::Error) -> Duration {
        let trouble = Trouble::of(error, &self.authority);
        self.is_listing = false;
        self.metrics.api.set_connected(self.kind.as_str(), false);
        self.metrics
            .api
            .count_error(self.kind.as_str(), trouble.label);
        if trouble.is_no_reason_to_wait(self.kind) {
            self.mailbox.change(|view| view.do_without(self.kind));
        }
        if self.trouble != Some(trouble.label) {
            self.trouble = Some(trouble.label);
            tracing::warn!(
                kind = %self.kind,
                error = with_causes(error),
                "the API server cannot be asked, and what it said last stays in force: {}",
                trouble.remedy
            );
        }
        self.failures.rest(match trouble.label {
            "forbidden" | "not_found" => LONGEST_REST_IN_VAIN,
            _ => LONGEST_REST,
        })
    }
}

/// A stream of a list ended before the list did: its server ended, or what is between.
fn cut_short() -> watcher::Error {
    watcher::Error::WatchFailed(kube::Error::ReadEvents(io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the list was cut short",
    )))
}

/// A server whose gate `WatchList` is off calls the request invalid (KEP-3157).
fn streams_no_lists(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchStartFailed(_)) && matches!(code(error), Some(400 | 422))
}

fn is_streaming(config: &watcher::Config) -> bool {
    config.initial_list_strategy == InitialListStrategy::StreamingList
}
