//! Makes an error of what a failed program said.

use std::fs;
use std::time::Duration;

use super::{Family, IptablesError, Table, Variant};

/// Lines quoted before and after the refused one.
const CONTEXT: usize = 2;
const MAX_QUOTED: usize = 300;
/// Exit status of iptables for "resource problem": no lock, no permission.
const RESOURCE_PROBLEM: i32 = 4;
/// Bit of `CAP_NET_ADMIN` in `capability.h`.
const CAP_NET_ADMIN: u32 = 12;

/// A program that ended with an error.
pub(super) struct Failure<'a> {
    pub(super) program: &'a str,
    pub(super) variant: Variant,
    pub(super) family: Family,
    /// The table asked for; of a restore, the input tells it.
    pub(super) table: Option<Table>,
    pub(super) input: &'a str,
    pub(super) status: Option<i32>,
    pub(super) stderr: &'a str,
    pub(super) lock_wait: Duration,
    /// This thread has `CAP_NET_ADMIN`: the legacy variant does not tell its absence from the absence of a table.
    pub(super) privileged: bool,
}

impl Failure<'_> {
    pub(super) fn error(&self) -> IptablesError {
        let program = self.program.to_owned();
        let message = self.message();
        if self.status.is_none() {
            return IptablesError::Killed { program };
        }
        if self.status == Some(RESOURCE_PROBLEM) && self.says(&["holding the xtables lock"]) {
            let waited_seconds = u32::try_from(self.lock_wait.as_secs()).unwrap_or(u32::MAX);
            return IptablesError::LockHeld { waited_seconds };
        }
        if !self.privileged
            || self.says(&[
                "Permission denied",
                "Operation not permitted",
                "must be root",
            ])
        {
            return IptablesError::NotPermitted { program, message };
        }
        if self.says(NO_MEMORY) {
            return IptablesError::NoMemory { program, message };
        }
        let line = refused_line(self.stderr);
        if self.says(UNSUPPORTED) {
            let table = self
                .table
                .or_else(|| line.and_then(|n| table_at(self.input, n)));
            return IptablesError::Unsupported {
                variant: self.variant,
                family: self.family,
                table,
                message,
            };
        }
        let lines = line.map_or_else(Vec::new, |n| quote(self.input, n));
        if self.says(OVERTAKEN) || line.is_some_and(|n| is_deletion(self.input, n)) {
            return IptablesError::Overtaken {
                program,
                line,
                lines,
                message,
            };
        }
        IptablesError::Refused {
            program,
            line,
            lines,
            message,
        }
    }

    fn says(&self, phrases: &[&str]) -> bool {
        phrases.iter().any(|p| self.stderr.contains(p))
    }

    /// What it said, on one line, without the parts that are the same in every message.
    fn message(&self) -> String {
        let said: Vec<&str> = self
            .stderr
            .lines()
            .map(str::trim)
            .filter(|l| !l.is_empty())
            .filter(|l| {
                !["Try `", "Error occurred at line", "# Warning"]
                    .iter()
                    .any(|p| l.starts_with(p))
            })
            .map(|l| {
                l.split_once("(nf_tables): ")
                    .or_else(|| l.split_once("(legacy): "))
                    .map_or(l, |(_, m)| m)
            })
            .collect();
        match (said.is_empty(), self.status) {
            (false, _) => said.join("; "),
            (true, Some(status)) => format!("exit status {status}"),
            (true, None) => "no exit status".to_owned(),
        }
    }
}

/// "This cannot be had here", in the words of both variants.
const UNSUPPORTED: &[&str] = &[
    "unable to initialize table",
    "can't initialize",
    "do you need to insmod?",
    "Couldn't load match",
    "missing kernel module",
    "Failed to initialize nft",
    "Could not fetch rule set generation id",
    "Protocol not supported",
    "Address family not supported",
];

/// `ENOMEM`, in the words of both variants.
const NO_MEMORY: &[&str] = &["Memory allocation problem", "Cannot allocate memory"];

/// The table is not as it was listed. Of a rule to be deleted that is not there the legacy variant says nothing but the line.
const OVERTAKEN: &[&str] = &[
    "Resource temporarily unavailable",
    "does a matching rule exist",
];

/// The first `line N`, `line: N` said.
fn refused_line(stderr: &str) -> Option<usize> {
    stderr.match_indices("line").find_map(|(at, word)| {
        let number = stderr[at + word.len()..].trim_start_matches([':', ' ']);
        let digits = number
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(number.len());
        number[..digits].parse().ok().filter(|n| *n > 0)
    })
}

fn table_at(input: &str, line: usize) -> Option<Table> {
    let heads = input.lines().take(line).filter_map(|l| l.strip_prefix('*'));
    heads.last().and_then(Table::from_name)
}

/// The line deletes a rule, so what it lacks is that rule.
pub(super) fn is_deletion(input: &str, line: usize) -> bool {
    let text = input.lines().nth(line.saturating_sub(1));
    text.is_some_and(|text| text.starts_with("-D "))
}

pub(super) fn quote(input: &str, line: usize) -> Vec<String> {
    let first = line.saturating_sub(CONTEXT).max(1);
    let numbered = input
        .lines()
        .enumerate()
        .map(|(index, text)| (index + 1, text));
    numbered
        .skip(first - 1)
        .take_while(|(n, _)| *n <= line.saturating_add(CONTEXT))
        .map(|(n, text)| {
            let text: String = text.chars().take(MAX_QUOTED).collect();
            format!("{} {n}: {text}", if n == line { '>' } else { ' ' })
        })
        .collect()
}

/// This thread may change the packet filter of its network namespace.
pub(super) fn is_privileged() -> bool {
    let Ok(status) = fs::read_to_string("/proc/thread-self/status") else {
        return true;
    };
    let effective = status.lines().find_map(|l| l.strip_prefix("CapEff:"));
    effective
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .is_none_or(|bits| bits & (1 << CAP_NET_ADMIN) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INPUT: &str = "*nat\n:A - [0:0]\n-A A -j ACCEPT\n-A A --foo\n-A A -j RETURN\nCOMMIT\n";

    fn error(status: i32, stderr: &str) -> IptablesError {
        ended(Some(status), stderr)
    }

    fn ended(status: Option<i32>, stderr: &str) -> IptablesError {
        Failure {
            program: "iptables-nft-restore",
            variant: Variant::Nft,
            family: Family::V4,
            table: None,
            input: INPUT,
            status,
            stderr,
            lock_wait: Duration::from_secs(7),
            privileged: true,
        }
        .error()
    }

    #[test]
    fn refusals_quote_the_lines_around_the_one_that_is_named() {
        for stderr in [
            "iptables-restore v1.8.9 (legacy): unknown option \"--foo\"\nError occurred at line: 4\nTry `iptables-restore -h' for more.\n",
            "iptables-nft-restore: line 4 failed: No chain/target/match by that name.\n",
            "iptables-nft-restore v1.8.9 (nf_tables): \nline 4: RULE_APPEND failed (Invalid argument): rule in chain A\n",
            "iptables-restore: line 4 failed\n",
        ] {
            let IptablesError::Refused {
                line,
                lines,
                message,
                ..
            } = error(2, stderr)
            else {
                panic!("{stderr}")
            };
            assert_eq!(line, Some(4), "{stderr}");
            assert_eq!(
                lines,
                [
                    "  2: :A - [0:0]",
                    "  3: -A A -j ACCEPT",
                    "> 4: -A A --foo",
                    "  5: -A A -j RETURN",
                    "  6: COMMIT"
                ]
            );
            assert!(
                !message.contains("Try") && !message.contains("Error occurred"),
                "{message}"
            );
        }
        assert_eq!(
            error(
                2,
                "x (legacy): unknown option \"--foo\"\nError occurred at line: 4\n"
            )
            .to_string(),
            "iptables-nft-restore refused line 4: unknown option \"--foo\"\n    2: :A - [0:0]\n    3: -A A -j ACCEPT\n  > 4: -A A --foo\n    5: -A A -j RETURN\n    6: COMMIT"
        );
    }

    #[test]
    fn a_line_number_beyond_the_input_is_no_reason_to_fail() {
        for stderr in [
            "line 99999999999999999999999 failed",
            "line 18446744073709551615 failed",
            "line 0 failed",
            "line",
        ] {
            assert!(
                matches!(error(1, stderr), IptablesError::Refused { .. }),
                "{stderr}"
            );
        }
    }

    #[test]
    fn other_reasons_have_their_own_errors() {
        let held = "Can't lock /run/xtables.lock: Resource temporarily unavailable\nAnother app is currently holding the xtables lock. Stopped waiting after 1s.\n";
        assert!(matches!(
            error(4, held),
            IptablesError::LockHeld { waited_seconds: 7 }
        ));
        let denied =
            "Could not fetch rule set generation id: Permission denied (you must be root)\n";
        assert!(matches!(
            error(4, denied),
            IptablesError::NotPermitted { .. }
        ));
        let absent = "iptables-restore v1.8.9 (legacy): iptables-restore: unable to initialize table 'nat'\nError occurred at line: 1\n";
        assert!(matches!(
            error(2, absent),
            IptablesError::Unsupported {
                table: Some(Table::Nat),
                ..
            }
        ));
        let extension = "Couldn't load match `statistic':No such file or directory\nError occurred at line: 3\n";
        assert!(matches!(
            error(2, extension),
            IptablesError::Unsupported { .. }
        ));
    }

    #[test]
    fn what_somebody_else_changed_meanwhile_was_not_refused() {
        for said in [
            "iptables-restore v1.8.9 (legacy): iptables-restore: line 6 failed: Resource temporarily unavailable.\n",
            "iptables-nft-restore: line 4 failed: Bad rule (does a matching rule exist in that chain?).\n",
        ] {
            let error = error(4, said);
            assert!(matches!(error, IptablesError::Overtaken { .. }), "{error}");
        }
    }

    #[test]
    fn what_memory_ran_out_for_was_not_refused() {
        let killed = ended(None, "");
        assert!(matches!(killed, IptablesError::Killed { .. }), "{killed}");
        for said in [
            "iptables-restore v1.8.9 (legacy): iptables-restore: line 6 failed: Memory allocation problem.\n",
            "iptables-nft-restore v1.8.9 (nf_tables): \nline 6: RULE_APPEND failed (Cannot allocate memory): rule in chain A\n",
        ] {
            let error = error(4, said);
            assert!(matches!(error, IptablesError::NoMemory { .. }), "{error}");
        }
    }
}
