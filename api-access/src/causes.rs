//! Errors in words.

use std::error::Error;

/// An error and what is behind it, as far as that says more.
pub fn with_causes(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_words = inner.to_string();
        if !words.contains(&inner_words) {
            words = format!("{words}: {inner_words}");
        }
        cause = inner.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{words}")]
    struct Layer {
        words: &'static str,
        #[source]
        cause: Option<Box<Self>>,
    }

    #[test]
    fn a_cause_that_was_said_already_is_not_said_again() {
        let layer = |words, cause| Layer { words, cause };
        let innermost = layer("no route", None);
        let inner = layer("connect: no route", Some(Box::new(innermost)));
        let outer = layer("the request failed", Some(Box::new(inner)));
        assert_eq!(with_causes(&outer), "the request failed: connect: no route");
    }
}
