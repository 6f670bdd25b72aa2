//! What came out of a trial.

use std::fmt;

use serde::Serialize;

/// Something that was tried.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Trial {
    pub(crate) name: String,
    pub(crate) works: bool,
    /// Why not, or a remark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remark: Option<String>,
}

/// One variant for one family.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IptablesTrial {
    pub(crate) variant: String,
    pub(crate) family: &'static str,
    #[serde(flatten)]
    pub(crate) trial: Trial,
}

/// A sysctl that the settings ask for.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SysctlTrial {
    pub(crate) name: String,
    pub(crate) wanted: String,
    /// Its value; absent when it cannot be read.
    pub(crate) present: Option<String>,
    /// An agent could set it, or it has the value already.
    pub(crate) works: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remark: Option<String>,
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}{}",
            if self.works { "ok  " } else { "no  " },
            self.name
        )?;
        match &self.remark {
            Some(remark) => write!(f, ": {remark}"),
            None => Ok(()),
        }
    }
}
