//! Colour, which adds to words and never stands for them.

use std::io::IsTerminal as _;

/// Whether there is any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    is_coloured: bool,
}

impl Style {
    /// None.
    #[cfg(test)]
    pub(crate) const PLAIN: Self = Self { is_coloured: false };

    /// On a terminal that can, unless `NO_COLOR` says otherwise (<https://no-color.org>).
    pub(crate) fn of_terminal() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            is_coloured: std::io::stdout().is_terminal() && !refused && !is_dumb,
        }
    }

    /// For what is as it should be.
    pub(crate) fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// For what needs somebody.
    pub(crate) fn bad(self, text: &str) -> String {
        self.paint("31", text)
    }

    /// For titles.
    pub(crate) fn title(self, text: &str) -> String {
        self.paint("1", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.is_coloured {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_the_same_with_and_without_colour() {
        let coloured = Style { is_coloured: true };
        assert_eq!(coloured.bad("stalled"), "\u{1b}[31mstalled\u{1b}[0m");
        assert_eq!(Style::PLAIN.bad("stalled"), "stalled");
    }
}
