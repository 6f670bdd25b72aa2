//! Rules of a variant that is not in use any more and could not be removed: when to try again, and what to tell. Pure.

use sluice_kernel::iptables::Variant;

/// Between two tries at most so many looks at the counts, which come every few seconds.
const MOST_LOOKS: u32 = 12;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    failures: u32,
    /// Looks to wait for.
    looks: u32,
    condition: Option<String>,
}

impl Leftovers {
    /// They may be removed now.
    pub(super) fn is_due(&self) -> bool {
        self.looks == 0
    }

    /// There are some, and they are to be removed now.
    pub(super) fn are_to_go(&self) -> bool {
        self.condition.is_some() && self.is_due()
    }

    /// The counts were looked at once more.
    pub(super) fn looked(&mut self) {
        self.looks = self.looks.saturating_sub(1);
    }

    /// Those of a variant could not be removed.
    pub(super) fn stay(&mut self, variant: Variant, reason: &str) {
        self.looks = 2_u32.saturating_pow(self.failures).min(MOST_LOOKS);
        self.failures = self.failures.saturating_add(1);
        self.condition = Some(format!(
            "what is ours of the iptables variant {variant}, which is not in use any more, could not be removed: rules that are left may \
             lead connections astray; it is tried again: {reason}"
        ));
    }

    /// None is left.
    pub(super) fn are_gone(&mut self) {
        *self = Self::default();
    }

    /// What to tell of them.
    pub(super) fn condition(&self) -> Option<&String> {
        self.condition.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_often_it_failed_the_longer_it_rests_and_a_minute_at_most() {
        let mut leftovers = Leftovers::default();
        assert!(leftovers.is_due() && !leftovers.are_to_go());
        for rest in [1, 2, 4, 8, 12, 12] {
            leftovers.stay(Variant::Legacy, "locked");
            for _ in 0..rest {
                assert!(!leftovers.is_due());
                leftovers.looked();
            }
            assert!(leftovers.are_to_go());
        }
        leftovers.are_gone();
        assert_eq!(leftovers.condition(), None);
    }
}
