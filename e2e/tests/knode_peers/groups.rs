//! The order of the run: what takes a restart of the proxies as seldom as possible, then what takes a change at the API server.

use sluice_e2e::packets::Row;
use sluice_e2e::packets::row::Scene;

/// Rows of one scene.
pub(crate) struct Step<'a> {
    pub(crate) scene: &'a Scene,
    pub(crate) rows: Vec<&'a Row>,
}

/// Steps with the same settings, on the same node.
pub(crate) type Group<'a> = Vec<Step<'a>>;

/// Rows keep their order within a group.
pub(crate) fn groups<'a>(rows: impl Iterator<Item = &'a Row>) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for row in rows {
        let its_own = |group: &&mut Group<'_>| {
            let scene = group[0].scene;
            scene.settings == row.scene.settings && scene.node == row.scene.node
        };
        let group = if let Some(group) = groups.iter_mut().find(its_own) {
            group
        } else {
            groups.push(Group::new());
            groups.last_mut().unwrap()
        };
        let same = |step: &&mut Step<'_>| holds_the_same(step.scene, &row.scene);
        if let Some(step) = group.iter_mut().find(same) {
            step.rows.push(row);
        } else {
            let (scene, rows) = (&row.scene, vec![row]);
            group.push(Step { scene, rows });
        }
    }
    groups
}

fn holds_the_same(one: &Scene, other: &Scene) -> bool {
    one.services == other.services
        && one.slices == other.slices
        && one.surroundings == other.surroundings
}
