//! What the suite is run against.

use sluice_kernel::ipvs::{
    Ipvs, IpvsError, IpvsNetlink, ListedDestination, ListedService, MemoryIpvs, SCHEDULERS,
    scheduler_modules,
};
use sluice_kernel::modules::{ModprobeModules, ModuleState, Modules};

use super::namespace::in_new_namespace;
use super::program;

pub(crate) type Listing = Vec<(ListedService, Vec<ListedDestination>)>;

/// An implementation.
pub(crate) trait Subject {
    fn ipvs(&mut self) -> &mut dyn Ipvs;
    /// The schedulers that it has.
    fn schedulers(&self) -> Vec<&'static str>;
    /// Lists all, sorted, and compared with another witness if there is one.
    fn witnessed(&mut self) -> Listing;
}

impl Subject for MemoryIpvs {
    fn ipvs(&mut self) -> &mut dyn Ipvs {
        self
    }

    fn schedulers(&self) -> Vec<&'static str> {
        SCHEDULERS.to_vec()
    }

    fn witnessed(&mut self) -> Listing {
        sorted(self.list().unwrap())
    }
}

impl Subject for IpvsNetlink {
    fn ipvs(&mut self) -> &mut dyn Ipvs {
        self
    }

    fn schedulers(&self) -> Vec<&'static str> {
        let found = scheduler_modules(&mut ModprobeModules::new()).unwrap();
        let there = found
            .into_iter()
            .filter(|(_, state)| *state != ModuleState::Missing);
        there.map(|(name, _)| name).collect()
    }

    fn witnessed(&mut self) -> Listing {
        let listing = sorted(self.list().unwrap());
        program::assert_agrees(&listing);
        listing
    }
}

fn sorted(mut listing: Listing) -> Listing {
    for (_, destinations) in &mut listing {
        destinations.sort_by_key(|listed| listed.destination);
    }
    listing.sort_by(|(one, _), (other, _)| one.service.cmp(&other.service));
    listing
}

/// Runs `test` in a network namespace of its own; it is skipped where the kernel has no IPVS. That is a failure where
/// `SLUICE_REQUIRE_IPVS` is 1.
pub(crate) fn in_kernel(test: impl FnOnce(&mut IpvsNetlink) + Send) {
    let loaded = ModprobeModules::new().load("ip_vs", &[]);
    in_new_namespace(|| match IpvsNetlink::open() {
        Ok(mut ipvs) => test(&mut ipvs),
        Err(IpvsError::Absent) => {
            let required = std::env::var_os("SLUICE_REQUIRE_IPVS").is_some_and(|v| v == "1");
            assert!(!required, "no IPVS: {loaded:?}");
            eprintln!("SKIP: the kernel has no IPVS");
        }
        Err(error) => panic!("{error}"),
    });
}
