//! Which of several replicas writes. The lease of a namespace says who; whether it has expired each replica measures by its own clock, from the
//! moment it has seen the last change of it: what other machines take for the time does not matter.

mod candidate;
mod seen;

use std::time::{Duration, Instant};

use futures::future::pending;
use tokio::sync::watch;

pub(crate) use candidate::Candidate;

/// Name of the lease.
pub(crate) const LEASE: &str = "sluice-operator";
/// A leader that has not renewed its lease for so long has lost it.
const LASTS: Duration = Duration::from_secs(15);

/// How long a replica may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Term {
    /// It may not.
    Over,
    /// Unless it is renewed.
    Until(Instant),
    /// Nobody else is there.
    Unlimited,
}

impl Term {
    fn is_now(self) -> bool {
        match self {
            Self::Over => false,
            Self::Until(end) => Instant::now() < end,
            Self::Unlimited => true,
        }
    }
}

/// Whether this replica leads.
#[derive(Debug, Clone)]
pub(crate) struct Leadership(watch::Receiver<Term>);

impl Leadership {
    /// Of an only replica.
    pub(crate) fn alone() -> Self {
        Self(watch::channel(Term::Unlimited).1)
    }

    /// At this moment. A replica that was stopped for longer than its term finds it over, whatever it was doing.
    pub(crate) fn is_ours(&self) -> bool {
        self.0.borrow().is_now()
    }

    /// Waits until it comes or goes.
    pub(crate) async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            // Nobody is left who could change it.
            pending::<()>().await;
        }
    }
}

/// Tells of a term; that it is renewed is no news, but for one that had run out by itself.
fn tell(terms: &watch::Sender<Term>, term: Term) {
    terms.send_if_modified(|known| {
        let is_news = match term {
            Term::Over => *known != Term::Over,
            Term::Until(_) | Term::Unlimited => !known.is_now(),
        };
        *known = term;
        is_news
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_that_ran_out_by_itself_is_news_when_it_is_renewed() {
        let (terms, receiver) = watch::channel(Term::Over);
        let mut leadership = Leadership(receiver);
        tell(&terms, Term::Until(Instant::now()));
        leadership.0.borrow_and_update();
        tell(&terms, Term::Until(Instant::now() + LASTS));
        assert!(leadership.is_ours() && leadership.0.has_changed().unwrap());
        tell(&terms, Term::Until(Instant::now()));
        leadership.0.borrow_and_update();
        tell(&terms, Term::Over);
        assert!(leadership.0.has_changed().unwrap(), "somebody waits for it");
    }

    #[test]
    fn a_term_ends_by_itself_and_renewing_it_is_no_news() {
        let (terms, receiver) = watch::channel(Term::Over);
        let leadership = Leadership(receiver);
        assert!(!leadership.is_ours());
        tell(&terms, Term::Until(Instant::now() + LASTS));
        assert!(leadership.is_ours() && leadership.0.has_changed().unwrap());
        let mut again = leadership.0.clone();
        again.borrow_and_update();
        tell(&terms, Term::Until(Instant::now()));
        assert!(!again.has_changed().unwrap());
        assert!(!leadership.is_ours(), "it is over though nobody said so");
        assert!(Leadership::alone().is_ours());
    }
}
