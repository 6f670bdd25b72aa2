//! What came out of a step.

use std::sync::Arc;

use jiff::Timestamp;
use sluice_crds::v1alpha1::ActiveMode;

use super::{Failure, ModeChange, Move, State};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Where the rollout stands.
    pub state: State,
    /// What does not work.
    pub stalled: Option<Failure>,
    /// Nodes that are to be told something else now.
    pub moves: Vec<Move>,
    /// Name of the revision that every node had when the last rollout ended well.
    pub current: Option<Arc<str>>,
    /// Name of the revision that nodes are moved to.
    pub update: Arc<str>,
    /// Name of the revision that failed.
    pub rejected: Option<Arc<str>>,
    /// Nodes of the pool.
    pub matched: usize,
    /// Of them, those that have taken the revision.
    pub updated: usize,
    /// Of them, those that are ready at whatever they have.
    pub ready: usize,
    /// Of them, those that cannot be reached.
    pub unreachable: usize,
    /// Of them, those whose agent has never said anything.
    pub silent: usize,
    /// What serves on how many.
    pub modes: Vec<(ActiveMode, usize)>,
    /// Those that have the revision and are to be told another mode only.
    pub mode_changes: Vec<ModeChange>,
    /// Those that were told and are not ready yet.
    pub on_their_way: Vec<Arc<str>>,
    /// When to take the next step though nothing else has happened.
    pub wake: Option<Timestamp>,
}
