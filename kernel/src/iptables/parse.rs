//! Reads the listing of `iptables-save`, line by line.

use std::collections::HashSet;

use super::saved::Collector;
use super::{Listed, SavedTable, Table};

/// What is wrong with a listing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListingError {
    /// A line that is none of `*table`, `:chain`, `-A chain`, `COMMIT`, comment.
    #[error("line {line} is not understood: {text:?}")]
    UnknownLine {
        /// Line number, from 1.
        line: usize,
        /// The line, cut to 200 characters.
        text: String,
    },
    /// A chain or a rule before the first `*table`.
    #[error("line {line} stands outside of a table")]
    OutsideTable {
        /// Line number, from 1.
        line: usize,
    },
    /// A rule of a chain that was not declared before.
    #[error("line {line} has a rule of chain {chain}, which the listing does not declare")]
    UndeclaredChain {
        /// Line number, from 1.
        line: usize,
        /// Chain name.
        chain: String,
    },
    /// The listing ends within a table.
    #[error("the listing ends before COMMIT: it was cut off")]
    CutOff,
    /// iptables-nft cannot show the table, because nft put things in it that iptables does not have.
    #[error("the table holds objects that iptables cannot list")]
    Unlistable,
}

/// Takes a listing line by line and hands on one table of it.
pub struct ListingParser<'a> {
    table: Table,
    on_item: &'a mut dyn FnMut(Listed<'_>),
    line: usize,
    place: Place,
    chains: HashSet<Box<str>>,
    /// The chain of the rule before: listings print the rules of a chain together.
    last: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Outside,
    Wanted,
    OtherTable,
}

impl<'a> ListingParser<'a> {
    /// Hands on what the listing says of `table`.
    pub fn new(table: Table, on_item: &'a mut dyn FnMut(Listed<'_>)) -> Self {
        Self {
            table,
            on_item,
            line: 0,
            place: Place::Outside,
            chains: HashSet::new(),
            last: String::new(),
        }
    }

    /// Takes the next line, without its line end.
    pub fn line(&mut self, text: &str) -> Result<(), ListingError> {
        self.line += 1;
        let text = text.trim_end();
        match text.as_bytes().first() {
            None => Ok(()),
            Some(b'#') => self.comment(text),
            Some(b'*') => {
                let wanted = text[1..] == *self.table.name();
                self.place = if wanted {
                    Place::Wanted
                } else {
                    Place::OtherTable
                };
                Ok(())
            }
            Some(_) if text == "COMMIT" => {
                self.inside()?;
                self.place = Place::Outside;
                Ok(())
            }
            Some(b':') => {
                if self.inside()? {
                    self.chain(text)?;
                }
                Ok(())
            }
            Some(b'-' | b'[') => {
                if self.inside()? {
                    self.rule(text)?;
                }
                Ok(())
            }
            Some(_) => Err(self.unknown(text)),
        }
    }

    /// Says that the last line has come. A listing without the table hands on nothing.
    pub fn finish(self) -> Result<(), ListingError> {
        match self.place {
            Place::Outside => Ok(()),
            Place::Wanted | Place::OtherTable => Err(ListingError::CutOff),
        }
    }

    fn inside(&self) -> Result<bool, ListingError> {
        match self.place {
            Place::Outside => Err(ListingError::OutsideTable { line: self.line }),
            Place::Wanted => Ok(true),
            Place::OtherTable => Ok(false),
        }
    }

    /// iptables-nft says in a comment that it leaves the table out.
    fn comment(&self, text: &str) -> Result<(), ListingError> {
        let ours = text
            .strip_prefix("# Table `")
            .and_then(|t| t.strip_prefix(self.table.name()));
        match ours {
            Some(rest) if rest.starts_with("' is incompatible") => Err(ListingError::Unlistable),
            _ => Ok(()),
        }
    }

    fn chain(&mut self, text: &str) -> Result<(), ListingError> {
        let name = text[1..].split(' ').next().unwrap_or_default();
        if name.is_empty() {
            return Err(self.unknown(text));
        }
        self.chains.insert(name.into());
        (self.on_item)(Listed::Chain(name));
        Ok(())
    }

    fn rule(&mut self, text: &str) -> Result<(), ListingError> {
        let counted = text
            .strip_prefix('[')
            .and_then(|t| t.split_once("] "))
            .map_or(text, |(_, rule)| rule);
        let Some(rule) = counted.strip_prefix("-A ") else {
            return Err(self.unknown(text));
        };
        let (chain, rule) = rule.split_once(' ').unwrap_or((rule, ""));
        if self.last != chain {
            if !self.chains.contains(chain) {
                return Err(ListingError::UndeclaredChain {
                    line: self.line,
                    chain: chain.to_owned(),
                });
            }
            chain.clone_into(&mut self.last);
        }
        (self.on_item)(Listed::Rule { chain, rule });
        Ok(())
    }

    fn unknown(&self, text: &str) -> ListingError {
        ListingError::UnknownLine {
            line: self.line,
            text: text.chars().take(200).collect(),
        }
    }
}

/// Reads a whole listing.
pub fn parse_listing(
    text: &str,
    table: Table,
    keep: &dyn Fn(&str) -> bool,
) -> Result<SavedTable, ListingError> {
    let mut collector = Collector::new(keep);
    let mut on_item = |item: Listed<'_>| collector.take(item);
    let mut parser = ListingParser::new(table, &mut on_item);
    for line in text.lines() {
        parser.line(line)?;
    }
    parser.finish()?;
    Ok(collector.finish())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LISTING: &str = "\
# Generated by iptables-save v1.8.9 on Sat Nov 21 23:55:52 2026
*filter
:INPUT ACCEPT [0:0]
-A INPUT -j ACCEPT
COMMIT
# Completed on Sat Nov 21 23:55:52 2026
*nat
:OUTPUT ACCEPT [12:340]
:A - [0:0]
:B - [0:0]
-A OUTPUT -j A
[3:180] -A A -m comment --comment \"x y\" -j B
-A B
-A A -j RETURN
COMMIT
";

    fn all(_: &str) -> bool {
        true
    }

    #[test]
    fn one_table_of_a_listing_is_read_in_the_order_printed() {
        let table = parse_listing(LISTING, Table::Nat, &all).unwrap();
        let names: Vec<&str> = table.chains.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["OUTPUT", "A", "B"]);
        assert_eq!(table.chain("OUTPUT").unwrap().rules, ["-j A"]);
        assert_eq!(
            table.chain("A").unwrap().rules,
            ["-m comment --comment \"x y\" -j B", "-j RETURN"]
        );
        assert_eq!(table.chain("B").unwrap().rules, [""]);
    }

    #[test]
    fn chains_that_are_not_kept_come_without_rules() {
        let table = parse_listing(LISTING, Table::Nat, &|name| name == "B").unwrap();
        assert_eq!(table.chains.len(), 3);
        assert!(table.chain("A").unwrap().rules.is_empty());
        assert_eq!(table.chain("B").unwrap().rules.len(), 1);
    }

    #[test]
    fn a_table_that_is_not_listed_is_empty() {
        assert_eq!(
            parse_listing(LISTING, Table::Mangle, &all).unwrap(),
            SavedTable::default()
        );
    }

    #[test]
    fn broken_listings_are_told_apart() {
        let read = |text: &str| parse_listing(text, Table::Nat, &all).unwrap_err();
        assert_eq!(read("*nat\n:A - [0:0]\n"), ListingError::CutOff);
        assert_eq!(read("-A A -j B\n"), ListingError::OutsideTable { line: 1 });
        assert_eq!(read("COMMIT\n"), ListingError::OutsideTable { line: 1 });
        assert_eq!(
            read("*nat\n-A A -j B\nCOMMIT\n"),
            ListingError::UndeclaredChain {
                line: 2,
                chain: "A".to_owned()
            }
        );
        assert_eq!(
            read("*nat\nhello\nCOMMIT\n"),
            ListingError::UnknownLine {
                line: 2,
                text: "hello".to_owned()
            }
        );
        assert_eq!(
            read("# Table `nat' is incompatible, use 'nft' tool.\n"),
            ListingError::Unlistable
        );
    }

    #[test]
    fn warnings_about_other_tables_are_comments() {
        let text = "# Warning: iptables-legacy tables present, use iptables-legacy-save to see them\n\
                    # Table `filter' is incompatible, use 'nft' tool.\n\
                    # Table `nat' contains incompatible base-chains, use 'nft' tool to list them.\n";
        assert_eq!(
            parse_listing(text, Table::Nat, &all).unwrap(),
            SavedTable::default()
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "([*:#\\[\\]-]?[A-Ca-c \"\\\\0-9éß\\[\\]:-]{0,12}(\n|COMMIT\n|\\*nat\n|:A - \\[0:0\\]\n|-A A -j B\n)){0,12}") {
            let _ = parse_listing(&text, Table::Nat, &all);
        }

        #[test]
        fn a_mutilated_listing_does_not_make_the_parser_panic(at in 0..LISTING.len(), cut in 0..20_usize, with in "[\\PC\n]{0,8}") {
            let end = (at + cut).min(LISTING.len());
            let text = format!("{}{with}{}", &LISTING[..at], &LISTING[end..]);
            let _ = parse_listing(&text, Table::Nat, &all);
        }
    }
}
