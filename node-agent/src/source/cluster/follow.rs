//! Follows one kind of objects at the API server, for ever.

use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, InitialListStrategy, watcher};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use sluice_crds::v1alpha1::NodeServiceProxy;

use super::super::Kind;
use super::access::with_causes;
use super::source::Mailbox;
use super::view::{Read, View};
use crate::metrics::Metrics;

/// A list that lost nearly everything is read again after so long, and then believed.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Services and slices that are nobody's to proxy: kube-proxy leaves out the same, at the server.
const PROXIED: &str = "!service.kubernetes.io/headless,!service.kubernetes.io/service-proxy-name";

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
        watcher::Config::default().labels(PROXIED)
    }

    fn take(view: &mut View, object: Read<Self>) {
        view.service(object);
    }
}

impl Followed for EndpointSlice {
    const KIND: Kind = Kind::EndpointSlice;

    fn selection(_: &str) -> watcher::Config {
        watcher::Config::default().labels(PROXIED)
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

fn of_name(name: &str) -> watcher::Config {
    watcher::Config::default().fields(&format!("metadata.name={name}"))
}

/// Follows a kind. Whatever goes wrong is said once and tried again, the longer after the more often.
pub(super) async fn follow<K: Followed>(
    client: Client,
    node: Arc<str>,
    mailbox: Arc<Mailbox>,
    metrics: Arc<Metrics>,
) {
    let api: Api<DeserializeGuard<K>> = Api::all(client);
    let mut follower = Follower {
        kind: K::KIND,
        mailbox,
        metrics,
        trouble: None,
        believe: false,
    };
    let mut config = K::selection(&node).streaming_lists();
    loop {
        let mut events = pin!(watcher(api.clone(), config.clone()).default_backoff());
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    if follower.take::<K>(event) {
                        tokio::time::sleep(LOOK_AGAIN).await;
                        break;
                    }
                }
                Err(error) if streams_no_lists(&error) && is_streaming(&config) => {
                    tracing::info!(kind = %K::KIND, "the API server streams no lists: they are read in whole");
                    config = K::selection(&node).any_semantic();
                    break;
                }
                Err(error) => follower.failed(&error),
            }
        }
    }
}

struct Follower {
    kind: Kind,
    mailbox: Arc<Mailbox>,
    metrics: Arc<Metrics>,
    /// What was said last; absent while all goes well.
    trouble: Option<String>,
    /// The next list counts, whatever it lacks.
    believe: bool,
}

impl Follower {
    /// Returns whether the list is to be read again.
    fn take<K: Followed>(&mut self, event: Event<DeserializeGuard<K>>) -> bool {
        let kind = self.kind;
        let believe = self.believe;
        let doubts = self.mailbox.change(|view| match event {
            Event::Init => {
                view.begin_list(kind);
                None
            }
            Event::InitApply(object) | Event::Apply(object) => {
                K::take(view, object.0.map_err(Box::new));
                None
            }
            Event::Delete(object) => {
                view.deleted(kind, object.meta());
                None
            }
            Event::InitDone => view.end_list(kind, believe),
        });
        self.works();
        let Some((gone, of)) = doubts else {
            return false;
        };
        tracing::error!(
            %kind,
            gone,
            of,
            "the API server has lost nearly everything: what it had is served on, and counts as deleted if it is not back in {} s",
            LOOK_AGAIN.as_secs()
        );
        self.believe = true;
        true
    }

    fn works(&mut self) {
        if self.trouble.take().is_some() {
            tracing::info!(kind = %self.kind, "the API server answers again");
        }
        self.metrics.api.set_connected(self.kind.as_str(), true);
    }

    fn failed(&mut self, error: &watcher::Error) {
        let trouble = Trouble::of(error);
        self.metrics.api.set_connected(self.kind.as_str(), false);
        self.metrics
            .api
            .count_error(self.kind.as_str(), trouble.label);
        if trouble.is_no_reason_to_wait(self.kind) {
            self.mailbox.change(|view| view.do_without(self.kind));
        }
        if self.trouble.as_deref() != Some(trouble.label) {
            self.trouble = Some(trouble.label.to_owned());
            tracing::warn!(
                kind = %self.kind,
                error = with_causes(error),
                "the API server cannot be asked, and what it said last stays in force: {}",
                trouble.remedy
            );
        }
    }
}

/// What goes wrong, and what to do.
struct Trouble {
    label: &'static str,
    remedy: &'static str,
}

impl Trouble {
    fn of(error: &watcher::Error) -> Self {
        let (label, remedy) = match code(error) {
            Some(401) => (
                "unauthorized",
                "token or certificate are refused; renew them",
            ),
            Some(403) => (
                "forbidden",
                "let the agent's service account get, list and watch this kind",
            ),
            Some(404) => ("not_found", "install the definitions of this kind"),
            Some(410) => ("gone", "nothing is to be done, all is listed anew"),
            Some(429) => ("throttled", "the API server is overloaded"),
            Some(_) => ("refused", "see the API server's log"),
            None => (
                "unreachable",
                "check address, certificate authority and network",
            ),
        };
        Self { label, remedy }
    }

    /// Settings may come later; services are served without.
    fn is_no_reason_to_wait(&self, kind: Kind) -> bool {
        kind == Kind::NodeServiceProxy && matches!(self.label, "forbidden" | "not_found")
    }
}

/// The API server's answer.
fn code(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status.code),
        _ => None,
    }
}

/// A server whose gate `WatchList` is off calls the request invalid (KEP-3157).
fn streams_no_lists(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchStartFailed(_)) && matches!(code(error), Some(400 | 422))
}

fn is_streaming(config: &watcher::Config) -> bool {
    config.initial_list_strategy == InitialListStrategy::StreamingList
}
