//! How a pod shall be treated: the agent's word, or the configuration's while it has none.

use sluice_attachment::Treatment;
use sluice_attachment::client::{Client, ClientError};
use sluice_attachment::protocol::{Attach, Detached, Nothing, Request, Response, Status};

use crate::cni::{Code, Coded};
use crate::conf::Conf;

/// Why a pod is not treated.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecisionError {
    #[error("no answer of the agent, and requireAgent is true")]
    Required(#[source] ClientError),
}

impl Coded for DecisionError {
    fn code(&self) -> Code {
        Code::TryAgainLater
    }
}

/// A treatment and whose word it is.
#[derive(Debug)]
pub(crate) struct Decision {
    pub(crate) treatment: Treatment,
    /// Why it is not the agent's.
    pub(crate) without_agent: Option<ClientError>,
}

pub(crate) fn decide(conf: &Conf, attach: Attach) -> Result<Decision, DecisionError> {
    match ask(conf, &Request::Attach(attach)) {
        Ok(Response::Treatment(treatment)) => Ok(Decision {
            treatment,
            without_agent: None,
        }),
        Ok(_) => default(conf, another_answer()),
        Err(error) => default(conf, error),
    }
}

fn default(conf: &Conf, reason: ClientError) -> Result<Decision, DecisionError> {
    if conf.require_agent {
        return Err(DecisionError::Required(reason));
    }
    Ok(Decision {
        treatment: Treatment {
            hairpin: conf.without_agent.hairpin,
            sets: conf.without_agent.source_nat.sets(),
            ..Treatment::default()
        },
        without_agent: Some(reason),
    })
}

/// Tells the agent, which finds out by itself where it does not hear.
pub(crate) fn tell_detached(conf: &Conf, detached: Detached) {
    let _ = ask(conf, &Request::Detached(detached));
}

pub(crate) fn ask_status(conf: &Conf) -> Result<Status, ClientError> {
    match ask(conf, &Request::Status(Nothing {}))? {
        Response::Status(status) => Ok(status),
        _ => Err(another_answer()),
    }
}

fn ask(conf: &Conf, request: &Request) -> Result<Response, ClientError> {
    Client::new(&conf.socket, conf.agent_timeout).ask(request)
}

fn another_answer() -> ClientError {
    ClientError::Refused {
        reason: "it answers another question".to_owned(),
    }
}
