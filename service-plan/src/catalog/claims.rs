//! Who holds an address and port that several services ask for: the older service, then the lower name.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use crate::model::{Family, ObjectName, Protocol};
use crate::plan::FrontendAddress;

/// Something that only one service of the node can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Claim {
    /// An address and port. Node ports of the two families are two claims.
    Frontend {
        family: Family,
        address: FrontendAddress,
        port: u16,
        protocol: Protocol,
    },
    /// A TCP port for a health-check server.
    HealthCheck(u16),
}

/// A service that claims; ordered by precedence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claimant {
    /// Creation time of the service, seconds since the epoch.
    pub(super) created: i64,
    /// The service.
    pub(super) service: ObjectName,
}

/// All that one service claims.
#[derive(Debug)]
pub(super) struct Request {
    claimant: Claimant,
    claims: BTreeSet<Claim>,
}

impl Request {
    pub(super) fn new(claimant: Claimant, claims: impl Iterator<Item = Claim>) -> Self {
        Self {
            claimant,
            claims: claims.collect(),
        }
    }

    /// The claims that are not the same claimant's in the other request.
    fn beyond<'a>(&'a self, other: Option<&'a Self>) -> impl Iterator<Item = Claim> + 'a {
        let same = other.filter(|other| other.claimant == self.claimant);
        self.claims
            .iter()
            .copied()
            .filter(move |claim| same.is_none_or(|same| !same.claims.contains(claim)))
    }
}

/// All claims of all services.
#[derive(Debug, Default)]
pub(super) struct Claims {
    holders: HashMap<Claim, Claimant>,
    /// Apart from the holders because conflicts are rare.
    waiting: HashMap<Claim, BTreeSet<Claimant>>,
}

impl Claims {
    /// The service that has it.
    pub(super) fn holder(&self, claim: &Claim) -> Option<&ObjectName> {
        self.holders.get(claim).map(|holder| &holder.service)
    }

    /// Moves one service's claims from what it asked for to what it asks for now. Other services for which a holder is
    /// now another one are added to `affected`.
    pub(super) fn replace(
        &mut self,
        former: Option<&Request>,
        current: Option<&Request>,
        affected: &mut BTreeSet<ObjectName>,
    ) {
        if let Some(former) = former {
            for claim in former.beyond(current) {
                self.withdraw(claim, &former.claimant, affected);
            }
        }
        if let Some(current) = current {
            for claim in current.beyond(former) {
                self.enter(claim, &current.claimant, affected);
            }
        }
    }

    fn enter(&mut self, claim: Claim, claimant: &Claimant, affected: &mut BTreeSet<ObjectName>) {
        let mut holder = match self.holders.entry(claim) {
            Entry::Vacant(free) => {
                free.insert(claimant.clone());
                return;
            }
            Entry::Occupied(holder) => holder,
        };
        let waiting = self.waiting.entry(claim).or_default();
        if claimant < holder.get() {
            let loser = holder.insert(claimant.clone());
            waiting.insert(loser);
            affected.extend(waiting.iter().map(|other| other.service.clone()));
        } else {
            waiting.insert(claimant.clone());
        }
    }

    fn withdraw(&mut self, claim: Claim, claimant: &Claimant, affected: &mut BTreeSet<ObjectName>) {
        let waiting = self.waiting.get_mut(&claim);
        if self.holders.get(&claim) == Some(claimant) {
            if let Some(waiting) = waiting
                && let Some(heir) = waiting.pop_first()
            {
                affected.insert(heir.service.clone());
                affected.extend(waiting.iter().map(|other| other.service.clone()));
                self.holders.insert(claim, heir);
            } else {
                self.holders.remove(&claim);
            }
        } else if let Some(waiting) = waiting {
            waiting.remove(claimant);
        }
        if self.waiting.get(&claim).is_some_and(BTreeSet::is_empty) {
            self.waiting.remove(&claim);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: Claim = Claim::HealthCheck(30_000);

    fn claimant(created: i64, name: &str) -> Claimant {
        Claimant {
            created,
            service: ObjectName::new("ns", name),
        }
    }

    fn names(affected: &BTreeSet<ObjectName>) -> Vec<&str> {
        affected.iter().map(|name| &*name.name).collect()
    }

    #[test]
    fn the_older_service_wins_then_the_lower_name() {
        let (young, old, twin) = (claimant(9, "a"), claimant(1, "z"), claimant(1, "y"));
        let mut claims = Claims::default();
        for (entering, affected_want, holder_want) in [
            (&young, vec![], "a"),
            (&old, vec!["a"], "z"),
            (&twin, vec!["a", "z"], "y"),
        ] {
            let mut affected = BTreeSet::new();
            claims.enter(PORT, entering, &mut affected);
            assert_eq!(names(&affected), affected_want);
            assert_eq!(&*claims.holder(&PORT).unwrap().name, holder_want);
        }
    }

    #[test]
    fn the_loser_inherits_and_nothing_is_left_when_all_are_gone() {
        let (first, second, third) = (claimant(1, "a"), claimant(2, "b"), claimant(3, "c"));
        let mut claims = Claims::default();
        let mut affected = BTreeSet::new();
        for one in [&second, &third, &first] {
            claims.enter(PORT, one, &mut affected);
        }
        for (leaving, affected_want, holder_want) in [
            (&first, vec!["b", "c"], Some("b")),
            (&third, vec![], Some("b")),
            (&second, vec![], None),
        ] {
            affected.clear();
            claims.withdraw(PORT, leaving, &mut affected);
            assert_eq!(names(&affected), affected_want);
            assert_eq!(claims.holder(&PORT).map(|name| &*name.name), holder_want);
        }
        assert!(claims.holders.is_empty() && claims.waiting.is_empty());
    }
}
