//! Why a network configuration cannot be used.

use crate::cni::{Code, Coded, Version};

/// Errors of the configuration on standard input.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfError {
    #[error("the network configuration is not a JSON object")]
    NotAnObject(#[source] serde_json::Error),
    #[error("the network configuration is longer than {0} bytes")]
    TooLong(usize),
    #[error("the network configuration cannot be read from standard input")]
    Unreadable(#[source] std::io::Error),
    #[error(
        "cniVersion is {0:?}: set it to one of {versions}",
        versions = Version::list()
    )]
    Version(String),
    #[error(
        "the verb {verb} came with version {since} of the specification, and cniVersion is {version}"
    )]
    VerbTooNew {
        verb: &'static str,
        since: &'static str,
        version: Version,
    },
    #[error(
        "{key}: {value} is not a field of sluice-cni: take it out, or correct its name ({known})"
    )]
    UnknownField {
        key: String,
        value: String,
        known: String,
    },
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{key} must be {what}")]
    Invalid {
        key: &'static str,
        what: &'static str,
    },
}

impl Coded for ConfError {
    fn code(&self) -> Code {
        match self {
            Self::NotAnObject(_) | Self::TooLong(_) => Code::CannotDecode,
            Self::Unreadable(_) => Code::IoFailure,
            Self::Version(_) | Self::VerbTooNew { .. } => Code::IncompatibleVersion,
            Self::UnknownField { .. } => Code::UnsupportedField,
            Self::Missing(_) | Self::Invalid { .. } => Code::InvalidConfiguration,
        }
    }
}
