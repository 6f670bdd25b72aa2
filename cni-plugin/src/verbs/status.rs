//! STATUS (CNI specification 1.1.0, section 2): whether ADD can be served.

use sluice_attachment::Family;
use sluice_attachment::client::ClientError;

use super::kernel_sets;
use crate::cni::{CniError, Code, Coded};
use crate::conf::{Conf, SourceNat};
use crate::decision;

/// Why pods are not to be attached now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StatusError {
    #[error("the agent is not ready: {0}")]
    NotReady(String),
    #[error("the agent has not synced since this node started")]
    NeverSynced(#[source] ClientError),
    #[error("no answer of the agent, and requireAgent is true")]
    Required(#[source] ClientError),
}

impl Coded for StatusError {
    fn code(&self) -> Code {
        Code::NotAvailable
    }
}

/// An agent that is away for a moment, to be updated, does not close a node to pods: the sets of the classes are in the kernel since its first
/// sync, and gone with it.
pub(crate) fn status(conf: &Conf) -> Result<(), CniError> {
    if !conf.status_gate && !conf.require_agent {
        return Ok(());
    }
    match decision::ask_status(conf) {
        Ok(status) if status.ready || !conf.status_gate => Ok(()),
        Ok(status) => Err(StatusError::NotReady(status.message).into()),
        Err(error) if conf.require_agent => Err(StatusError::Required(error).into()),
        Err(_) if classes_are_there() => Ok(()),
        Err(error) => Err(StatusError::NeverSynced(error).into()),
    }
}

/// The sets of IPv4, which are on every node that was served once, stand for all.
fn classes_are_there() -> bool {
    let Ok(mut kernel) = kernel_sets() else {
        return false;
    };
    let mut sets = SourceNat::Preserve.sets().into_iter();
    let set = sets.find(|set| set.family == Family::V4);
    set.is_some_and(|set| kernel.list(&set.name).is_ok())
}
