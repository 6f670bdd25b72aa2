//! Shares of endpoints.

use serde::{Deserialize, Serialize};

use super::invalid::Checker;

/// The weight of the endpoints in some zones, on some nodes. The first row that matches an endpoint counts; one that no row matches has weight 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EndpointWeight {
    /// Zones that the row matches, as the endpoint's slice says. Default: all.
    #[serde(default)]
    pub zones: Vec<String>,
    /// Nodes that the row matches, as the endpoint's slice says. Default: all.
    #[serde(default)]
    pub nodes: Vec<String>,
    /// Share of new connections relative to other endpoints of the same service, 1 to 65535.
    pub weight: u32,
}

impl EndpointWeight {
    pub(super) fn check(&self, c: &mut Checker) {
        c.field("weight", |c| c.within(self.weight, 1..=u32::from(u16::MAX)));
        c.no_duplicates("zones", &self.zones);
        c.no_duplicates("nodes", &self.nodes);
    }

    /// Matches every endpoint.
    fn matches_all(&self) -> bool {
        self.zones.is_empty() && self.nodes.is_empty()
    }

    /// Rows after one that matches everything would never count.
    pub(super) fn check_order(rows: &[Self], c: &mut Checker) {
        c.catch_all_last(
            "endpointWeights",
            rows,
            Self::matches_all,
            "without zones and nodes it matches every endpoint, so the rows after it never count: make it the last one",
        );
    }
}
