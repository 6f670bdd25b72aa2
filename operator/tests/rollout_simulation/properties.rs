//! What holds for every rollout.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sluice_crds::v1alpha1::{Mode, OnFailure, Rollout};

use crate::world::{Agent, GOOD, POLICY, World, spec};

fn agents(most: usize) -> impl Strategy<Value = Vec<Agent>> {
    let agent = (0..40i64).prop_map(|takes| Agent { takes, ..GOOD });
    prop::collection::vec(agent, 1..most)
}

fn rollout(max_unavailable: u32, min_ready_seconds: u32) -> Rollout {
    Rollout {
        max_unavailable,
        min_ready_seconds,
        ..Rollout::default()
    }
}

/// What happens at a moment of a rollout.
#[derive(Debug, Clone)]
enum Happening {
    Edit(u32),
    Restart,
    /// Another replica takes over, whose clock is so many seconds ahead.
    Moves(i64),
    /// The operator dies after so many of the nodes that it was about to write.
    Dies(usize),
}

/// Machines agree on the time but for some minutes: two of them differ by less than five.
fn skew() -> std::ops::Range<i64> {
    -140..140
}

/// What befalls the operator.
fn deaths() -> impl Strategy<Value = Vec<(u32, Happening)>> {
    let happening = prop_oneof![
        Just(Happening::Restart),
        skew().prop_map(Happening::Moves),
        (0..4usize).prop_map(Happening::Dies),
    ];
    prop::collection::vec((0..60u32, happening), 0..8)
}

/// And what people do meanwhile.
fn happenings() -> impl Strategy<Value = Vec<(u32, Happening)>> {
    let happening = prop_oneof![
        2 => (0..4u32).prop_map(Happening::Edit),
        1 => Just(Happening::Restart),
        1 => skew().prop_map(Happening::Moves),
        1 => (0..4usize).prop_map(Happening::Dies),
    ];
    prop::collection::vec((0..60u32, happening), 0..8)
}

/// A change of all nodes, and what happens in the course of it.
fn change(agents: &[Agent], rollout: &Rollout, happenings: Vec<(u32, Happening)>) -> World {
    let mut world = World::settled(agents, rollout.clone());
    let apply = |world: &mut World, number| {
        world.apply(POLICY, Ok(spec(number, Mode::IPTables, rollout.clone())));
    };
    apply(&mut world, 9);
    for (after, happening) in happenings {
        world.run(after);
        match happening {
            Happening::Edit(number) => apply(&mut world, number),
            other => happen(&mut world, &other),
        }
    }
    world.run(60 * 12);
    world
}

/// Nodes whose kubelets are not heard for a while: after how many seconds, which, for how long, and whether the operator dies meanwhile.
type Absences = Vec<(u32, prop::sample::Index, u32, bool)>;

fn absences(longest: u32) -> impl Strategy<Value = Absences> {
    let node = any::<prop::sample::Index>();
    prop::collection::vec((0..30u32, node, 1..longest, any::<bool>()), 1..10)
}

/// Nodes go as they are said to, also several at a time, and all come back.
fn vanish(world: &mut World, nodes: usize, absences: Absences) {
    let mut away: BTreeMap<String, u32> = BTreeMap::new();
    let mut absences = absences.into_iter().peekable();
    let mut left = absences.peek().map_or(0, |next| next.0);
    while absences.peek().is_some() || !away.is_empty() {
        away.retain(|node, seconds| {
            *seconds -= 1;
            if *seconds == 0 {
                world.hears_of(node, true);
            }
            *seconds > 0
        });
        if left > 0 {
            left -= 1;
        } else if let Some((_, node, lasts, restarts)) = absences.next() {
            let node = format!("n{:02}", node.index(nodes));
            world.hears_of(&node, false);
            away.entry(node).or_insert(lasts);
            if restarts {
                world.restart();
            }
            left = absences.peek().map_or(0, |next| next.0);
        }
        world.run(1);
    }
}

/// What befalls an operator, while nobody edits.
fn befall(world: &mut World, happenings: Vec<(u32, Happening)>) {
    for (after, happening) in happenings {
        world.run(after);
        happen(world, &happening);
    }
}

fn happen(world: &mut World, happening: &Happening) {
    match *happening {
        Happening::Edit(_) => {}
        Happening::Restart => world.restart(),
        Happening::Moves(skew) => world.restart_elsewhere(skew),
        Happening::Dies(nodes) => {
            world.operate(nodes);
            world.restart();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agents_that_follow_end_ready_and_never_more_are_unavailable_than_may_be(
        agents in agents(10),
        max in 1..4u32,
        min_ready in 0..15u32,
        deaths in deaths(),
    ) {
        let world = change(&agents, &rollout(max, min_ready), deaths);
        prop_assert_eq!(world.condition("Ready").0, "True");
        prop_assert_eq!(world.revisions().len(), 1);
        prop_assert!(world.most_unavailable <= max as usize, "{} at once", world.most_unavailable);
        prop_assert!(world.plan().is_empty(), "{:?}", world.plan());
    }

    #[test]
    fn agents_that_follow_end_ready_however_often_the_policy_changes_on_the_way(
        agents in agents(10),
        max in 1..4u32,
        min_ready in 0..15u32,
        happenings in happenings(),
    ) {
        let world = change(&agents, &rollout(max, min_ready), happenings);
        prop_assert_eq!(world.condition("Ready").0, "True");
        prop_assert_eq!(world.revisions().len(), 1);
        prop_assert!(world.plan().is_empty(), "{:?}", world.plan());
    }

    #[test]
    fn never_more_are_unavailable_than_may_be_however_often_the_policy_changes(
        agents in agents(10),
        max in 1..4u32,
        happenings in happenings(),
    ) {
        let world = change(&agents, &rollout(max, 5), happenings);
        prop_assert!(world.most_unavailable <= max as usize, "{} at once", world.most_unavailable);
    }

    #[test]
    fn a_revision_that_a_node_cannot_run_never_reaches_all_and_is_taken_back(
        agents in agents(10),
        cannot in any::<prop::sample::Index>(),
        max in 1..4u32,
        restarts_after in prop::option::of(0..100u32),
    ) {
        let rollout = rollout(max, 5);
        let mut agents = agents;
        // The last one may be moved while the others are: then it can be one of all that have it.
        let cannot = cannot.index(agents.len());
        agents[cannot].can_run_ipvs = false;
        let mut world = World::settled(&agents, rollout.clone());
        let old = world.revision_of("n00");
        world.apply(POLICY, Ok(spec(0, Mode::IPVS, rollout)));
        if let Some(after) = restarts_after {
            world.run(after);
            world.restart();
        }
        world.run(60 * 15);
        let status = world.held.policies[POLICY].status.clone();
        prop_assert_eq!(world.revisions(), [old.clone()].into());
        prop_assert_eq!(status.current_revision, Some(old));
        let rejected = status.rejected_revision.unwrap();
        let is_last = world.reached[&rejected] == agents.len();
        // Or others get ready, and make way for the rest, before it says anything.
        let is_slow = max > 1 && agents[cannot].takes >= 5;
        prop_assert!(is_slow || !is_last || agents.len() <= cannot + max as usize, "reached all before node {cannot} said no");
        let (stalled, _, message) = world.condition("Stalled");
        prop_assert_eq!(stalled, "True");
        let name = format!("n{cannot:02}");
        prop_assert!(message.contains(&name) && message.contains("no IPVS"), "{}", message);
        // Not tried again.
        let writes = world.node_writes;
        world.run(1000);
        prop_assert_eq!(world.node_writes, writes);
        prop_assert!(world.plan().is_empty());
    }

    #[test]
    fn never_more_are_unavailable_than_may_be_while_a_revision_that_some_are_late_with_is_taken_back(
        agents in agents(7),
        late in any::<prop::sample::Index>(),
        max in 1..3u32,
        min_ready in 0..15u32,
        deaths in deaths(),
    ) {
        let rollout = rollout(max, min_ready);
        // The first one is ready when another is late.
        let mut agents = [vec![GOOD], agents].concat();
        let late = 1 + late.index(agents.len() - 1);
        agents[late].ipvs_takes = 100_000;
        let mut world = World::settled(&agents, rollout.clone());
        let old = world.revisions();
        world.apply(POLICY, Ok(spec(0, Mode::IPVS, rollout)));
        befall(&mut world, deaths);
        world.run(60 * 30);
        prop_assert_eq!(world.revisions(), old);
        prop_assert_eq!(world.condition("Stalled").0, "True");
        prop_assert!(world.most_unavailable <= max as usize, "{} at once", world.most_unavailable);
        prop_assert!(world.plan().is_empty(), "{:?}", world.plan());
    }

    #[test]
    fn clocks_that_differ_by_minutes_make_no_node_late_that_is_not(
        takes in 20..40i64,
        max in 1..4u32,
        takeovers in prop::collection::vec((1..30u32, skew()), 1..8),
    ) {
        let rollout = Rollout { progress_deadline_seconds: 60, ..rollout(max, 5) };
        let agents = [Agent { takes, ..GOOD }; 5];
        let mut world = World::settled(&agents, rollout.clone());
        world.apply(POLICY, Ok(spec(9, Mode::IPTables, rollout)));
        for (after, skew) in takeovers {
            befall(&mut world, vec![(after, Happening::Moves(skew))]);
            prop_assert_eq!(world.held.policies[POLICY].status.rejected_revision.as_ref(), None);
        }
        world.run(60 * 12);
        prop_assert_eq!(world.held.policies[POLICY].status.rejected_revision.as_ref(), None);
        prop_assert_eq!(world.condition("Ready").0, "True");
    }

    #[test]
    fn moments_in_which_nodes_are_not_ready_take_nothing_back(
        agents in agents(10),
        max in 1..4u32,
        falls in prop::collection::vec((10..40u32, any::<prop::sample::Index>(), 1..5u32, any::<bool>()), 1..12),
    ) {
        let rollout = Rollout { progress_deadline_seconds: 60, ..rollout(max, 5) };
        let mut world = World::settled(&agents, rollout.clone());
        world.apply(POLICY, Ok(spec(9, Mode::IPTables, rollout)));
        for (after, node, lasts, restarts) in falls {
            world.run(after);
            let node = format!("n{:02}", node.index(agents.len()));
            world.falls(&node);
            if restarts {
                world.restart();
            }
            world.run(lasts);
            world.agent(&node).runs = true;
            prop_assert_eq!(world.rejected(), None);
        }
        world.run(60 * 12);
        prop_assert_eq!(world.rejected(), None);
        prop_assert_eq!(world.condition("Ready").0, "True");
        prop_assert_eq!(world.revisions().len(), 1);
    }

    #[test]
    fn nodes_that_vanish_and_come_back_in_time_take_nothing_back(
        agents in agents(8),
        max in 1..4u32,
        min_ready in 0..15u32,
        absences in absences(58),
    ) {
        let rollout = Rollout { progress_deadline_seconds: 60, ..rollout(max, min_ready) };
        let mut world = World::settled(&agents, rollout.clone());
        world.apply(POLICY, Ok(spec(9, Mode::IPTables, rollout)));
        vanish(&mut world, agents.len(), absences);
        prop_assert_eq!(world.rejected(), None);
        world.run(60 * 12);
        prop_assert_eq!(world.rejected(), None);
        prop_assert_eq!(world.condition("Ready").0, "True");
        prop_assert_eq!(world.revisions().len(), 1);
        prop_assert!(world.plan().is_empty(), "{:?}", world.plan());
    }

    #[test]
    fn a_pool_is_settled_when_nodes_are_back_however_long_they_were_gone(
        agents in agents(5),
        max in 1..4u32,
        absences in absences(120),
        pauses in any::<bool>(),
    ) {
        let rollout = Rollout {
            progress_deadline_seconds: 60,
            on_failure: if pauses { OnFailure::Pause } else { OnFailure::Rollback },
            ..rollout(max, 5)
        };
        let mut world = World::settled(&agents, rollout.clone());
        world.apply(POLICY, Ok(spec(9, Mode::IPTables, rollout.clone())));
        vanish(&mut world, agents.len(), absences);
        world.run(60 * 6);
        prop_assert_eq!(world.revisions().len(), 1);
        prop_assert!(world.plan().is_empty(), "{:?}", world.plan());
        let is_rejected = world.rejected().is_some();
        prop_assert!(!(is_rejected && pauses));
        prop_assert_eq!(world.condition("Ready").0 == "True", !is_rejected);
        // Whoever tries it again succeeds.
        world.apply(POLICY, Ok(spec(9, Mode::IPTables, rollout)));
        world.run(60 * 6);
        prop_assert_eq!(world.condition("Ready").0, "True");
        prop_assert_eq!(world.rejected(), None);
    }

    #[test]
    fn auto_does_not_flap_while_the_number_of_services_is_inside_the_band(
        counts in prop::collection::vec(800..=1000usize, 1..20),
        starts_above in any::<bool>(),
    ) {
        let rollout = rollout(3, 0);
        let mut world = World::new();
        for n in 0..3 {
            world.add_node(&format!("n{n}"), GOOD);
        }
        world.held.services = if starts_above { 1500 } else { 100 };
        world.apply(POLICY, Ok(spec(0, Mode::Auto, rollout)));
        world.run(60);
        let writes = world.node_writes;
        for count in counts {
            world.held.services = count;
            world.run(3);
        }
        prop_assert_eq!(world.node_writes, writes);
    }
}
