//! What goes wrong with a watch, and what to do.

use std::borrow::Cow;

use kube::runtime::watcher;
use sluice_api_access::{Authority, distrust};

use super::super::Kind;

/// What to do where the API server does not know us.
pub(super) const UNAUTHORIZED: &str = "token or client certificate are refused: renew them; files of their own are read again within a minute, what is in the \
     kubeconfig itself counts from the next start";

/// See the module.
pub(super) struct Trouble {
    pub(super) label: &'static str,
    pub(super) remedy: Cow<'static, str>,
}

impl Trouble {
    pub(super) fn of(error: &watcher::Error, authority: &Authority) -> Self {
        if let Some(words) = distrust(error, authority) {
            return Self {
                label: "untrusted",
                remedy: Cow::Owned(words),
            };
        }
        let (label, remedy) = match code(error) {
            Some(401) => ("unauthorized", UNAUTHORIZED),
            Some(403) => (
                "forbidden",
                "let the agent's service account get, list and watch this kind",
            ),
            Some(404) => ("not_found", "install the definitions of this kind"),
            Some(410) => ("gone", "nothing is to be done, all is listed anew"),
            Some(429) => ("throttled", "the API server is overloaded"),
            Some(_) => ("refused", "see the API server's log"),
            None => ("unreachable", "check address and network"),
        };
        Self {
            label,
            remedy: Cow::Borrowed(remedy),
        }
    }

    /// Settings may come later; services are served without.
    pub(super) fn is_no_reason_to_wait(&self, kind: Kind) -> bool {
        kind == Kind::NodeServiceProxy && matches!(self.label, "forbidden" | "not_found")
    }
}

/// The API server's answer.
pub(super) fn code(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status.code),
        _ => None,
    }
}
