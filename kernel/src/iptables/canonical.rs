//! One spelling for rules that mean the same.
//!
//! A rule written in the form and order of `iptables-save` comes back from both variants letter by letter, but for the
//! spellings handled here. What `iptables-save` adds (`-m tcp` after `-p tcp`, REJECT's default answer) must be written out.

use std::borrow::Cow;
use std::net::IpAddr;

use ipnet::IpNet;

/// `probability` of `xt_statistic` is kept in units of 2^-31.
const PROBABILITY_UNITS: f64 = 2_147_483_648.0;

/// The rule as `iptables-save` prints it: numbers, marks, addresses and quotes in its spelling. `rule` comes without `-A CHAIN`.
///
/// Borrowed when it is spelled so already. What is not understood stays as it is, so this never fails.
pub fn canonical(rule: &str) -> Cow<'_, str> {
    let words = words(rule);
    let mut out = String::with_capacity(rule.len() + 8);
    let mut rest = words.iter();
    let mut negated = false;
    while let Some(word) = rest.next() {
        if word.text == "!" && !negated {
            negated = true;
            continue;
        }
        let was_negated = std::mem::take(&mut negated);
        let Some(spelling) = Spelling::of(&word.text) else {
            push_option(&mut out, was_negated, &word.spelled());
            continue;
        };
        let Some(value) = rest.next() else {
            push_option(&mut out, was_negated, spelling.name);
            break;
        };
        let printed = spelling.value(value);
        // A match of everything is not printed.
        if printed.is_none() && !was_negated {
            continue;
        }
        push_option(&mut out, was_negated, spelling.name);
        push(&mut out, &printed.unwrap_or_else(|| value.spelled()));
    }
    if negated {
        push(&mut out, "!");
    }
    if out == rule {
        Cow::Borrowed(rule)
    } else {
        Cow::Owned(out)
    }
}

/// Two rules are the same.
pub fn same_rule(one: &str, other: &str) -> bool {
    one == other || canonical(one) == canonical(other)
}

/// The chain or target that the rule goes to: the value of `-j` or `-g`.
pub(super) fn target(rule: &str) -> Option<String> {
    let mut words = words(rule).into_iter();
    while let Some(word) = words.next() {
        if matches!(&*word.text, "-j" | "-g" | "--jump" | "--goto") {
            return words.next().map(|w| w.text.into_owned());
        }
    }
    None
}

fn push(out: &mut String, word: &str) {
    if !out.is_empty() {
        out.push(' ');
    }
    out.push_str(word);
}

fn push_option(out: &mut String, negated: bool, option: &str) {
    if negated {
        push(out, "!");
    }
    push(out, option);
}

/// An option whose name or value has more than one spelling.
struct Spelling {
    name: &'static str,
    kind: Value,
}

#[derive(Clone, Copy)]
enum Value {
    Plain,
    Protocol,
    Network,
    Host,
    Probability,
    MarkMatch,
    /// The value and mask of `--set-xmark`, from those of the option as it is written.
    MarkSet(fn(u32, Option<u32>) -> (u32, u32)),
    Text,
}

impl Spelling {
    fn of(option: &str) -> Option<Self> {
        let (name, kind) = match option {
            "-s" | "--source" | "--src" => ("-s", Value::Network),
            "-d" | "--destination" | "--dst" => ("-d", Value::Network),
            "-i" | "--in-interface" => ("-i", Value::Plain),
            "-o" | "--out-interface" => ("-o", Value::Plain),
            "-p" | "--protocol" => ("-p", Value::Protocol),
            "-j" | "--jump" => ("-j", Value::Plain),
            "-g" | "--goto" => ("-g", Value::Plain),
            "--probability" => ("--probability", Value::Probability),
            "--mark" => ("--mark", Value::MarkMatch),
            "--set-xmark" => (
                "--set-xmark",
                Value::MarkSet(|v, m| (v, m.unwrap_or(u32::MAX))),
            ),
            "--set-mark" => (
                "--set-xmark",
                Value::MarkSet(|v, m| (v, m.map_or(u32::MAX, |m| m | v))),
            ),
            "--or-mark" => ("--set-xmark", Value::MarkSet(|v, _| (v, v))),
            "--and-mark" => ("--set-xmark", Value::MarkSet(|v, _| (0, !v))),
            "--xor-mark" => ("--set-xmark", Value::MarkSet(|v, _| (v, 0))),
            "--ctorigsrc" => ("--ctorigsrc", Value::Host),
            "--ctorigdst" => ("--ctorigdst", Value::Host),
            "--ctreplsrc" => ("--ctreplsrc", Value::Host),
            "--ctrepldst" => ("--ctrepldst", Value::Host),
            "--comment" => ("--comment", Value::Text),
            _ => return None,
        };
        Some(Self { name, kind })
    }

    /// The value as it is printed; `None` when it matches everything and so nothing is printed.
    fn value<'a>(&self, word: &'a Word<'_>) -> Option<Cow<'a, str>> {
        let text = &*word.text;
        let printed = match self.kind {
            Value::Plain => Cow::Borrowed(text),
            Value::Protocol => protocol(text)?,
            Value::Network => network(text)?,
            Value::Host => host(text),
            Value::Probability => probability(text),
            Value::MarkMatch => match mark(text) {
                Some((value, None | Some(u32::MAX))) => Cow::Owned(format!("{value:#x}")),
                Some((value, Some(mask))) => Cow::Owned(format!("{value:#x}/{mask:#x}")),
                None => Cow::Borrowed(text),
            },
            Value::MarkSet(convert) => mark(text).map_or(Cow::Borrowed(text), |(value, mask)| {
                let (value, mask) = convert(value, mask);
                Cow::Owned(format!("{value:#x}/{mask:#x}"))
            }),
            Value::Text => return Some(quoted(text)),
        };
        // What is not understood keeps its quotes.
        Some(if printed == text {
            word.spelled()
        } else {
            printed
        })
    }
}

fn protocol(text: &str) -> Option<Cow<'_, str>> {
    Some(Cow::Borrowed(match text {
        "0" | "all" => return None,
        "1" => "icmp",
        "6" => "tcp",
        "17" => "udp",
        "58" | "icmpv6" => "ipv6-icmp",
        "132" => "sctp",
        other => other,
    }))
}

fn network(text: &str) -> Option<Cow<'_, str>> {
    let parsed = text
        .parse::<IpNet>()
        .ok()
        .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    match parsed {
        Some(net) if net.prefix_len() == 0 => None,
        Some(net) => Some(Cow::Owned(net.trunc().to_string())),
        None if text == "0/0" => None,
        None => Some(Cow::Borrowed(text)),
    }
}

fn host(text: &str) -> Cow<'_, str> {
    match text.parse::<IpNet>() {
        Ok(net) if net.prefix_len() == net.max_prefix_len() => Cow::Owned(net.addr().to_string()),
        Ok(net) => Cow::Owned(net.trunc().to_string()),
        Err(_) => Cow::Borrowed(text),
    }
}

fn probability(text: &str) -> Cow<'_, str> {
    match text.parse::<f64>() {
        Ok(p) if (0.0..=1.0).contains(&p) => Cow::Owned(format!(
            "{:.11}",
            (p * PROBABILITY_UNITS).round() / PROBABILITY_UNITS
        )),
        _ => Cow::Borrowed(text),
    }
}

fn mark(text: &str) -> Option<(u32, Option<u32>)> {
    let number = |t: &str| match t.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => t.parse().ok(),
    };
    match text.split_once('/') {
        Some((value, mask)) => Some((number(value)?, Some(number(mask)?))),
        None => Some((number(text)?, None)),
    }
}

/// As `iptables-save` prints strings: bare when made of letters, digits, `-` and `_` only.
fn quoted(text: &str) -> Cow<'_, str> {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !text.is_empty() && text.chars().all(bare) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\' | '\'') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    Cow::Owned(out)
}

/// One word of a rule, its quotes taken off.
struct Word<'a> {
    text: Cow<'a, str>,
    quoted: bool,
}

impl Word<'_> {
    fn spelled(&self) -> Cow<'_, str> {
        if self.quoted {
            quoted(&self.text)
        } else {
            Cow::Borrowed(&self.text)
        }
    }
}

/// Splits as iptables-restore does: at blanks outside of double quotes; a backslash inside of them takes the next character as it is.
fn words(rule: &str) -> Vec<Word<'_>> {
    let mut words = Vec::with_capacity(16);
    let mut rest = rule.trim_start();
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| c.is_whitespace() || c == '"')
            .unwrap_or(rest.len());
        if rest[end..].starts_with('"') {
            let (word, after) = quoted_word(rest);
            words.push(word);
            rest = after;
        } else {
            words.push(Word {
                text: Cow::Borrowed(&rest[..end]),
                quoted: false,
            });
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    words
}

fn quoted_word(text: &str) -> (Word<'_>, &str) {
    let mut out = String::new();
    let mut inside = false;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => inside = !inside,
            '\\' if inside => out.extend(chars.next().map(|(_, next)| next)),
            c if c.is_whitespace() && !inside => {
                return (
                    Word {
                        text: Cow::Owned(out),
                        quoted: true,
                    },
                    &text[at..],
                );
            }
            c => out.push(c),
        }
    }
    (
        Word {
            text: Cow::Owned(out),
            quoted: true,
        },
        "",
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spellings_that_iptables_changes_become_its_own() {
        for (written, printed) in [
            (
                "-m statistic --mode random --probability 0.5 -j A",
                "-m statistic --mode random --probability 0.50000000000 -j A",
            ),
            ("--probability 0.33333333333", "--probability 0.33333333349"),
            ("--probability 0.0001", "--probability 0.00009999983"),
            ("-s 10.0.0.1 -j A", "-s 10.0.0.1/32 -j A"),
            ("! -s 10.0.0.1/8 -j A", "! -s 10.0.0.0/8 -j A"),
            ("-d 0.0.0.0/0 -j A", "-j A"),
            ("-d ::/0 -j A", "-j A"),
            ("-d FD00::1 -j A", "-d fd00::1/128 -j A"),
            (
                "-p 6 -m tcp --dport 80 -j A",
                "-p tcp -m tcp --dport 80 -j A",
            ),
            (
                "-j MARK --or-mark 0x4000",
                "-j MARK --set-xmark 0x4000/0x4000",
            ),
            (
                "-j MARK --and-mark 0xffffbfff",
                "-j MARK --set-xmark 0x0/0x4000",
            ),
            (
                "-j MARK --set-mark 16384",
                "-j MARK --set-xmark 0x4000/0xffffffff",
            ),
            (
                "-j MARK --xor-mark 0x4000",
                "-j MARK --set-xmark 0x4000/0x0",
            ),
            ("-m mark --mark 16384/16384", "-m mark --mark 0x4000/0x4000"),
            ("-m mark ! --mark 1/0xffffffff", "-m mark ! --mark 0x1"),
            (
                "-m conntrack --ctorigdst 10.0.0.1/32",
                "-m conntrack --ctorigdst 10.0.0.1",
            ),
            (
                "-m comment --comment \"x\" -j A",
                "-m comment --comment x -j A",
            ),
            (
                "-m comment --comment a/b:c -j A",
                "-m comment --comment \"a/b:c\" -j A",
            ),
            (
                "-m comment --comment \"it's\"",
                "-m comment --comment \"it\\'s\"",
            ),
            ("  -j   A ", "-j A"),
            ("", ""),
        ] {
            assert_eq!(canonical(written), printed, "of {written}");
        }
    }

    #[test]
    fn a_rule_in_canonical_form_is_borrowed() {
        let rule = "-d 10.0.0.1/32 -p tcp -m tcp --dport 80 -m comment --comment \"a \\\"b\\\"\" -j DNAT --to-destination 1.2.3.4:80";
        assert!(matches!(canonical(rule), Cow::Borrowed(_)));
    }

    #[test]
    fn the_target_is_not_looked_for_in_comments() {
        assert_eq!(
            target("-m comment --comment \"-j X\" -g Y").as_deref(),
            Some("Y")
        );
        assert_eq!(target("-m comment --comment \"-j X\""), None);
        assert_eq!(target("-j"), None);
    }

    proptest! {
        #[test]
        fn a_canonical_rule_stays_as_it_is(rule in "((! )?(-[sdpijg]|--mark|--set-mark|--comment|--probability|--ctorigdst)? ?(\"[a-z\\\\' \"]{0,6}\"?|[0-9a-fx./:!é]{0,8}) ?){0,6}") {
            let once = canonical(&rule).into_owned();
            prop_assert_eq!(canonical(&once).into_owned(), once);
        }
    }
}
