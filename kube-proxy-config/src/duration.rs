//! Durations as Go writes them: `30s`, `1h0m0s`, `500ms`.

use std::time::Duration;

/// A text that is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a duration of zero or more: write it as 30s, 1h30m or 500ms")]
pub struct DurationError(String);

/// Nanoseconds of each unit; longer names come before those that they start with.
const UNITS: [(&str, f64); 8] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("\u{b5}s", 1e3),
    ("\u{3bc}s", 1e3),
    ("ms", 1e6),
    ("h", 3.6e12),
    ("m", 6e10),
    ("s", 1e9),
];

/// Reads one.
pub(super) fn parse(text: &str) -> Result<Duration, DurationError> {
    let wrong = || DurationError(text.to_owned());
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut nanoseconds = 0.0;
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(wrong)?;
        let (number, after) = rest.split_at(end);
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let (unit, worth) = UNITS
            .iter()
            .find(|(unit, _)| after.starts_with(unit))
            .ok_or_else(wrong)?;
        nanoseconds += number * worth;
        rest = &after[unit.len()..];
    }
    Duration::try_from_secs_f64(nanoseconds / 1e9).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, milliseconds) in [
            ("30s", 30_000),
            ("1h0m0s", 3_600_000),
            ("500ms", 500),
            ("0", 0),
            ("0s", 0),
            ("1m1.5s", 61_500),
            ("2h45m", 9_900_000),
            ("1000\u{b5}s", 1),
        ] {
            assert_eq!(
                parse(text).unwrap(),
                Duration::from_millis(milliseconds),
                "{text}"
            );
        }
        for text in [
            "",
            "5",
            "s",
            "-5s",
            "1d",
            "5 s",
            "1..2s",
            "99999999999999999999h",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[0-9.hmsuµn+-]{0,12}|\\PC{0,8}") {
            let _ = parse(&text);
        }
    }
}
