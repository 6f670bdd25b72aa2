//! Where kube-proxy does something else than Sluice, known and with its reason.

use sluice_e2e::packets::Row;
use sluice_e2e::packets::row::Expect;

use crate::peers::Mode;

mod of_ipvs;
mod of_rules;

/// All of them. Of several that fit a row the first counts.
pub(crate) fn all() -> impl Iterator<Item = &'static Difference> {
    of_rules::OF_RULES.iter().chain(of_ipvs::OF_IPVS)
}

/// A difference. Where it is listed it must be seen.
pub(crate) struct Difference {
    pub(crate) title: &'static str,
    pub(crate) modes: &'static [Mode],
    /// The rows that show it,
    rows: fn(&Row) -> bool,
    /// and what becomes of their packets.
    instead: fn(&Row, Mode) -> Expect,
    /// It is a matter of time: a row may miss it, not all of them.
    pub(crate) may_be_missed: bool,
    pub(crate) kube_proxy: &'static str,
    pub(crate) sluice: &'static str,
    pub(crate) reason: &'static str,
}

impl Difference {
    /// The difference that a row shows in a mode; the first that fits.
    pub(crate) fn of(row: &Row, mode: Mode) -> Option<&'static Self> {
        all().find(|one| one.modes.contains(&mode) && (one.rows)(row))
    }

    /// The row, with what kube-proxy does for its expectation.
    pub(crate) fn shown_by(&self, row: &Row, mode: Mode) -> Row {
        Row {
            expect: (self.instead)(row, mode),
            ..row.clone()
        }
    }
}
