//! Shares of endpoints.

use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::invalid::Checker;
use super::schema::{catch_all_last, names, says};

/// The weight of the endpoints in some zones, on some nodes. The first row that matches an endpoint counts; one that no row matches has weight 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EndpointWeight {
    /// Zones that the row matches, as the endpoint's slice says. Default: all.
    #[serde(default)]
    #[schemars(schema_with = "names")]
    pub zones: Vec<String>,
    /// Nodes that the row matches, as the endpoint's slice says. Default: all.
    #[serde(default)]
    #[schemars(schema_with = "names")]
    pub nodes: Vec<String>,
    /// Share of new connections relative to other endpoints of the same service, 1 to 65535.
    #[schemars(range(min = 1, max = u16::MAX))]
    pub weight: u32,
}

/// Of a row before the last one.
const NEVER_COUNT: &str =
    "matches every endpoint, so the rows after it never count: make it the last one";

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

    /// Rules for the list.
    pub(super) fn list_rules() -> [Rule; 1] {
        let all = |row: &str| format!("{row}.zones.size() + {row}.nodes.size() == 0");
        [catch_all_last(
            all,
            says(format_args!("a row without zones and nodes {NEVER_COUNT}")),
        )]
    }

    /// Rows after one that matches everything would never count.
    pub(super) fn check_order(rows: &[Self], c: &mut Checker) {
        c.catch_all_last(
            "endpointWeights",
            rows,
            Self::matches_all,
            &format!("without zones and nodes it {NEVER_COUNT}"),
        );
    }
}
