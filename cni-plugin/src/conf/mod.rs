//! The network configuration that a runtime gives on standard input (CNI specification 1.1.0, section 1), with the plugin's own fields.

mod attachments;
mod error;
mod fields;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::value::RawValue;
use sluice_attachment::{AttachmentId, Family, HairpinMode, SetName};

pub(crate) use self::error::ConfError;
use self::fields::Fields;
use crate::cni::{PreviousResult, RawObject, ResultError, Version};

const SOCKET: &str = "/run/sluice/agent.sock";
const STATE_DIRECTORY: &str = "/var/lib/sluice/attachments";
const AGENT_TIMEOUT_MILLISECONDS: u64 = 300;
const VALID_ATTACHMENTS: &str = "cni.dev/valid-attachments";

/// A configuration.
#[derive(Debug)]
pub(crate) struct Conf {
    pub(crate) version: Version,
    /// Name of the network.
    pub(crate) name: String,
    pub(crate) socket: PathBuf,
    pub(crate) state_directory: PathBuf,
    pub(crate) agent_timeout: Duration,
    pub(crate) without_agent: WithoutAgent,
    /// ADD fails without an answer of the agent.
    pub(crate) require_agent: bool,
    /// STATUS tells what the agent says.
    pub(crate) status_gate: bool,
    previous: Option<Box<RawValue>>,
    valid_attachments: Option<Box<RawValue>>,
}

/// How a pod is treated while the agent does not answer.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct WithoutAgent {
    pub(crate) hairpin: HairpinMode,
    pub(crate) source_nat: SourceNat,
}

/// A source-NAT class that every node has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum SourceNat {
    #[default]
    Default,
    Preserve,
    Masquerade,
}

impl SourceNat {
    /// The sets that hold the class's pods; the node's default needs none.
    pub(crate) fn sets(self) -> Vec<SetName> {
        let class = match self {
            Self::Default => return Vec::new(),
            Self::Preserve => "PRESERVE",
            Self::Masquerade => "MASQ",
        };
        let set = |family, digit| SetName {
            family,
            name: format!("SLUICE-{digit}-POD-{class}"),
        };
        vec![set(Family::V4, 4), set(Family::V6, 6)]
    }
}

impl Conf {
    /// Reads a configuration; what is not known or not right is refused.
    pub(crate) fn read(object: &RawObject, version: Version) -> Result<Self, ConfError> {
        fields::check_names(object)?;
        Self::of(&Fields::strict(object), version)
    }

    /// Reads what can be read, and takes defaults for the rest: what an attachment holds must be given back also after its configuration was
    /// edited to nonsense.
    pub(crate) fn read_for_removal(object: &RawObject, version: Version) -> Self {
        Self::of(&Fields::lenient(object), version).unwrap_or_else(|_| Self::defaults(version))
    }

    fn of(fields: &Fields<'_>, version: Version) -> Result<Self, ConfError> {
        let defaults = Self::defaults(version);
        Ok(Self {
            version,
            name: fields.network_name()?,
            socket: fields.path("socket")?.unwrap_or(defaults.socket),
            state_directory: fields
                .path("stateDirectory")?
                .unwrap_or(defaults.state_directory),
            agent_timeout: fields
                .milliseconds("agentTimeoutMilliseconds")?
                .unwrap_or(defaults.agent_timeout),
            without_agent: fields.without_agent()?,
            require_agent: fields
                .flag("requireAgent")?
                .unwrap_or(defaults.require_agent),
            status_gate: fields.flag("statusGate")?.unwrap_or(defaults.status_gate),
            previous: fields.raw("prevResult"),
            valid_attachments: fields.raw(VALID_ATTACHMENTS),
        })
    }

    fn defaults(version: Version) -> Self {
        Self {
            version,
            name: String::new(),
            socket: SOCKET.into(),
            state_directory: STATE_DIRECTORY.into(),
            agent_timeout: Duration::from_millis(AGENT_TIMEOUT_MILLISECONDS),
            without_agent: WithoutAgent::default(),
            require_agent: false,
            status_gate: true,
            previous: None,
            valid_attachments: None,
        }
    }

    /// What the plugins before made. A chained plugin cannot be without.
    pub(crate) fn previous(&self) -> Result<PreviousResult, ResultError> {
        let raw = self.previous.as_ref().ok_or(ResultError::Missing)?;
        PreviousResult::read(raw)
    }

    /// The attachments of this network that a runtime knows (of GC).
    pub(crate) fn valid_attachments(&self) -> Result<Vec<AttachmentId>, ConfError> {
        let raw = self
            .valid_attachments
            .as_ref()
            .ok_or(ConfError::Missing(VALID_ATTACHMENTS))?;
        attachments::read(raw)
    }
}
