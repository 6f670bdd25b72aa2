//! CHECK (CNI specification 1.1.0, section 2): what an attachment was given is still there.

use std::collections::BTreeSet;

use sluice_attachment::store::Store;
use sluice_attachment::{HairpinSet, Record};
use sluice_kernel::address_set::AddressSetError;
use sluice_kernel::ports::{NetlinkPorts, PortError, Ports};

use super::{Attachment, STORE_PATIENCE, kernel_sets};
use crate::cni::{CniError, Code, Coded};
use crate::conf::Conf;
use crate::sandbox::Sandbox;
use crate::{membership, sysctls};

/// Errors of CHECK.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckError {
    #[error("{}; the agent repairs this at its next comparison, a new pod has it right", .0.join("; "))]
    Drift(Vec<String>),
    #[error("cannot look at the node's links")]
    Links(#[from] PortError),
    #[error("cannot look at address sets")]
    Sets(#[from] AddressSetError),
}

impl Coded for CheckError {
    fn code(&self) -> Code {
        match self {
            Self::Drift(_) => Code::Drift,
            Self::Links(_) => Code::Hairpin,
            Self::Sets(_) => Code::AddressSets,
        }
    }
}

pub(crate) fn check(conf: &Conf, attachment: &Attachment) -> Result<(), CniError> {
    let previous = conf.previous()?;
    let sandbox = Sandbox::open(&attachment.netns)?;
    let Some(record) = recorded(conf, attachment)? else {
        let forgotten = format!("nothing is remembered of {}", attachment.id);
        return Err(CheckError::Drift(vec![forgotten]).into());
    };
    let mut drift = Vec::new();
    if record.addresses != previous.addresses() {
        drift.push("the pod's addresses are others than at its attachment, or another pod has been given them".to_owned());
    }
    drift.extend(set_drift(&record)?);
    drift.extend(hairpin_drift(&record)?);
    let differing = sysctls::differing(&record.treatment.sysctls, &sandbox)?;
    drift.extend(
        differing
            .into_iter()
            .map(|(name, present)| format!("sysctl {name} of the pod is {present}")),
    );
    if drift.is_empty() {
        Ok(())
    } else {
        Err(CheckError::Drift(drift).into())
    }
}

fn recorded(conf: &Conf, attachment: &Attachment) -> Result<Option<Record>, CniError> {
    if !conf.state_directory.exists() {
        return Ok(None);
    }
    let store = Store::open(&conf.state_directory)?;
    let locked = store.lock(STORE_PATIENCE)?;
    Ok(locked.get(&attachment.id)?)
}

fn set_drift(record: &Record) -> Result<Vec<String>, CheckError> {
    let wanted: BTreeSet<_> = membership::memberships(record).collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let mut drift = Vec::new();
    let mut sets = match kernel_sets() {
        Err(AddressSetError::Unsupported) => {
            return Ok(vec!["the kernel has no address sets".to_owned()]);
        }
        other => other?,
    };
    for (set, address) in wanted {
        match membership::members(&mut *sets, &set.name)? {
            None => drift.push(format!("set {} is missing", set.name)),
            Some(members) if !members.contains(&address) => {
                drift.push(format!("{address} is missing in set {}", set.name));
            }
            Some(_) => {}
        }
    }
    Ok(drift)
}

fn hairpin_drift(record: &Record) -> Result<Option<String>, CheckError> {
    let mut node = NetlinkPorts::open()?;
    match (&record.hairpin, &record.host_interface) {
        (HairpinSet::BridgePort { bridge }, Some(name)) => {
            let drift = match node.named(name)? {
                None => Some(format!("{name} is missing")),
                Some(port) if port.hairpin.is_none() => {
                    Some(format!("{name} is no port of {bridge} any more"))
                }
                Some(port) if port.hairpin == Some(false) => {
                    Some(format!("hairpin of {name} is off"))
                }
                Some(_) => None,
            };
            Ok(drift)
        }
        _ => Ok(None),
    }
}
