//! How long ago something was.

use jiff::Timestamp;

/// Whole seconds from a time to another; none where it lies ahead, as by another machine's clock it may.
pub(crate) fn seconds_since(then: Timestamp, now: Timestamp) -> u64 {
    u64::try_from(now.as_second() - then.as_second()).unwrap_or_default()
}

/// Seconds in words, by their two largest units.
pub(crate) fn in_words(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_at_a_glance_and_another_clock_makes_none_negative() {
        let words = [0, 59, 60, 3599, 3600, 7260, 86_400, 90_000].map(in_words);
        assert_eq!(
            words,
            [
                "0 s",
                "59 s",
                "1 min",
                "59 min",
                "1 h 0 min",
                "2 h 1 min",
                "1 d 0 h",
                "1 d 1 h"
            ]
        );
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(seconds_since(at(10), at(15)), 5);
        assert_eq!(seconds_since(at(20), at(15)), 0);
    }
}
