//! ADD (CNI specification 1.1.0, section 2).

use std::error::Error;
use std::io::Write;

use sluice_attachment::protocol::Attach;
use sluice_attachment::store::Store;
use sluice_attachment::{HairpinMode, HairpinSet, RECORD_VERSION, Record};
use sluice_kernel::ports::{NetlinkPorts, PortError};

use super::{Attachment, STORE_PATIENCE, del, kernel_sets};
use crate::cni::{CniError, Code, Coded, PreviousResult};
use crate::conf::Conf;
use crate::decision::{Decision, decide};
use crate::host_side::{self, HostSide, HostSideError};
use crate::sandbox::Sandbox;
use crate::{hairpin, membership, sysctls};

/// Errors of ADD itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AddError {
    #[error("cannot look at the node's links")]
    Links(#[source] PortError),
    #[error("the result cannot be written to standard output; the attachment was undone")]
    Output(#[source] std::io::Error),
}

impl Coded for AddError {
    fn code(&self) -> Code {
        match self {
            Self::Links(_) => Code::Hairpin,
            Self::Output(_) => Code::IoFailure,
        }
    }
}

/// Returns the result to print. After an error nothing of the attachment is left.
pub(crate) fn add(
    conf: &Conf,
    attachment: &Attachment,
    log: &mut dyn Write,
) -> Result<String, CniError> {
    let previous = conf.previous()?;
    let result = previous.passed_on(conf.version)?;
    let sandbox = Sandbox::open(&attachment.netns)?;
    let netns = attachment.netns.to_string_lossy().into_owned();
    let Decision {
        treatment,
        without_agent,
    } = decide(
        conf,
        Attach {
            id: attachment.id.clone(),
            netns: netns.clone(),
            pod: attachment.pod.clone(),
            addresses: previous.addresses().to_vec(),
        },
    )?;
    if let Some(reason) = &without_agent {
        say(log, &attachment.id, &chain(reason));
    }
    membership::check(&treatment.sets)?;
    sysctls::check(&treatment.sysctls)?;
    let interface = attachment.id.interface();
    let mut node = NetlinkPorts::open().map_err(AddError::Links)?;
    let side = side(treatment.hairpin, &previous, interface, &mut node, &sandbox)?;
    let planned = hairpin::plan(treatment.hairpin, &side);
    say_what_is_left_out(log, attachment, treatment.hairpin, &side, &planned);
    let record = Record {
        version: RECORD_VERSION,
        id: attachment.id.clone(),
        netns,
        network: conf.name.clone(),
        pod: attachment.pod.clone(),
        addresses: previous.addresses().to_vec(),
        host_interface: match &side {
            HostSide::Bridged { port, .. } | HostSide::Routed { port } => Some(port.name.clone()),
            HostSide::NoWire { .. } => None,
        },
        hairpin: planned,
        treatment,
    };
    let from_agent = without_agent.is_none();
    // The port's flag is first: the agent sets it wherever a record says so, also while detection would still suffer from it.
    let made = hairpin::apply(&record.hairpin, &side, &mut node, &sandbox, interface)
        .map_err(CniError::from)
        .and_then(|()| remember(conf, &record, from_agent))
        .and_then(|()| Ok(sysctls::apply(&record.treatment.sysctls, &sandbox)?));
    if let Err(error) = made {
        undo(conf, attachment, log);
        return Err(error);
    }
    Ok(result)
}

/// The lock is held no longer than this takes.
fn remember(conf: &Conf, record: &Record, from_agent: bool) -> Result<(), CniError> {
    let store = Store::open(&conf.state_directory)?;
    let locked = store.lock(STORE_PATIENCE)?;
    membership::join(&locked, record, from_agent, &mut kernel_sets)?;
    Ok(())
}

/// Takes back an attachment that was not made. The error that led here matters more than one on the way back.
pub(crate) fn undo(conf: &Conf, attachment: &Attachment, log: &mut dyn Write) {
    if let Err(error) = del(conf, &attachment.id) {
        say(log, &attachment.id, &format!("on the way back: {error}"));
    }
}

/// Where nothing is to be set, links that are not understood do not matter.
fn side(
    mode: HairpinMode,
    previous: &PreviousResult,
    interface: &str,
    node: &mut NetlinkPorts,
    sandbox: &Sandbox,
) -> Result<HostSide, HostSideError> {
    let inside = || host_side::inside(sandbox, interface);
    match host_side::find(previous, interface, node, inside) {
        Err(_) if mode == HairpinMode::None => Ok(HostSide::NoWire {
            kind: "unknown".to_owned(),
        }),
        other => other,
    }
}

fn say_what_is_left_out(
    log: &mut dyn Write,
    attachment: &Attachment,
    mode: HairpinMode,
    side: &HostSide,
    planned: &HairpinSet,
) {
    let text = match (planned, side) {
        (HairpinSet::Routed, HostSide::Routed { port }) => format!(
            "hairpin needs nothing: the node routes to {} and does not bridge",
            port.name
        ),
        (HairpinSet::BridgePort { bridge }, HostSide::Bridged { bridge: found, .. })
            if found.promiscuous =>
        {
            format!(
                "{bridge} is promiscuous besides, so a pod's packets to itself may come twice: take promiscMode from the main plugin"
            )
        }
        (HairpinSet::Nothing, HostSide::NoWire { kind }) if mode != HairpinMode::None => {
            format!("no hairpin: the pod's interface ({kind}) has no other end on the node")
        }
        (HairpinSet::BridgePort { .. }, HostSide::Bridged { port, .. })
            if port.isolated == Some(true) =>
        {
            format!(
                "hairpin has no effect while {} is an isolated port of its bridge",
                port.name
            )
        }
        _ => return,
    };
    say(log, &attachment.id, &text);
}

/// A runtime's log is where this goes; that it cannot be written keeps no pod.
fn say(log: &mut dyn Write, id: &sluice_attachment::AttachmentId, text: &str) {
    let _ = writeln!(log, "sluice-cni: {id}: {text}");
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
