//! What IPVS makes of a row's expectation.

use sluice_service_plan::plan::{FrontendAddress, Plan};

use super::row::{Expect, Row, Untouched};

/// IPVS makes an address with a frontend that is served the node's own: nothing of it is anybody else's business any more.
pub fn as_bound(row: &Row, plan: &Plan) -> Row {
    let mut row = row.clone();
    let to = FrontendAddress::Ip(row.packet.to.ip());
    let ports = plan.services.values().flat_map(|service| &service.ports);
    let mut frontends =
        ports.flat_map(|port| port.frontends.iter().map(move |frontend| (port, frontend)));
    let is_bound = frontends.any(|(port, frontend)| {
        let pools = [frontend.outside, frontend.inside];
        frontend.address == to && pools.iter().any(|pool| !port.pool(*pool).is_empty())
    });
    if is_bound
        && matches!(
            row.expect,
            Expect::NotOurs(Untouched::Routed) | Expect::Leaves(..)
        )
    {
        row.expect = Expect::NotOurs(Untouched::Refused);
    }
    row
}
