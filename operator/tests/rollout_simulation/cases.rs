//! Single situations of a rollout.

use sluice_crds::v1alpha1::{ActiveMode, Mode, OnFailure, Rollout};
use sluice_operator::objects::{Answer, Told};

use crate::world::{ABSENT, Agent, GOOD, POLICY, World, spec};

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
fn a_policy_that_is_paused_when_its_revision_fails_says_that_nodes_wait() {
    let mut world = World::settled(&[GOOD; 4], quick());
    let old = world.revisions();
    world.agent("n00").runs = false;
    world.apply(POLICY, Ok(spec(1, Mode::IPTables, quick())));
    world.run(5);
    let paused = Rollout {
        paused: true,
        ..quick()
    };
    world.apply(POLICY, Ok(spec(1, Mode::IPTables, paused)));
    world.run(400);
    assert!(world.rejected().is_some());
    let (status, reason, _) = world.condition("Reconciling");
    assert_eq!((&*status, &*reason), ("False", "Paused"));
    let waits = "; nodes wait, because of spec.rollout.paused";
    let message = world.condition("Stalled").2;
    assert!(
        message.contains("n00") && message.ends_with(waits),
        "{message}"
    );
    world.apply(POLICY, Ok(spec(1, Mode::IPTables, quick())));
    world.run(5);
    assert!(!world.condition("Stalled").2.contains("paused"));
    world.agent("n00").runs = true;
    world.run(100);
    assert_eq!(world.revisions(), old);
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
fn a_time_without_an_api_server_makes_no_node_late() {
    let mut world = World::settled(&[GOOD; 4], quick());
    world.agent("n01").takes = 450;
    world.apply(POLICY, Ok(spec(1, Mode::IPTables, quick())));
    world.run(5);
    world.is_cut_off(400);
    world.run(100);
    assert_eq!(world.rejected(), None);
    assert_eq!(world.condition("Ready").0, "True");
    // One that stays away after it is late all the same.
    world.agent("n01").takes = 100_000;
    world.apply(POLICY, Ok(spec(2, Mode::IPTables, quick())));
    world.run(5);
    world.is_cut_off(400);
    world.run(250);
    assert_eq!(world.rejected(), None);
    world.run(100);
    assert!(world.rejected().is_some());
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
    (node.is_reachable, node.so_since) = (true, Some(now));
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
fn an_edit_of_the_rollout_alone_is_a_new_try_and_another_operator_is_none() {
    let mut world = World::settled(&[GOOD; 4], quick());
    let old = world.revisions();
    let late =
        |world: &mut World, is_late| world.agent("n01").takes = if is_late { 400 } else { 3 };
    late(&mut world, true);
    world.apply(POLICY, Ok(spec(1, Mode::IPTables, quick())));
    world.run(800);
    let rejected = world.rejected().cloned();
    assert!(rejected.is_some());
    assert_eq!(world.revisions(), old);

    world.node_writes = 0;
    world.restart();
    world.run(500);
    assert_eq!(
        (world.node_writes, world.rejected()),
        (0, rejected.as_ref())
    );

    let longer = Rollout {
        progress_deadline_seconds: 350,
        ..quick()
    };
    world.events.clear();
    world.apply(POLICY, Ok(spec(1, Mode::IPTables, longer)));
    world.run(1);
    assert_eq!(world.rejected(), None);
    world.run(800);
    assert_eq!(world.rejected(), rejected.as_ref(), "it failed again");
    assert_eq!(world.revisions(), old);
    assert_eq!(world.events, ["RolloutStarted", "RolloutFailed"]);

    let long = Rollout {
        progress_deadline_seconds: 600,
        ..quick()
    };
    world.apply(POLICY, Ok(spec(1, Mode::IPTables, long)));
    world.run(800);
    assert_eq!(world.rejected(), None);
    assert_eq!(world.condition("Ready").0, "True");
    assert_eq!(
        world.held.policies[POLICY].status.current_revision,
        rejected
    );
}

#[test]
fn an_edit_while_nodes_go_back_is_a_new_try_too() {
    let mut agents = [GOOD; 6];
    agents[4].ipvs_takes = 200;
    let short = Rollout {
        progress_deadline_seconds: 60,
        ..quick()
    };
    let mut world = World::settled(&agents, short.clone());
    world.apply(POLICY, Ok(spec(0, Mode::IPVS, short)));
    while world.rejected().is_none() {
        world.run(1);
    }
    world.apply(POLICY, Ok(spec(0, Mode::IPVS, quick())));
    world.run(300);
    assert_eq!(world.rejected(), None);
    assert_eq!(world.condition("Ready").0, "True");
    assert_eq!(world.most_unavailable, 1);
}

#[test]
fn an_edit_after_which_a_revision_fails_at_once_is_answered() {
    let mut agents = [GOOD; 3];
    agents[2].can_run_ipvs = false;
    let mut world = World::settled(&agents, quick());
    world.apply(POLICY, Ok(spec(0, Mode::IPVS, quick())));
    // The operator dies before it tells the node that cannot run it.
    while world.rejected().is_none() {
        world.run(1);
        world.operate(0);
    }
    world.events.clear();
    let edited = Rollout {
        progress_deadline_seconds: 600,
        ..quick()
    };
    world.apply(POLICY, Ok(spec(0, Mode::IPVS, edited)));
    world.run(100);
    assert!(world.rejected().is_some());
    assert_eq!(world.events, ["RolloutFailed"]);
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

#[test]
fn nodes_that_cannot_be_reached_are_not_given_what_nobody_has_proved() {
    let mut world = World::settled(&[GOOD; 6], quick());
    let old = world.revision_of("n05");
    let away = ["n02", "n03", "n04", "n05"];
    for name in away {
        world.node(name).is_reachable = false;
    }
    world.apply(POLICY, Ok(spec(1, Mode::IPTables, quick())));
    world.operate(usize::MAX);
    assert_eq!(world.node_writes, 1);
    world.run(100);
    // Those that can be reached have it by now, and of the others no more than may be out at a time.
    assert_ne!(world.revision_of("n01"), old);
    let told = |world: &World| {
        let is_told = |name: &&str| world.revision_of(name) != old;
        away.iter().filter(|name| is_told(name)).count()
    };
    assert_eq!(told(&world), 1);
    assert_eq!(world.condition("Ready").0, "True");
    let now = world.now;
    for name in away {
        let node = world.node(name);
        (node.is_reachable, node.so_since) = (true, Some(now));
    }
    world.run(100);
    assert_eq!(told(&world), away.len());
    assert_eq!(world.most_unavailable, 1);
    assert_eq!(world.condition("Ready").0, "True");
}

#[test]
fn nodes_that_cannot_be_reached_go_back_at_once_only_where_they_were_not_ready() {
    let two = Rollout {
        max_unavailable: 2,
        ..quick()
    };
    let mut agents = [GOOD; 6];
    agents[3].ipvs_takes = 100_000;
    agents[4].can_run_ipvs = false;
    let mut world = World::settled(&agents, two.clone());
    let old = world.revision_of("n00");
    world.apply(POLICY, Ok(spec(0, Mode::IPVS, two)));
    world.run(5);
    for name in ["n00", "n01", "n03"] {
        assert_ne!(world.revision_of(name), old);
        world.node(name).is_reachable = false;
    }
    while world.rejected().is_none() {
        world.run(1);
    }
    assert_eq!(world.revision_of("n03"), old);
    let still_serve = |world: &World| {
        let has_new = |name: &&str| world.revision_of(name) != old;
        ["n00", "n01"].iter().filter(|name| has_new(name)).count()
    };
    assert_eq!(still_serve(&world), 2);
    world.run(100);
    assert_eq!(still_serve(&world), 1);
    let now = world.now;
    for name in ["n00", "n01", "n03"] {
        let node = world.node(name);
        (node.is_reachable, node.so_since) = (true, Some(now));
    }
    world.run(100);
    assert_eq!(world.revisions(), [old].into());
    assert_eq!(world.condition("Reconciling").1, "Settled");
}

#[test]
fn where_no_node_can_be_reached_a_change_comes_to_those_whose_agents_answer() {
    // As where a cluster is made, and kubelets wait for a network that waits for services.
    let mut world = World::settled(&[GOOD; 3], quick());
    for name in ["n00", "n01", "n02"] {
        world.node(name).is_reachable = false;
    }
    world.apply(POLICY, Ok(spec(1, Mode::IPTables, quick())));
    world.agents_are_reached = true;
    world.run(60);
    assert_eq!(world.revisions().len(), 1);
    assert_eq!(world.node_writes, 3);
    assert_eq!(world.most_unavailable, 1);
}

/// A pool whose policy `SECOND` is settled on the first node when it is about to count for all.
fn two_policies(rollout: &Rollout) -> World {
    let mut world = World::settled(&[GOOD; 6], rollout.clone());
    world
        .node("n00")
        .labels
        .insert("canary".to_owned(), "yes".to_owned());
    let mut second = spec(7, Mode::IPTables, rollout.clone());
    second.priority = 1;
    second.node_selector.match_labels = [("canary".to_owned(), "yes".to_owned())].into();
    world.apply(SECOND, Ok(second.clone()));
    world.run(60);
    assert_eq!(world.condition_of(SECOND, "Ready").0, "True");
    second.node_selector.match_labels.clear();
    world.apply(SECOND, Ok(second));
    world.most_unavailable = 0;
    world
}

const SECOND: &str = "second";

fn of_policy(world: &World, policy: &str) -> usize {
    let told = world.held.proxies.values();
    let told = told.filter_map(|proxy| proxy.told.as_ref());
    told.filter(|told| &*told.policy == policy).count()
}

#[test]
fn nodes_that_change_policy_go_no_further_than_the_first_that_fails() {
    let mut world = two_policies(&quick());
    for n in 2..6 {
        world.agent(&format!("n{n:02}")).runs = false;
    }
    world.run(1500);
    world.restart();
    world.run(1500);
    assert_eq!(of_policy(&world, SECOND), 3);
    assert_eq!(world.most_unavailable, 1);
    let (stalled, _, message) = world.condition_of(SECOND, "Stalled");
    assert_eq!(stalled, "True");
    assert!(message.contains("n02"), "{message}");
    let reconciling = world.condition_of(SECOND, "Reconciling");
    assert_eq!(reconciling.1, "Settled");

    for n in 2..6 {
        world.agent(&format!("n{n:02}")).runs = true;
    }
    world.run(100);
    assert_eq!(of_policy(&world, SECOND), 6);
    assert_eq!(world.condition_of(SECOND, "Ready").0, "True");
    assert_eq!(world.condition_of(SECOND, "Stalled").0, "False");
    assert_eq!(world.most_unavailable, 1);
}

#[test]
fn a_node_that_says_from_the_first_that_it_is_not_ready_stops_others_whichever_operator_leads() {
    let mut world = two_policies(&quick());
    world.run(5);
    world.falls("n02");
    for n in 3..6 {
        world.agent(&format!("n{n:02}")).runs = false;
    }
    for _ in 0..4 {
        world.run(400);
        world.restart();
    }
    assert_eq!(of_policy(&world, SECOND), 3);
    assert!(world.condition_of(SECOND, "Stalled").2.contains("n02"));
}

#[test]
fn a_node_that_was_good_for_long_blocks_nobody_though_no_operator_saw_that() {
    let mut world = two_policies(&quick());
    world.apply(SECOND, Err("it is being edited".to_owned()));
    world.run(700);
    world.falls("n00");
    world.restart();
    world.run(700);
    world.restart();
    let mut second = spec(7, Mode::IPTables, quick());
    second.priority = 1;
    world.apply(SECOND, Ok(second));
    world.run(100);
    assert_eq!(of_policy(&world, SECOND), 6);
}

#[test]
fn a_node_that_fails_and_leaves_blocks_nobody() {
    let mut world = two_policies(&quick());
    world.agent("n02").runs = false;
    world.run(600);
    assert_eq!(of_policy(&world, SECOND), 3);
    world.held.nodes.remove("n02");
    world.run(100);
    assert_eq!(of_policy(&world, SECOND), 5);
    assert_eq!(world.condition_of(SECOND, "Ready").0, "True");
}

#[test]
fn nodes_of_a_policy_that_is_deleted_go_no_further_than_the_first_that_fails() {
    let mut world = World::settled(&[GOOD; 6], quick());
    for n in 2..6 {
        world.agent(&format!("n{n:02}")).runs = false;
    }
    world.held.policies.clear();
    world.run(1000);
    assert_eq!(of_policy(&world, "built-in"), 3);
    assert_eq!(world.most_unavailable, 1);
}

#[test]
fn nodes_whose_mode_changes_with_the_cluster_go_no_further_than_the_first_that_fails() {
    let mut world = World::settled(&[GOOD; 6], quick());
    world.apply(POLICY, Ok(spec(0, Mode::Auto, quick())));
    world.run(60);
    assert_eq!(world.condition("Ready").0, "True");
    for n in 1..6 {
        world.agent(&format!("n{n:02}")).ipvs_takes = 100_000;
    }
    world.most_unavailable = 0;
    world.events.clear();
    world.held.services = 5000;
    let mut reconciling = || {
        world.run(1);
        world.condition("Reconciling")
    };
    let why = "nodes change to IPVS: there are more than 1000 services (auto.ipvsAboveServices)";
    let by_auto = |message: String| ("True".to_owned(), "ModeByAuto".to_owned(), message);
    assert_eq!(reconciling(), by_auto(format!("6 {why}")));
    let going = by_auto(format!("on their way: n00; 5 {why}"));
    assert_eq!(reconciling(), going);
    world.run(1000);
    assert_eq!(world.events, ["ModeByAuto", "RolloutStalled"]);
    let has_ipvs = |told: &Told| told.mode == ActiveMode::IPVS;
    let told = world.held.proxies.values();
    let told = told.filter_map(|proxy| proxy.told.as_ref());
    assert_eq!(told.filter(|told| has_ipvs(told)).count(), 2);
    assert_eq!(world.most_unavailable, 1);
    assert!(world.condition("Stalled").2.contains("n01"));
}

#[test]
fn nodes_that_go_back_to_auto_have_the_data_plane_that_they_had_with_it() {
    let told_ipvs = |world: &World| {
        let told = world.held.proxies.values();
        let told = told.filter_map(|proxy| proxy.told.as_ref());
        told.filter(|told| told.mode == ActiveMode::IPVS).count()
    };
    // The second edit comes when nodes are on their way to the first, or to what they had.
    for (edits, then) in [
        (&[Mode::IPVS][..], 0),
        (&[Mode::IPVS; 2], 1),
        (&[Mode::IPVS, Mode::Auto], 0),
    ] {
        let mut world = World::settled(&[GOOD; 4], quick());
        world.held.services = 900;
        world.apply(POLICY, Ok(spec(0, Mode::Auto, quick())));
        world.run(60);
        assert_eq!(told_ipvs(&world), 0);
        world.agent("n01").ipvs_takes = 100_000;
        let mut number = 0;
        for mode in edits {
            world.apply(POLICY, Ok(spec(number, *mode, quick())));
            world.run(20);
            assert!(told_ipvs(&world) > 0 || *mode == Mode::Auto);
            number += then;
        }
        world.run(1000);
        assert_eq!(told_ipvs(&world), 0, "{edits:?}");
    }
    // What Auto had chosen by the number of services it keeps too.
    let mut world = World::settled(&[GOOD; 4], quick());
    world.held.services = 5000;
    world.apply(POLICY, Ok(spec(0, Mode::Auto, quick())));
    world.run(60);
    world.held.services = 900;
    world.agent("n01").takes = 400;
    world.apply(POLICY, Ok(spec(0, Mode::IPTables, quick())));
    world.run(1000);
    assert_eq!(told_ipvs(&world), 4);
}

#[test]
fn a_node_that_was_good_and_breaks_later_blocks_no_node_that_changes_policy() {
    let mut world = two_policies(&quick());
    world.falls("n00");
    world.run(1000);
    assert_eq!(of_policy(&world, SECOND), 6);
    let ready = world.held.policies[SECOND].status.ready_nodes;
    assert_eq!(ready, Some(5));
}

#[test]
fn whoever_stops_a_pool_is_named_before_those_that_broke_long_ago() {
    let mut world = two_policies(&quick());
    world.run(5);
    for name in ["n00", "n01"] {
        world.falls(name);
    }
    world.agent("n02").runs = false;
    world.run(1000);
    let (_, _, message) = world.condition_of(SECOND, "Stalled");
    assert!(message.starts_with("node n02"), "{message}");
}

#[test]
fn a_node_that_joined_and_was_never_good_blocks_no_node_that_changes_policy() {
    let mut world = two_policies(&quick());
    world.add_node("n99", GOOD);
    world.operate(usize::MAX);
    world.falls("n99");
    world.run(1000);
    assert_eq!(of_policy(&world, SECOND), 7);
}

#[test]
fn a_moment_in_which_a_node_that_proved_itself_is_not_ready_takes_nothing_back() {
    let rollout = Rollout {
        progress_deadline_seconds: 60,
        ..quick()
    };
    for restarts in [false, true] {
        let mut world = World::settled(&[GOOD; 40], rollout.clone());
        world.apply(POLICY, Ok(spec(1, Mode::IPTables, rollout.clone())));
        world.run(120);
        world.falls("n00");
        if restarts {
            world.restart();
        }
        world.run(3);
        assert_eq!(world.condition("Stalled").0, "False");
        world.agent("n00").runs = true;
        world.run(200);
        assert_eq!(world.rejected(), None);
        assert_eq!(world.revisions().len(), 1);
        assert_eq!(world.condition("Ready").0, "True");
    }
}

#[test]
fn a_node_that_proved_itself_may_fall_twice_in_a_row() {
    let rollout = Rollout {
        progress_deadline_seconds: 60,
        ..Rollout::default()
    };
    let mut world = World::settled(&[GOOD; 40], rollout.clone());
    world.apply(POLICY, Ok(spec(1, Mode::IPTables, rollout)));
    world.run(120);
    for _ in 0..2 {
        world.falls("n00");
        world.run(3);
        world.agent("n00").runs = true;
        world.run(4);
    }
    world.falls("n00");
    world.run(50);
    assert_eq!(world.rejected(), None);
    world.run(20);
    assert!(world.rejected().is_some(), "it stays broken");
}

#[test]
fn a_node_that_proved_itself_fell_and_vanishes_takes_nothing_back() {
    let mut world = World::settled(&[GOOD; 40], Rollout::default());
    world.apply(POLICY, Ok(spec(1, Mode::IPTables, Rollout::default())));
    world.run(120);
    world.falls("n00");
    world.run(3);
    world.agent("n00").runs = true;
    world.run(4);
    world.hears_of("n00", false);
    world.run(2000);
    assert_eq!(world.rejected(), None);
}

#[test]
fn a_node_that_proved_itself_and_stays_broken_takes_the_revision_back() {
    let rollout = Rollout {
        progress_deadline_seconds: 60,
        ..quick()
    };
    let mut world = World::settled(&[GOOD; 40], rollout.clone());
    world.apply(POLICY, Ok(spec(1, Mode::IPTables, rollout)));
    world.run(100);
    world.falls("n00");
    world.run(50);
    assert_eq!(world.rejected(), None);
    world.run(20);
    assert!(world.rejected().is_some());
}

#[test]
fn a_node_that_is_ready_for_moments_only_is_late_all_the_same() {
    let rollout = Rollout {
        progress_deadline_seconds: 60,
        ..Rollout::default()
    };
    let mut world = World::settled(&[GOOD; 4], rollout.clone());
    let old = world.revisions();
    world.apply(POLICY, Ok(spec(1, Mode::IPTables, rollout)));
    world.run(1);
    // Five seconds of fifteen, and ten are asked for.
    for _ in 0..5 {
        world.falls("n00");
        world.run(10);
        world.agent("n00").runs = true;
        world.run(5);
    }
    assert!(world.rejected().is_some());
    world.run(100);
    assert_eq!(world.revisions(), old);
}

#[test]
fn an_operator_that_starts_finds_a_settled_pool_settled() {
    let patient = Rollout {
        min_ready_seconds: 120,
        ..Rollout::default()
    };
    for skew in [0, 100, -100] {
        let mut world = World::settled(&[GOOD; 3], patient.clone());
        world.run(600);
        world.restart_elsewhere(skew);
        assert!(world.plan().is_empty(), "{:?}", world.plan());
    }
}

#[test]
fn a_node_without_an_agent_is_passed_over_once_another_has_proved_a_first_revision() {
    let mut agents = [GOOD; 4];
    agents[0].runs = false;
    agents[3].can_run_ipvs = false;
    let mut world = World::new();
    for (index, agent) in agents.iter().enumerate() {
        world.add_node(&format!("n{index:02}"), *agent);
    }
    world.apply(POLICY, Ok(spec(0, Mode::IPTables, quick())));
    let current = |world: &World| world.held.policies[POLICY].status.current_revision.clone();
    world.run(200);
    assert_eq!(current(&world), None);
    assert_eq!(world.condition("Ready").0, "False");
    world.run(200);
    let good = current(&world);
    assert!(good.is_some());
    assert_eq!(world.condition("Ready").0, "True");

    world.apply(POLICY, Ok(spec(0, Mode::IPVS, quick())));
    world.run(100);
    assert!(world.rejected().is_some());
    assert_eq!(current(&world), good);
    assert_eq!(world.revisions().len(), 1);

    // A good one does not wait for it again.
    world.apply(POLICY, Ok(spec(1, Mode::IPTables, quick())));
    world.run(60);
    assert_eq!(world.condition("Ready").0, "True");
    assert_ne!(current(&world), good);
}

#[test]
fn a_node_without_an_agent_that_had_the_defaults_before_is_passed_over_too() {
    let mut world = World::new();
    world.add_node("n00", GOOD);
    world.add_node("n01", ABSENT);
    world.run(400);
    world.apply(POLICY, Ok(spec(0, Mode::IPTables, quick())));
    world.run(60);
    assert_eq!(world.condition("Ready").0, "True");
}

#[test]
fn where_no_agent_says_a_word_nothing_is_good() {
    let mut world = World::new();
    world.add_node("n00", ABSENT);
    world.apply(POLICY, Ok(spec(0, Mode::IPTables, quick())));
    world.run(1000);
    assert_eq!(world.condition("Ready").0, "False");
    assert_eq!(world.held.policies[POLICY].status.current_revision, None);
}

#[test]
fn an_agent_that_comes_late_has_its_time() {
    let mut world = World::new();
    world.add_node("n00", GOOD);
    world.add_node("n01", ABSENT);
    world.apply(POLICY, Ok(spec(0, Mode::IPTables, quick())));
    world.run(400);
    world.falls("n01");
    world.run(10);
    assert_eq!(world.condition("Ready").0, "False");
    assert_eq!(world.condition("Stalled").0, "False");
    world.run(300);
    assert_eq!(world.condition("Stalled").0, "True");
}

#[test]
fn nodes_that_vanish_when_they_are_told_a_revision_stop_it_and_take_it_back() {
    let mut world = World::settled(&[GOOD; 20], Rollout::default());
    let old = world.revision_of("n00");
    world.apply(POLICY, Ok(spec(1, Mode::IPTables, Rollout::default())));
    // Their agents say that all is well, and 30 seconds later it shows that their kubelets are not heard any more.
    let mut told_at = std::collections::BTreeMap::new();
    let mut most = 0;
    while world.rejected().is_none() && most < 20 {
        world.run(1);
        for n in 0..20 {
            let name = format!("n{n:02}");
            let now = world.now;
            if world.revision_of(&name) != old && !told_at.contains_key(&name) {
                told_at.insert(name, now);
            } else if told_at
                .get(&name)
                .is_some_and(|at| now.duration_since(*at).as_secs() == 30)
            {
                world.hears_of(&name, false);
            }
        }
        most = most.max(told_at.len());
    }
    assert!(most <= 4, "{most} nodes had it");
    let (_, _, message) = world.condition("Stalled");
    assert!(
        message.contains("node n00: it is not ready as a node"),
        "{message}"
    );
    world.run(60);
    let told_new = |world: &World| {
        (0..20)
            .filter(|n| world.revision_of(&format!("n{n:02}")) != old)
            .count()
    };
    let left = told_new(&world);
    assert!(
        left < most,
        "they are told what worked, one at a time since nobody knows how they are: {left}"
    );
    for name in told_at.keys() {
        world.hears_of(name, true);
    }
    world.run(100);
    assert_eq!(told_new(&world), 0);
    assert_eq!(world.condition("Reconciling").1, "Settled");
}

#[test]
fn a_node_that_vanishes_and_comes_back_in_time_takes_nothing_back() {
    let mut world = World::settled(&[GOOD; 4], quick());
    world.apply(POLICY, Ok(spec(1, Mode::IPTables, quick())));
    world.run(1);
    let new = world.revision_of("n00");
    world.hears_of("n00", false);
    world.run(200);
    assert_ne!(world.revision_of("n01"), new);
    let (status, _, message) = world.condition("Reconciling");
    assert_eq!(status, "True");
    assert!(message.starts_with("on their way: n00; "), "{message}");
    world.hears_of("n00", true);
    world.run(100);
    assert_eq!(world.rejected(), None);
    assert_eq!(world.revisions(), [new].into());
    assert_eq!(world.condition("Ready").0, "True");
}

#[test]
fn a_node_that_dies_when_it_had_proved_itself_or_before_it_was_told_holds_nobody_up() {
    for restarts in [false, true] {
        let mut world = World::settled(&[GOOD; 12], Rollout::default());
        world.hears_of("n05", false);
        world.run(2);
        world.apply(POLICY, Ok(spec(1, Mode::IPTables, Rollout::default())));
        world.run(90);
        world.hears_of("n00", false);
        if restarts {
            world.restart();
        }
        world.run(200);
        assert_eq!(world.condition("Ready").0, "True");
        world.run(1000);
        assert_eq!(world.rejected(), None);
        assert_eq!(world.revisions().len(), 1);
        assert_eq!(world.condition("Stalled").0, "False");
    }
}
