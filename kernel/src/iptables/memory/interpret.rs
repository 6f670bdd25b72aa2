//! Interprets the text of `iptables-restore --noflush`.

use super::super::diagnose::{is_deletion, quote};
use super::super::{IptablesError, Table};
use super::ruleset::{Refused, Ruleset, TableState};

/// A line that was refused.
pub(super) struct Refusal {
    line: usize,
    message: String,
}

impl Refusal {
    pub(super) fn into_error(self, input: &str) -> IptablesError {
        let program = "iptables-restore".to_owned();
        let lines = quote(input, self.line);
        if is_deletion(input, self.line) {
            return IptablesError::Overtaken {
                program,
                line: Some(self.line),
                lines,
                message: self.message,
            };
        }
        IptablesError::Refused {
            program,
            line: Some(self.line),
            lines,
            message: self.message,
        }
    }
}

/// Carries out `input`, at most `max_tables` tables of it, and counts them in `commits`. A table is committed whole or not at all; those before stay.
pub(super) fn interpret(
    ruleset: &mut Ruleset,
    input: &str,
    max_tables: usize,
    commits: &mut u32,
) -> Result<(), Refusal> {
    let mut open: Option<(Table, TableState)> = None;
    let mut committed = 0;
    let mut last = 0;
    for (index, text) in input.lines().enumerate() {
        last = index + 1;
        let refuse = |message: Refused| Refusal {
            line: index + 1,
            message,
        };
        match (&mut open, text) {
            _ if text.is_empty() || text.starts_with('#') => {}
            (None, _) => {
                if committed == max_tables {
                    return Ok(());
                }
                open = Some(begin(ruleset, text).map_err(refuse)?);
            }
            (Some((table, state)), "COMMIT") => {
                state.commit_check().map_err(refuse)?;
                *ruleset.table(*table) = std::mem::take(state);
                open = None;
                committed += 1;
                *commits += 1;
            }
            (Some((_, state)), line) => command(state, line).map_err(refuse)?,
        }
    }
    match open {
        Some(_) => Err(Refusal {
            line: last + 1,
            message: "COMMIT expected".to_owned(),
        }),
        None => Ok(()),
    }
}

fn begin(ruleset: &mut Ruleset, text: &str) -> Result<(Table, TableState), Refused> {
    let name = text.strip_prefix('*').ok_or("no table is open")?;
    let table =
        Table::from_name(name.trim_end()).ok_or_else(|| format!("table name '{name}' invalid"))?;
    Ok((table, ruleset.table(table).clone()))
}

fn command(table: &mut TableState, line: &str) -> Result<(), Refused> {
    if let Some(declared) = line.strip_prefix(':') {
        return declare(table, declared);
    }
    let (verb, rest) = word(line);
    let (chain, rule) = word(rest);
    match verb {
        "-A" if !chain.is_empty() => table.append(chain, rule),
        "-I" if !chain.is_empty() => match number(rule) {
            Some((place, rule)) => table.insert(chain, place, rule),
            None => table.insert(chain, 1, rule),
        },
        "-D" if !chain.is_empty() => match number(rule) {
            Some((place, "")) => table.delete_at(chain, place),
            _ => table.delete(chain, rule),
        },
        "-F" if chain.is_empty() => table.flush_all(),
        "-F" => table.flush(chain),
        "-X" if !chain.is_empty() => table.delete_chain(chain),
        "-N" => table.create(chain),
        // Policies are not kept: nobody here asks for them.
        "-P" if table.rules(chain).is_some() => Ok(()),
        _ => Err(format!("Bad argument `{line}'")),
    }
}

/// `CHAIN POLICY [packets:bytes]`
fn declare(table: &mut TableState, declared: &str) -> Result<(), Refused> {
    let (chain, rest) = word(declared);
    let (policy, _) = word(rest);
    if policy.is_empty() {
        return Err("policy expected".to_owned());
    }
    table.declare(chain)
}

fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_once(' ')
        .map_or((text, ""), |(word, rest)| (word, rest.trim()))
}

fn number(rule: &str) -> Option<(usize, &str)> {
    let (first, rest) = word(rule);
    Some((first.parse().ok()?, rest))
}
