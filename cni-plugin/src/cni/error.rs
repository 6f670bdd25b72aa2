//! Errors as a runtime reads them (CNI specification 1.1.0, section 5, "Error").

use std::error::Error;

use serde::Serialize;

use super::Version;

/// What kind of error. Below 100 they are the specification's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    IncompatibleVersion = 1,
    UnsupportedField = 2,
    InvalidEnvironment = 4,
    IoFailure = 5,
    CannotDecode = 6,
    InvalidConfiguration = 7,
    TryAgainLater = 11,
    NotAvailable = 50,
    Sandbox = 100,
    Hairpin = 101,
    AddressSets = 102,
    Sysctls = 103,
    Drift = 104,
}

/// An error with a code.
pub(crate) trait Coded: Error {
    fn code(&self) -> Code;
}

/// What is answered to a runtime in place of a result.
#[derive(Debug, thiserror::Error)]
#[error("{message}{}{details}", if details.is_empty() { "" } else { ": " })]
pub(crate) struct CniError {
    pub(crate) code: Code,
    pub(crate) message: String,
    /// Causes.
    pub(crate) details: String,
}

impl CniError {
    pub(crate) fn json(&self, version: Version) -> String {
        let body = Body {
            version,
            code: self.code as u32,
            message: &self.message,
            details: &self.details,
        };
        // Numbers and text can be written.
        serde_json::to_string(&body).unwrap_or_default()
    }
}

impl<E: Coded> From<E> for CniError {
    fn from(error: E) -> Self {
        let mut details = Vec::new();
        let mut cause = error.source();
        while let Some(error) = cause {
            details.push(error.to_string());
            cause = error.source();
        }
        Self {
            code: error.code(),
            message: error.to_string(),
            details: details.join(": "),
        }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "cniVersion")]
    version: Version,
    code: u32,
    #[serde(rename = "msg")]
    message: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    details: &'a str,
}
