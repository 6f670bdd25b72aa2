//! Single situations of a rollout.

use sluice_crds::v1alpha1::{ActiveMode, Mode, OnFailure, Rollout};
use sluice_operator::objects::Answer;

use crate::world::{Agent, GOOD, POLICY, World, spec};

fn quick() -> Rollout {
    Rollout {
        min_ready_seconds: 0,
        ..Rollout::default()
    }
}

#[test]
fn a_paused_policy_moves_nothing_and_says_so() {
    let mut world = World::settled(&[GOOD; 3], quick());
    let old = world.revisions();
    let paused = Rollout {
        paused: true,
        ..quick()
    };
    world.apply(POLICY, Ok(spec(1, Mode::IPTables, paused)));
    world.run(600);
    assert_eq!((world.revisions(), world.node_writes), (old, 0));
    assert_eq!(world.condition("Reconciling").1, "Paused");
    world.apply(POLICY, Ok(spec(1, Mode::IPTables, quick())));
    world.run(60);
    assert_eq!(world.condition("Ready").0, "True");
    assert_eq!(world.node_writes, 3);
}

#[test]
fn a_node_that_is_late_takes_the_revision_back() {
    let mut world = World::settled(&[GOOD; 4], quick());
    let old = world.revisions();
    world.agent("n01").runs = false;
    world.apply(POLICY, Ok(spec(1, Mode::IPTables, quick())));
    world.run(250);
    assert_eq!(world.revisions().len(), 2);
    world.run(100);
    world.agent("n01").runs = true;
    world.run(100);
    assert_eq!(world.revisions(), old);
    assert!(
        world.held.policies[POLICY]
            .status
            .rejected_revision
            .is_some()
    );
    let (stalled, _, message) = world.condition("Stalled");
    assert_eq!(stalled, "True");
    assert!(message.contains("n01"), "{message}");
}

#[test]
fn on_failure_pause_leaves_every_node_where_it_is() {
    let pause = Rollout {
        on_failure: OnFailure::Pause,
        ..quick()
    };
    let mut agents = [GOOD; 4];
    agents[2].can_run_ipvs = false;
    let mut world = World::settled(&agents, pause.clone());
    let old = world.revision_of("n00");
    world.apply(POLICY, Ok(spec(0, Mode::IPVS, pause)));
    world.run(600);
    let at = |node| world.revision_of(node) == old;
    assert_eq!(
        [at("n00"), at("n01"), at("n02"), at("n03")],
        [false, false, false, true]
    );
    assert_eq!(world.condition("Stalled").0, "True");
    assert_eq!(world.condition("Ready").0, "False");
}

#[test]
fn a_first_revision_that_fails_stays_because_there_is_nothing_to_go_back_to() {
    let mut world = World::new();
    world.add_node("n00", GOOD);
    world.add_node(
        "n01",
        Agent {
            can_run_ipvs: false,
            ..GOOD
        },
    );
    world.apply(POLICY, Ok(spec(0, Mode::IPVS, quick())));
    world.run(600);
    let status = &world.held.policies[POLICY].status;
    assert_eq!(
        (&status.current_revision, &status.rejected_revision),
        (&None, &None)
    );
    assert_eq!(world.condition("Stalled").0, "True");
    assert_eq!(world.revisions().len(), 1);
}

#[test]
fn a_dead_node_blocks_nobody_and_follows_when_it_is_back() {
    let mut world = World::settled(&[GOOD; 4], quick());
    world.node("n00").is_reachable = false;
    world.held.proxies.get_mut("n00").unwrap().answer = Answer::NotReady;
    world.apply(POLICY, Ok(spec(1, Mode::IPTables, quick())));
    world.run(100);
    let new = world.revision_of("n03");
    assert_eq!(
        [world.revision_of("n01"), world.revision_of("n02")],
        [new.clone(), new.clone()]
    );
    assert!(
        world.held.policies[POLICY]
            .status
            .rejected_revision
            .is_none()
    );
    let now = world.now;
    let node = world.node("n00");
    (node.is_reachable, node.reachable_since) = (true, Some(now));
    world.run(60);
    assert_eq!(world.revision_of("n00"), new);
    assert_eq!(world.condition("Ready").0, "True");
}

#[test]
fn a_node_that_joins_during_a_rollout_gets_the_last_good_revision_first() {
    let mut world = World::settled(&[GOOD; 3], quick());
    let old = world.revision_of("n00");
    world.apply(POLICY, Ok(spec(1, Mode::IPTables, quick())));
    world.run(2);
    world.add_node("n99", GOOD);
    world.operate(usize::MAX);
    assert_eq!(world.revision_of("n99"), old);
    world.run(100);
    assert_eq!(world.revisions().len(), 1);
    assert_ne!(world.revision_of("n99"), old);
    assert_eq!(world.condition("Ready").0, "True");
}

#[test]
fn a_node_that_joins_after_a_revision_was_rejected_gets_the_one_in_force() {
    let mut agents = [GOOD; 3];
    agents[0].can_run_ipvs = false;
    let mut world = World::settled(&agents, quick());
    let old = world.revision_of("n00");
    world.apply(POLICY, Ok(spec(0, Mode::IPVS, quick())));
    world.run(100);
    world.add_node("n99", GOOD);
    world.run(100);
    assert_eq!(world.revisions(), [old].into());
}

#[test]
fn a_change_away_from_a_rejected_revision_and_back_is_a_new_try() {
    let mut agents = [GOOD; 3];
    agents[1].can_run_ipvs = false;
    let mut world = World::settled(&agents, quick());
    world.apply(POLICY, Ok(spec(0, Mode::IPVS, quick())));
    world.run(100);
    let rejected = world.held.policies[POLICY].status.rejected_revision.clone();
    assert!(rejected.is_some());
    world.apply(POLICY, Ok(spec(0, Mode::IPTables, quick())));
    world.run(100);
    assert_eq!(world.held.policies[POLICY].status.rejected_revision, None);
    assert_eq!(world.condition("Ready").0, "True");
    world.agent("n01").can_run_ipvs = true;
    world.apply(POLICY, Ok(spec(0, Mode::IPVS, quick())));
    world.run(100);
    assert_eq!(world.condition("Ready").0, "True");
    assert_eq!(
        world.held.policies[POLICY].status.current_revision,
        rejected
    );
}

#[test]
fn a_policy_that_becomes_invalid_leaves_its_nodes_as_they_are() {
    let mut world = World::settled(&[GOOD; 3], quick());
    world.apply("other", Ok(spec(7, Mode::IPTables, quick())));
    world.run(20);
    world.node_writes = 0;
    world.apply(POLICY, Err("spec.mode: it cannot be read".to_owned()));
    world.run(400);
    assert_eq!(world.node_writes, 0);
    let (accepted, reason, _) = world.condition("Accepted");
    assert_eq!((accepted.as_str(), reason.as_str()), ("False", "Invalid"));
}

#[test]
fn without_a_policy_nodes_go_to_the_defaults_step_by_step() {
    let mut world = World::settled(&[GOOD; 4], quick());
    world.held.policies.clear();
    world.run(200);
    let policies: Vec<_> = world
        .held
        .proxies
        .values()
        .map(|proxy| proxy.told.clone().unwrap().policy)
        .collect();
    assert!(
        policies.iter().all(|policy| &**policy == "built-in"),
        "{policies:?}"
    );
    assert_eq!(world.most_unavailable, 1);
}

#[test]
fn a_change_by_hand_is_taken_back() {
    let mut world = World::settled(&[GOOD; 2], quick());
    let told = world.held.proxies["n00"].told.clone();
    let proxy = world.held.proxies.get_mut("n00").unwrap();
    proxy.told.as_mut().unwrap().mode = ActiveMode::IPVS;
    world.run(20);
    assert_eq!(world.held.proxies["n00"].told, told);
}

#[test]
fn what_was_not_ready_before_a_change_is_not_moved_all_at_once() {
    let mut world = World::settled(&[GOOD; 6], quick());
    world.run(400);
    for proxy in world.held.proxies.values_mut() {
        proxy.answer = Answer::NotReady;
    }
    for n in 0..6 {
        world.agent(&format!("n{n:02}")).runs = false;
    }
    world.apply(POLICY, Ok(spec(1, Mode::IPTables, quick())));
    world.operate(usize::MAX);
    assert!(
        world.node_writes <= 1,
        "{} nodes were given a revision that nobody has tried",
        world.node_writes
    );
}

#[test]
fn a_time_from_the_far_future_gives_a_node_its_time_and_no_more() {
    for written in ["9999-12-30T00:00:00Z", "1970-01-01T00:00:00Z"] {
        let mut world = World::settled(&[GOOD; 3], quick());
        let old = world.revisions();
        world.agent("n00").runs = false;
        world.apply(POLICY, Ok(spec(1, Mode::IPTables, quick())));
        world.run(2);
        world.held.proxies.get_mut("n00").unwrap().moved_at = Some(written.parse().unwrap());
        world.restart();
        let is_rejected = |world: &World| {
            world.held.policies[POLICY]
                .status
                .rejected_revision
                .is_some()
        };
        if written.starts_with('9') {
            world.run(250);
            assert!(!is_rejected(&world), "it has its time");
            world.run(100);
        } else {
            // A clock cannot be wrong by so much: the node has long had its time.
            world.run(2);
        }
        assert!(is_rejected(&world), "{written}");
        world.agent("n00").runs = true;
        world.run(100);
        assert_eq!(world.revisions(), old);
    }
}

#[test]
fn a_node_that_was_late_is_alone_on_its_way_back() {
    let mut agents = [GOOD; 4];
    agents[1].ipvs_takes = 100_000;
    agents[1].takes = 30;
    let mut world = World::settled(&agents, quick());
    let old = world.revisions();
    world.apply(POLICY, Ok(spec(0, Mode::IPVS, quick())));
    world.run(600);
    assert_eq!(world.revisions(), old);
    assert_eq!(world.most_unavailable, 1);
}
