//! Which of several policies counts for a node.

use std::cmp::Reverse;

/// Where a policy stands among those that select a node; the least one counts. The highest priority goes first, of equals the older
/// policy, then by name, so that there is always one that counts, and always the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Precedence<'a> {
    priority: Reverse<i32>,
    created: i64,
    name: &'a str,
}

impl<'a> Precedence<'a> {
    /// Of a policy made at `created`, seconds since the epoch.
    pub fn new(priority: i32, created: i64, name: &'a str) -> Self {
        Self {
            priority: Reverse(priority),
            created,
            name,
        }
    }
}

/// What is told of a policy that does not count where `winner` does.
pub fn why_not(priority: i32, winner: &str, priority_of_winner: i32) -> String {
    let why = if priority == priority_of_winner {
        "has the same priority and is older, or comes first by name"
    } else {
        "has a higher priority"
    };
    format!(
        "{winner} selects the same nodes and counts there, because it {why}: raise this policy's priority, or let it select other nodes"
    )
}
