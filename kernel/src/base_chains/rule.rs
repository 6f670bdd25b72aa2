//! Rules as the kernel tells them, as far as they refuse everything.

use crate::netlink::{Attribute, NETFILTER_HEADER, attributes};

// `NFTA_RULE_*` of nf_tables.h.
pub(super) const TABLE: u16 = 1;
pub(super) const CHAIN: u16 = 2;
const EXPRESSIONS: u16 = 4;
// `NFTA_EXPR_*`
const NAME: u16 = 1;
const DATA: u16 = 2;
/// `NFTA_IMMEDIATE_DATA`
const IMMEDIATE: u16 = 2;
/// `NFTA_DATA_VERDICT`
const VERDICT: u16 = 2;
/// `NFTA_VERDICT_CODE`
const CODE: u16 = 1;
/// `NF_DROP` of `netfilter.h`.
const DROP: u32 = 0;
/// Expressions that let every packet go on to the next.
const PASSING: [&str; 2] = ["counter", "log"];

/// A rule.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rule<'a> {
    pub(super) table: &'a str,
    pub(super) chain: &'a str,
    /// It drops or rejects whatever meets it.
    pub(super) refuses_all: bool,
}

pub(super) fn rule(payload: &[u8]) -> Result<Rule<'_>, String> {
    let body = payload.get(NETFILTER_HEADER..);
    let body = body.ok_or_else(|| "the answer is cut off".to_owned())?;
    let (mut table, mut chain, mut refuses_all) = ("", "", false);
    for attribute in attributes(body) {
        let attribute = attribute?;
        match attribute.kind {
            TABLE => table = attribute.text()?,
            CHAIN => chain = attribute.text()?,
            EXPRESSIONS => refuses_all = refuse_all(attribute.value)?,
            _ => {}
        }
    }
    Ok(Rule {
        table,
        chain,
        refuses_all,
    })
}

/// The first expression that is more than passing decides.
fn refuse_all(expressions: &[u8]) -> Result<bool, String> {
    for expression in attributes(expressions) {
        let expression = expression?.value;
        let name = find(expression, NAME)?.map_or(Ok(""), |name| name.text())?;
        if !PASSING.contains(&name) {
            return Ok(name == "reject" || (name == "immediate" && is_drop(expression)?));
        }
    }
    Ok(false)
}

fn is_drop(immediate: &[u8]) -> Result<bool, String> {
    let mut inner = immediate;
    for kind in [DATA, IMMEDIATE, VERDICT] {
        let Some(found) = find(inner, kind)? else {
            return Ok(false);
        };
        inner = found.value;
    }
    find(inner, CODE)?.map_or(Ok(false), |code| Ok(code.u32_be()? == DROP))
}

fn find(nested: &[u8], kind: u16) -> Result<Option<Attribute<'_>>, String> {
    for attribute in attributes(nested) {
        let attribute = attribute?;
        if attribute.kind == kind {
            return Ok(Some(attribute));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base_chains::message::tests::attribute;

    fn expression(name: &str, data: &[u8]) -> Vec<u8> {
        let name = attribute(NAME, format!("{name}\0").as_bytes());
        attribute(1, &[name, attribute(DATA, data)].concat())
    }

    fn verdict(code: u32) -> Vec<u8> {
        let code = attribute(CODE, &code.to_be_bytes());
        let data = attribute(IMMEDIATE, &attribute(VERDICT, &code));
        expression("immediate", &[attribute(1, &[0; 4]), data].concat())
    }

    fn message(expressions: &[Vec<u8>]) -> Vec<u8> {
        [
            vec![1, 0, 0, 7],
            attribute(TABLE, b"firewall\0"),
            attribute(CHAIN, b"in\0"),
            attribute(EXPRESSIONS, &expressions.concat()),
        ]
        .concat()
    }

    #[test]
    fn a_rule_that_refuses_whatever_meets_it_is_told_from_others() {
        let of = |name| expression(name, &[]);
        for (expressions, refuses_all) in [
            (vec![of("reject")], true),
            (vec![of("counter"), of("log"), verdict(DROP)], true),
            (vec![verdict(1)], false),
            (vec![of("meta"), of("cmp"), of("reject")], false),
            (vec![of("counter")], false),
            (vec![], false),
        ] {
            let bytes = message(&expressions);
            let read = rule(&bytes).unwrap();
            assert_eq!((read.table, read.chain), ("firewall", "in"));
            assert_eq!(read.refuses_all, refuses_all, "{bytes:?}");
        }
    }

    fn sample() -> Vec<u8> {
        message(&[expression("counter", &[]), verdict(DROP)])
    }

    proptest! {
        #[test]
        fn a_mutilated_rule_does_not_make_the_decoder_panic(at in 0..sample().len(), byte in any::<u8>(), length in 0..sample().len()) {
            let mut bytes = sample();
            bytes[at] = byte;
            bytes.truncate(length);
            let _ = rule(&bytes);
        }
    }
}
