//! Where a packet may go, in words.

use super::{Trace, Verdict};
use crate::plan::EndpointNode;

/// Endpoints named one by one; of more, the number is told.
const NAMED: usize = 50;

impl Trace {
    /// A line for each endpoint that it may go to: its share, where it is, and whose source address it sees. Empty for a packet that goes to none.
    pub fn endpoint_lines(&self) -> Vec<String> {
        let Verdict::Balance { endpoints, .. } = &self.verdict else {
            return Vec::new();
        };
        let weights: u64 = endpoints
            .iter()
            .map(|endpoint| u64::from(endpoint.weight))
            .sum();
        let named = endpoints.iter().take(NAMED).map(|endpoint| {
            let source = if self.masqueraded(endpoint) {
                "source of this node"
            } else {
                "source kept"
            };
            let place = match endpoint.node {
                EndpointNode::Ours => "on this node",
                EndpointNode::Another => "on another node",
                EndpointNode::Untold => "on a node that is not told",
            };
            format!(
                "{} ({} of {weights}), {place}, {source}",
                endpoint.address, endpoint.weight
            )
        });
        let more = endpoints.len().saturating_sub(NAMED);
        named
            .chain((more > 0).then(|| format!("and {more} more")))
            .collect()
    }
}
