//! Another program that takes the plugin out of the configuration as often as it is put in.

use super::Pass;

/// A pass that finds the plugin gone adds so much,
const GONE: u32 = 2;
/// and one that finds it takes one away: a program that takes seconds to react shows too, and one that restarts does not.
const PATIENCE: u32 = 20;
/// The pause doubles with each further pass, up to 64 times as long.
const DOUBLINGS: u32 = 6;

/// Whether there is one.
#[derive(Debug, Default)]
pub(super) struct Contest {
    score: u32,
}

impl Contest {
    /// Whether it has just begun, by what a pass found.
    pub(super) fn begins_with(&mut self, pass: &Pass) -> bool {
        let was_on = self.is_on();
        self.score = match pass {
            Pass::Added(_) => (self.score + GONE).min(PATIENCE + GONE * DOUBLINGS),
            Pass::Unchanged | Pass::OtherVersion { .. } | Pass::NothingSuitable => {
                self.score.saturating_sub(1)
            }
        };
        self.is_on() && !was_on
    }

    /// How many usual pauses the next one takes.
    pub(super) fn pauses(&self) -> u32 {
        let over = self.score.saturating_sub(PATIENCE);
        1 << over.div_ceil(GONE).min(DOUBLINGS)
    }

    fn is_on(&self) -> bool {
        self.score > PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone() -> Pass {
        Pass::Added("10-main.conflist".into())
    }

    #[test]
    fn one_that_goes_on_is_told_once_and_answered_ever_more_slowly() {
        let mut contest = Contest::default();
        let begun = (0..100).filter(|_| contest.begins_with(&gone())).count();
        assert_eq!((begun, contest.pauses()), (1, 64));
        for _ in 0..50 {
            assert!(!contest.begins_with(&Pass::Unchanged));
        }
        assert_eq!(contest.pauses(), 1);
    }

    #[test]
    fn one_that_reacts_after_a_while_shows_too() {
        let mut contest = Contest::default();
        let passes = (0..50).flat_map(|_| [gone(), Pass::Unchanged]);
        assert!(passes.into_iter().any(|pass| contest.begins_with(&pass)));
    }

    #[test]
    fn an_owner_that_restarts_now_and_then_is_none() {
        let mut contest = Contest::default();
        for _ in 0..50 {
            for pass in [gone(), gone(), gone()] {
                assert!(!contest.begins_with(&pass));
            }
            for _ in 0..6 {
                assert!(!contest.begins_with(&Pass::Unchanged));
            }
            assert_eq!(contest.pauses(), 1);
        }
    }
}
