//! The door to iptables by running its programs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::diagnose::{Failure, is_privileged};
use super::parse::{ListingError, ListingParser};
use super::program::{Action, Program, search_path};
use super::{Family, Iptables, IptablesError, Listed, Stamp, Table, Variant};
use crate::process::{Ended, RunError, run};

const LOCK_WAIT: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(120);

/// [`Iptables`] by `iptables-restore` and `iptables-save` of one variant.
///
/// The programs work in the network namespace of the thread that calls, so call from the thread that opened.
#[derive(Debug)]
pub struct IptablesPrograms {
    variant: Variant,
    v4: FamilyPrograms,
    /// An image may come without `ip6tables`; that matters when IPv6 is asked for.
    v6: Option<FamilyPrograms>,
    lock_wait: Duration,
    timeout: Duration,
    lock_file: Option<PathBuf>,
    programs_started: u64,
    bytes_written: u64,
}

#[derive(Debug)]
struct FamilyPrograms {
    restore: Program,
    save: Program,
}

impl FamilyPrograms {
    fn find(
        directories: &[PathBuf],
        variant: Variant,
        family: Family,
    ) -> Result<Self, IptablesError> {
        Ok(Self {
            restore: Program::find(directories, variant, family, Action::Restore)?,
            save: Program::find(directories, variant, family, Action::Save)?,
        })
    }
}

impl IptablesPrograms {
    /// Finds the programs of `variant`; starts none of them, unless only the plain names are there to be asked for their version.
    pub fn open(variant: Variant) -> Result<Self, IptablesError> {
        let directories = search_path();
        Ok(Self {
            variant,
            v4: FamilyPrograms::find(&directories, variant, Family::V4)?,
            v6: FamilyPrograms::find(&directories, variant, Family::V6).ok(),
            lock_wait: LOCK_WAIT,
            timeout: TIMEOUT,
            lock_file: None,
            programs_started: 0,
            bytes_written: 0,
        })
    }

    /// How long to wait for the xtables lock, in whole seconds (10), and how long a program may take after that (120 s).
    /// Only the legacy variant has the lock.
    #[must_use]
    pub fn with_limits(mut self, lock_wait: Duration, timeout: Duration) -> Self {
        self.lock_wait = lock_wait;
        self.timeout = timeout;
        self
    }

    /// Uses this file as the xtables lock in place of iptables' own default, `/run/xtables.lock`: an agent in a container
    /// must share the node's.
    #[must_use]
    pub fn with_lock_file(mut self, file: &Path) -> Self {
        self.lock_file = Some(file.to_path_buf());
        self
    }

    /// Runs `iptables-save`, of one table or (`None`) of all that exist, and hands out its lines.
    pub(super) fn listing(
        &mut self,
        family: Family,
        table: Option<Table>,
        on_line: &mut dyn FnMut(&str) -> Result<(), ListingError>,
    ) -> Result<(), IptablesError> {
        let program = self.programs(family)?.save.clone();
        let arguments = table.map_or_else(Vec::new, |t| vec!["-t".to_owned(), t.to_string()]);
        let mut lines = Lines::default();
        let mut outcome = Ok(());
        let ended = self.run(&program, &arguments, b"", &mut |piece| {
            if outcome.is_ok() {
                outcome = lines.take(piece, on_line);
            }
        })?;
        if !ended.status.success() {
            return Err(self.failure(&program, family, table, "", &ended));
        }
        outcome
            .and_then(|()| lines.end(on_line))
            .map_err(|e| match (e, table) {
                (ListingError::Unlistable, Some(table)) => {
                    IptablesError::Unlistable { family, table }
                }
                (e, _) => IptablesError::Malformed {
                    program: program.name().to_owned(),
                    message: e.to_string(),
                },
            })
    }

    fn programs(&self, family: Family) -> Result<&FamilyPrograms, IptablesError> {
        match (family, &self.v6) {
            (Family::V4, _) => Ok(&self.v4),
            (Family::V6, Some(v6)) => Ok(v6),
            (Family::V6, None) => Err(IptablesError::NotInstalled {
                program: format!("ip6tables-{}-restore", self.variant),
            }),
        }
    }

    fn run(
        &mut self,
        program: &Program,
        arguments: &[String],
        input: &[u8],
        stdout: &mut dyn FnMut(&[u8]),
    ) -> Result<Ended, IptablesError> {
        let mut command = program.command();
        command.args(arguments);
        if let Some(file) = &self.lock_file {
            command.env("XTABLES_LOCKFILE", file);
        }
        self.programs_started += 1;
        self.bytes_written += input.len() as u64;
        let bound = self.lock_wait + self.timeout;
        run(&mut command, input, bound, stdout).map_err(|e| match e {
            RunError::TimedOut => IptablesError::TimedOut {
                program: program.name().to_owned(),
                seconds: bound.as_secs(),
            },
            RunError::Io(operation, source) => IptablesError::Io {
                program: program.name().to_owned(),
                operation,
                source,
            },
        })
    }

    fn failure(
        &self,
        program: &Program,
        family: Family,
        table: Option<Table>,
        input: &str,
        ended: &Ended,
    ) -> IptablesError {
        Failure {
            program: program.name(),
            variant: self.variant,
            family,
            table,
            input,
            status: ended.status.code(),
            stderr: &ended.stderr,
            lock_wait: self.lock_wait,
            privileged: is_privileged(),
        }
        .error()
    }
}

impl Iptables for IptablesPrograms {
    fn variant(&self) -> Variant {
        self.variant
    }

    fn restore(&mut self, family: Family, input: &str) -> Result<(), IptablesError> {
        let program = self.programs(family)?.restore.clone();
        // iptables-nft takes -w and does without a lock.
        let arguments = [
            "--noflush".to_owned(),
            "-w".to_owned(),
            self.lock_wait.as_secs().to_string(),
        ];
        let ended = self.run(&program, &arguments, input.as_bytes(), &mut |_| {})?;
        if ended.status.success() {
            return Ok(());
        }
        Err(self.failure(&program, family, None, input, &ended))
    }

    fn list(
        &mut self,
        family: Family,
        table: Table,
        on_item: &mut dyn FnMut(Listed<'_>),
    ) -> Result<(), IptablesError> {
        let mut parser = ListingParser::new(table, on_item);
        self.listing(family, Some(table), &mut |line| parser.line(line))?;
        parser.finish().map_err(|e| IptablesError::Malformed {
            program: format!("iptables-{}-save", self.variant),
            message: e.to_string(),
        })
    }

    fn stamp(&mut self) -> Option<Stamp> {
        if self.variant != Variant::Nft {
            return None;
        }
        Stamp::read()
            .inspect_err(|error| tracing::debug!(%error, "the rule set's generation is not known"))
            .ok()
    }

    fn programs_started(&self) -> u64 {
        self.programs_started
    }

    fn bytes_written(&self) -> u64 {
        self.bytes_written
    }
}

/// Cuts a stream into lines.
#[derive(Default)]
struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    fn take<E>(
        &mut self,
        piece: &[u8],
        on_line: &mut dyn FnMut(&str) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = piece;
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            if self.begun.is_empty() {
                on_line(&String::from_utf8_lossy(&rest[..end]))?;
            } else {
                self.begun.extend_from_slice(&rest[..end]);
                on_line(&String::from_utf8_lossy(&self.begun))?;
                self.begun.clear();
            }
            rest = &rest[end + 1..];
        }
        self.begun.extend_from_slice(rest);
        Ok(())
    }

    fn end<E>(self, on_line: &mut dyn FnMut(&str) -> Result<(), E>) -> Result<(), E> {
        if self.begun.is_empty() {
            Ok(())
        } else {
            on_line(&String::from_utf8_lossy(&self.begun))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_do_not_depend_on_how_the_stream_is_cut() {
        let text = "one\n\ntwo é\nlast";
        for size in 1..=text.len() {
            let mut seen = Vec::new();
            let mut on_line = |line: &str| {
                seen.push(line.to_owned());
                Ok::<(), ()>(())
            };
            let mut lines = Lines::default();
            for piece in text.as_bytes().chunks(size) {
                lines.take(piece, &mut on_line).unwrap();
            }
            lines.end(&mut on_line).unwrap();
            assert_eq!(seen, ["one", "", "two é", "last"], "pieces of {size}");
        }
    }
}
