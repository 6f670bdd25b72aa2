//! Watches, and what of their objects is kept.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::{Hash, Hasher};
use std::pin::pin;
use std::sync::Arc;

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{Node as NodeObject, Service, ServiceSpec};
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::{self, Event, InitialListStrategy, watcher};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use siphasher::sip::SipHasher13;
use sluice_api_access::{Authority, distrust, with_causes};
use sluice_crds::v1alpha1::is_ours_to_serve;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::stored::{StoredPolicy, StoredProxy};
use super::{Cluster, Held, Kind, kept_revision};
use crate::metrics::Metrics;
use crate::objects::Node;
use crate::rest;

/// For errors that do not say themselves what to do.
const REMEDY: &str = "check that it is there, that the definitions of sluice.dev are installed, and what the operator's service account may do";

/// Starts all watches. They go on for ever, as long as the value lives; one that ends has panicked.
pub(crate) fn watch_all(
    (client, authority): (&Client, &Authority),
    namespace: &str,
    cluster: &Arc<Cluster>,
    metrics: &Arc<Metrics>,
) -> JoinSet<()> {
    let mut watches = JoinSet::new();
    let kept = Api::namespaced(client.clone(), namespace);
    let with = (authority, cluster, metrics);
    spawn::<ControllerRevision>(&mut watches, kept, with);
    spawn::<StoredPolicy>(&mut watches, Api::all(client.clone()), with);
    spawn::<NodeObject>(&mut watches, Api::all(client.clone()), with);
    spawn::<StoredProxy>(&mut watches, Api::all(client.clone()), with);
    spawn::<Service>(&mut watches, Api::all(client.clone()), with);
    watches
}

/// A kind that is watched.
trait Watched:
    Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static
{
    const KIND: Kind;
    fn selection() -> watcher::Config {
        watcher::Config::default()
    }
    /// Takes an object; what is listed is believed whatever was known before.
    fn take(held: &mut Held, object: DeserializeGuard<Self>, is_listed: bool);
    fn remove(held: &mut Held, name: &str);
    /// Names of all that are held.
    fn names(held: &Held) -> Vec<Arc<str>>;
}

impl Watched for StoredPolicy {
    const KIND: Kind = Kind::Policy;

    fn take(held: &mut Held, object: DeserializeGuard<Self>, _: bool) {
        if let Some(name) = &object.meta().name {
            held.note_writer(Kind::Policy, &Arc::from(name.as_str()), object.meta());
        }
        if let Some(policy) = object.0.ok().and_then(Self::read) {
            let policies = &mut held.snapshot.policies;
            policies.insert(Arc::clone(&policy.name), policy);
        }
    }

    fn remove(held: &mut Held, name: &str) {
        let key = (Kind::Policy, Arc::from(name));
        held.other_writers.remove(&key);
        held.snapshot.policies.remove(name);
    }

    fn names(held: &Held) -> Vec<Arc<str>> {
        held.snapshot.policies.keys().cloned().collect()
    }
}

impl Watched for NodeObject {
    const KIND: Kind = Kind::Node;

    fn take(held: &mut Held, object: DeserializeGuard<Self>, _: bool) {
        let name = object.meta().name.clone().unwrap_or_default();
        match object.0.map(Node::of) {
            Ok(Some(node)) => held.snapshot.set_node(node, Timestamp::now()),
            Ok(None) => Self::remove(held, &name),
            // Its last good state stays.
            Err(_) => {}
        }
    }

    fn remove(held: &mut Held, name: &str) {
        held.snapshot.nodes.remove(name);
    }

    fn names(held: &Held) -> Vec<Arc<str>> {
        held.snapshot.nodes.keys().cloned().collect()
    }
}

impl Watched for StoredProxy {
    const KIND: Kind = Kind::Proxy;

    fn take(held: &mut Held, object: DeserializeGuard<Self>, is_listed: bool) {
        // One that is no object at all does not come from an API server.
        if let Ok(object) = object.0 {
            held.take_proxy(object, is_listed);
        }
    }

    fn remove(held: &mut Held, name: &str) {
        held.forget_proxy(name);
    }

    fn names(held: &Held) -> Vec<Arc<str>> {
        held.snapshot.proxies.keys().cloned().collect()
    }
}

impl Watched for ControllerRevision {
    const KIND: Kind = Kind::Revision;

    fn selection() -> watcher::Config {
        watcher::Config::default().labels(kept_revision::SELECTOR)
    }

    fn take(held: &mut Held, object: DeserializeGuard<Self>, _: bool) {
        let revision = object
            .0
            .ok()
            .and_then(|object| kept_revision::read(&object));
        if let Some(revision) = revision {
            let revisions = &mut held.snapshot.revisions;
            revisions.insert(Arc::clone(&revision.name), revision);
        }
    }

    fn remove(held: &mut Held, name: &str) {
        held.snapshot.revisions.remove(name);
    }

    fn names(held: &Held) -> Vec<Arc<str>> {
        held.snapshot.revisions.keys().cloned().collect()
    }
}

/// Only how many there are matters: of each nothing is kept but a hash of its name.
impl Watched for Service {
    const KIND: Kind = Kind::Service;

    fn take(held: &mut Held, object: DeserializeGuard<Self>, _: bool) {
        let hash = name_hash(object.meta());
        if object.0.is_ok_and(|object| is_proxied(&object)) {
            held.services.insert(hash);
        } else {
            held.services.remove(&hash);
        }
        held.snapshot.services = held.services.len();
    }

    fn remove(held: &mut Held, name: &str) {
        if let Ok(hash) = name.parse() {
            held.services.remove(&hash);
        }
        held.snapshot.services = held.services.len();
    }

    fn names(held: &Held) -> Vec<Arc<str>> {
        held.services
            .iter()
            .map(|hash| Arc::from(hash.to_string()))
            .collect()
    }
}

/// As agents choose them. No selector of labels can say that a label has one value or is absent.
fn is_proxied(service: &Service) -> bool {
    let labels = service.metadata.labels.as_ref();
    let has_address = |spec: &ServiceSpec| {
        let address = spec.cluster_ip.as_deref().unwrap_or_default();
        !matches!(address, "" | "None") && spec.type_.as_deref() != Some("ExternalName")
    };
    labels.is_none_or(is_ours_to_serve) && service.spec.as_ref().is_some_and(has_address)
}

fn name_hash(metadata: &kube::api::ObjectMeta) -> u64 {
    let mut hasher = SipHasher13::new();
    (&metadata.namespace, &metadata.name).hash(&mut hasher);
    hasher.finish()
}

/// The name that an object is held by.
fn held_name<K: Watched>(object: &DeserializeGuard<K>) -> Arc<str> {
    match K::KIND {
        Kind::Service => Arc::from(name_hash(object.meta()).to_string()),
        _ => Arc::from(object.meta().name.clone().unwrap_or_default()),
    }
}

fn spawn<K: Watched>(
    watches: &mut JoinSet<()>,
    api: Api<DeserializeGuard<K>>,
    (authority, cluster, metrics): (&Authority, &Arc<Cluster>, &Arc<Metrics>),
) {
    let authority = authority.clone();
    let (cluster, metrics) = (Arc::clone(cluster), Arc::clone(metrics));
    watches.spawn(async move { follow(api, &authority, &cluster, &metrics).await });
}

async fn follow<K: Watched>(
    api: Api<DeserializeGuard<K>>,
    authority: &Authority,
    cluster: &Cluster,
    metrics: &Metrics,
) {
    let mut config = K::selection().streaming_lists();
    let mut trouble = String::new();
    let mut rest = rest::FIRST;
    loop {
        let mut listed: BTreeSet<Arc<str>> = BTreeSet::new();
        let mut events = pin!(watcher(api.clone(), config.clone()));
        while let Some(event) = events.next().await {
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    let is_streaming =
                        config.initial_list_strategy == InitialListStrategy::StreamingList;
                    if is_streaming && streams_no_lists(&error) {
                        config = K::selection();
                        break;
                    }
                    metrics.count_watch_error(K::KIND.as_str());
                    cluster.change(|held| held.lost(K::KIND, Timestamp::now()));
                    let words = with_causes(&error);
                    if trouble != words {
                        let remedy = distrust(&error, authority);
                        tracing::warn!(
                            kind = K::KIND.as_str(),
                            error = words,
                            "the API server cannot be asked, and nothing is written before it can: {}",
                            remedy.as_deref().unwrap_or(REMEDY)
                        );
                        trouble = words;
                    }
                    sleep(rest).await;
                    rest = rest::doubled(rest);
                    // A watch resumed at a version that a store made anew has not reached would be silent without an error.
                    break;
                }
            };
            // A list that is read in whole begins before the server was asked.
            if !matches!(event, Event::Init) {
                rest = rest::FIRST;
                if !trouble.is_empty() {
                    trouble.clear();
                    tracing::info!(kind = K::KIND.as_str(), "the API server answers again");
                }
            }
            match event {
                Event::Init => listed.clear(),
                Event::InitApply(object) => {
                    listed.insert(held_name(&object));
                    cluster.change(|held| K::take(held, object, true));
                }
                Event::InitDone => cluster.change(|held| {
                    for name in K::names(held) {
                        if !listed.contains(&name) {
                            K::remove(held, &name);
                        }
                    }
                    listed = BTreeSet::new();
                    held.listed(K::KIND, Timestamp::now());
                }),
                Event::Apply(object) => cluster.change(|held| K::take(held, object, false)),
                Event::Delete(object) => {
                    let name = held_name(&object);
                    cluster.change(|held| K::remove(held, &name));
                }
            }
        }
    }
}

/// A server whose gate `WatchList` is off calls the request invalid (KEP-3157).
fn streams_no_lists(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchStartFailed(kube::Error::Api(status)) if matches!(status.code, 400 | 422))
}

#[cfg(test)]
mod tests;
