//! Objects of the API server, reduced to what decisions depend on.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use siphasher::sip::SipHasher13;
use sluice_crds::v1alpha1::conditions::{HEALTHY, PROGRAMMED, SUPPORTED};
use sluice_crds::v1alpha1::{
    ActiveMode, MODE_BEFORE, MOVED_AT, NOT_READY_TAINT, NodeServiceProxySpec,
    NodeServiceProxyStatus, ResolvedSettings, ServiceProxyPolicySpec, ServiceProxyPolicyStatus,
    can_have_agent,
};

/// A policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Name.
    pub name: Arc<str>,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub version: Option<String>,
    /// `metadata.generation`.
    pub generation: i64,
    /// Seconds since the epoch.
    pub created: i64,
    /// What it asks for, or why that cannot be used.
    pub spec: Result<Arc<ServiceProxyPolicySpec>, String>,
    /// What is written there.
    pub status: ServiceProxyPolicyStatus,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Name.
    pub name: Arc<str>,
    /// `metadata.uid`.
    pub uid: String,
    /// Labels, by which policies select it.
    pub labels: BTreeMap<String, String>,
    /// Its kubelet says that it is ready, or nobody says that it is not.
    pub is_reachable: bool,
    /// Since when it is reachable, or is not: as it is written, until a [`Snapshot`](crate::snapshot::Snapshot) says it by the operator's clock.
    pub so_since: Option<Timestamp>,
    /// Position of [`NOT_READY_TAINT`] among its taints.
    pub not_ready_taint: Option<usize>,
}

/// What a node was told to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Whose it is.
    pub policy: Arc<str>,
    /// Name of the revision.
    pub revision: Arc<str>,
    /// The data plane.
    pub mode: ActiveMode,
    /// Hash of the settings, by which a change by hand shows.
    pub settings: u64,
}

/// What a node says of what it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Nothing yet, or of something earlier.
    None,
    /// It serves, and is healthy.
    Ready,
    /// It is not there yet, or not any more.
    NotReady,
    /// It never will.
    Unsupported,
}

/// The object of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// `metadata.uid`.
    pub uid: Option<String>,
    /// `metadata.resourceVersion`.
    pub version: Option<String>,
    /// `metadata.uid` of the Node that it belongs to.
    pub owner: Option<String>,
    /// What it was told; absent where that cannot be read.
    pub told: Option<Told>,
    /// When, as it is written; absent for a node that cannot be late.
    pub moved_at: Option<Timestamp>,
    /// The mode that it was told with the revision that it would go back to; absent for a node that would go back to none.
    pub mode_before: Option<ActiveMode>,
    /// When by the operator's clock, as far as that is known.
    pub moving_since: Option<Timestamp>,
    /// What it says of that.
    pub answer: Answer,
    /// Why it is not ready, in its agent's words.
    pub message: String,
    /// The kernel holds what it was told.
    pub is_programmed: bool,
    /// It can run IPVS; absent where its agent has not said yet.
    pub can_run_ipvs: Option<bool>,
    /// What serves there.
    pub active_mode: Option<ActiveMode>,
    /// It was told something else before.
    pub was_told_before: bool,
    /// When it was made. Like the two that follow as it is written, until a [`Snapshot`](crate::snapshot::Snapshot) says it by the operator's clock.
    pub made_at: Option<Timestamp>,
    /// Since when it has been ready without a break; of one that is not ready any more, since when it was.
    pub ready_since: Option<Timestamp>,
    /// Since when it has not been ready, of one that was, or that said nothing.
    pub unready_since: Option<Timestamp>,
    /// The longest that it has been ready with what it was told, of times that are over: what it has proved it has proved.
    pub longest_ready: SignedDuration,
}

/// A hash by which settings are compared.
pub fn settings_hash(settings: &ResolvedSettings) -> u64 {
    let mut hasher = SipHasher13::new();
    // Fields come in the order of the type. A type that cannot be written would be a bug; all such are the same then.
    serde_json::to_vec(settings)
        .unwrap_or_default()
        .hash(&mut hasher);
    hasher.finish()
}

impl Told {
    /// Of an object.
    pub fn of(spec: &NodeServiceProxySpec) -> Self {
        Self {
            policy: Arc::from(spec.policy.as_str()),
            revision: Arc::from(spec.revision.as_str()),
            mode: spec.mode,
            settings: settings_hash(&spec.settings),
        }
    }
}

impl Policy {
    /// Of the parts of an object, whose spec may not have been read; `None` for one without a name.
    pub fn of(
        metadata: ObjectMeta,
        spec: Result<ServiceProxyPolicySpec, String>,
        status: ServiceProxyPolicyStatus,
    ) -> Option<Self> {
        let spec = spec.and_then(|spec| match spec.validate().first() {
            None => Ok(Arc::new(spec)),
            Some(invalid) => Err(invalid.to_string()),
        });
        Some(Self {
            name: Arc::from(metadata.name?),
            uid: metadata.uid.unwrap_or_default(),
            version: metadata.resource_version,
            generation: metadata.generation.unwrap_or_default(),
            created: metadata
                .creation_timestamp
                .map_or(0, |time| time.0.as_second()),
            spec,
            status,
        })
    }
}

impl Node {
    /// Of an object; `None` for one without a name, that is being deleted, or where no agent can be.
    pub fn of(object: core::Node) -> Option<Self> {
        let labels = object.metadata.labels.unwrap_or_default();
        if object.metadata.deletion_timestamp.is_some() || !can_have_agent(&labels) {
            return None;
        }
        let conditions = object.status.and_then(|status| status.conditions);
        let ready = conditions
            .into_iter()
            .flatten()
            .find(|condition| condition.type_ == "Ready");
        let taints = object.spec.and_then(|spec| spec.taints).unwrap_or_default();
        Some(Self {
            name: Arc::from(object.metadata.name?),
            uid: object.metadata.uid.unwrap_or_default(),
            labels,
            is_reachable: ready.as_ref().is_none_or(|ready| ready.status == "True"),
            so_since: ready.and_then(|ready| Some(ready.last_transition_time?.0)),
            not_ready_taint: taints.iter().position(|taint| taint.key == NOT_READY_TAINT),
        })
    }
}

impl Proxy {
    /// Of the parts of an object, whose spec may not have been read: it is told anew then. What is by the operator's clock is not known from it.
    pub fn of(metadata: ObjectMeta, told: Option<Told>, status: &NodeServiceProxyStatus) -> Self {
        let generation = metadata.generation;
        let condition = |kind: &str| {
            let mut conditions = status.conditions.iter();
            conditions.find(|c| c.type_ == kind && c.observed_generation == generation)
        };
        let is = |kind: &str, value: &str| condition(kind).is_some_and(|c| c.status == value);
        // Where nobody knows what that is, it is at least what the agent took last.
        let has_it = told.as_ref().is_none_or(|told| {
            status.observed_revision.as_deref() == Some(&*told.revision)
                && status.active_mode == Some(told.mode)
        });
        let answer = if is(SUPPORTED, "False") {
            Answer::Unsupported
        } else if has_it
            && [SUPPORTED, PROGRAMMED, HEALTHY]
                .iter()
                .all(|kind| is(kind, "True"))
        {
            Answer::Ready
        } else if condition(PROGRAMMED).is_some() {
            Answer::NotReady
        } else {
            Answer::None
        };
        let said = |value: &'static str| {
            let kinds = [SUPPORTED, PROGRAMMED, HEALTHY].into_iter();
            let conditions = kinds.filter_map(condition);
            conditions.filter(move |c| c.status == value)
        };
        let why = said("False").next();
        let times = |value| said(value).map(|c| c.last_transition_time.0);
        let is_ready = answer == Answer::Ready;
        let annotations = metadata.annotations.unwrap_or_default();
        Self {
            uid: metadata.uid,
            version: metadata.resource_version,
            owner: metadata
                .owner_references
                .into_iter()
                .flatten()
                .find(|owner| owner.kind == "Node")
                .map(|owner| owner.uid),
            moved_at: annotations.get(MOVED_AT).and_then(|at| at.parse().ok()),
            mode_before: annotations.get(MODE_BEFORE).and_then(|mode| {
                let modes = [ActiveMode::IPTables, ActiveMode::IPVS];
                modes.into_iter().find(|known| known.to_string() == *mode)
            }),
            answer,
            message: why.map(|c| c.message.clone()).unwrap_or_default(),
            is_programmed: is(PROGRAMMED, "True"),
            can_run_ipvs: status.capabilities.as_ref().map(|can| can.ipvs),
            active_mode: status.active_mode,
            was_told_before: generation.is_some_and(|generation| generation > 1),
            made_at: metadata.creation_timestamp.map(|time| time.0),
            ready_since: times("True").max().filter(|_| is_ready),
            unready_since: times("False").min().filter(|_| !is_ready),
            longest_ready: SignedDuration::ZERO,
            told,
            moving_since: None,
        }
    }

    /// Its agent has never said anything.
    pub fn is_silent(&self) -> bool {
        self.can_run_ipvs.is_none()
    }
}
