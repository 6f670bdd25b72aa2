//! The environment of a call (CNI specification 1.1.0, section 2, "Parameters").

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use sluice_attachment::{AttachmentId, IdError, Pod};

use super::{Code, Coded, args};

/// The verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    Add,
    Del,
    Check,
    Gc,
    Status,
    Version,
}

/// Why the environment is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnvironmentError {
    #[error("{name} is not set: this program is started by a container runtime")]
    Missing { name: &'static str },
    #[error("{name} is not UTF-8")]
    NotText { name: &'static str },
    #[error("CNI_COMMAND is {0:?}: it must be ADD, DEL, CHECK, GC, STATUS or VERSION")]
    Command(String),
    #[error("CNI_NETNS must be an absolute path")]
    NetnsPath,
    #[error("CNI_ARGS must be pairs KEY=VALUE, separated by ';'")]
    NotAPair,
    #[error("CNI_ARGS: {key} must be a name of at most 253 letters, digits, '-', '.' and '_'")]
    NotAName { key: String },
    #[error(transparent)]
    Id(#[from] IdError),
}

impl Coded for EnvironmentError {
    fn code(&self) -> Code {
        Code::InvalidEnvironment
    }
}

/// Reads variables; each is checked when it is asked for, as each verb has its own.
pub(crate) struct Environment<F> {
    read: F,
}

impl<F: Fn(&str) -> Option<OsString>> Environment<F> {
    pub(crate) fn new(read: F) -> Self {
        Self { read }
    }

    pub(crate) fn command(&self) -> Result<Command, EnvironmentError> {
        let name = self.required("CNI_COMMAND")?;
        Ok(match name.as_str() {
            "ADD" => Command::Add,
            "DEL" => Command::Del,
            "CHECK" => Command::Check,
            "GC" => Command::Gc,
            "STATUS" => Command::Status,
            "VERSION" => Command::Version,
            _ => return Err(EnvironmentError::Command(name.chars().take(32).collect())),
        })
    }

    pub(crate) fn id(&self) -> Result<AttachmentId, EnvironmentError> {
        let container = self.required("CNI_CONTAINERID")?;
        let interface = self.required("CNI_IFNAME")?;
        Ok(AttachmentId::new(container, interface)?)
    }

    pub(crate) fn netns(&self) -> Result<PathBuf, EnvironmentError> {
        let path = self.required("CNI_NETNS")?;
        if Path::new(&path).is_absolute() {
            Ok(path.into())
        } else {
            Err(EnvironmentError::NetnsPath)
        }
    }

    pub(crate) fn pod(&self) -> Result<Option<Pod>, EnvironmentError> {
        self.text("CNI_ARGS")?
            .map_or(Ok(None), |text| args::pod(&text))
    }

    fn text(&self, name: &'static str) -> Result<Option<String>, EnvironmentError> {
        (self.read)(name)
            .filter(|value| !value.is_empty())
            .map(|value| {
                value
                    .into_string()
                    .map_err(|_| EnvironmentError::NotText { name })
            })
            .transpose()
    }

    fn required(&self, name: &'static str) -> Result<String, EnvironmentError> {
        self.text(name)?.ok_or(EnvironmentError::Missing { name })
    }
}
