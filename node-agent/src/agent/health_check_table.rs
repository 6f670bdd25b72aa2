//! Which health-check servers a plan wants.

use sluice_service_plan::plan::{Plan, PlanChange};

use crate::health::HealthCheckTable;

/// Makes the table that of a whole plan; true when it differs.
pub(super) fn replace(table: &mut HealthCheckTable, plan: &Plan) -> bool {
    let wanted: HealthCheckTable = plan
        .services
        .values()
        .filter_map(|service| Some((service.name.clone(), service.health_check?)))
        .collect();
    let differs = *table != wanted;
    *table = wanted;
    differs
}

/// Makes the table follow a change; true when it differs.
pub(super) fn follow(table: &mut HealthCheckTable, change: &PlanChange) -> bool {
    let mut differs = false;
    for service in &change.services {
        let check = service.after.as_ref().and_then(|plan| plan.health_check);
        differs |= match check {
            Some(check) => table.insert(service.name.clone(), check) != Some(check),
            None => table.remove(&service.name).is_some(),
        };
    }
    differs
}
