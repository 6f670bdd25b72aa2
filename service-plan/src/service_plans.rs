//! Plans of services by name, at a pointer each: data planes keep copies of the whole.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::ObjectName;
use crate::plan::ServicePlan;

/// Plans of services, in the order of their names.
#[derive(Debug, Clone, Default)]
pub struct ServicePlans(BTreeSet<ByName>);

#[derive(Debug, Clone)]
struct ByName(Arc<ServicePlan>);

impl ServicePlans {
    /// None.
    pub const fn new() -> Self {
        Self(BTreeSet::new())
    }

    /// The plan of a service.
    pub fn get(&self, name: &ObjectName) -> Option<&Arc<ServicePlan>> {
        self.0.get(name).map(|by_name| &by_name.0)
    }

    /// Puts a plan in place of the one of the same service. Returns that.
    pub fn insert(&mut self, plan: Arc<ServicePlan>) -> Option<Arc<ServicePlan>> {
        self.0.replace(ByName(plan)).map(|by_name| by_name.0)
    }

    /// Takes the plan of a service out.
    pub fn remove(&mut self, name: &ObjectName) -> Option<Arc<ServicePlan>> {
        self.0.take(name).map(|by_name| by_name.0)
    }

    /// All of them.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &Arc<ServicePlan>> + Clone {
        self.0.iter().map(|by_name| &by_name.0)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl PartialEq for ServicePlans {
    fn eq(&self, other: &Self) -> bool {
        self.values().eq(other.values())
    }
}

impl Eq for ServicePlans {}

impl Borrow<ObjectName> for ByName {
    fn borrow(&self) -> &ObjectName {
        &self.0.name
    }
}

impl Ord for ByName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.name.cmp(&other.0.name)
    }
}

impl PartialEq for ByName {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for ByName {}

impl PartialOrd for ByName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
