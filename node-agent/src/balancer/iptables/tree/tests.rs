use std::collections::BTreeSet;

use ipnet::IpNet;
use proptest::collection::btree_set;
use proptest::prelude::*;

use super::*;

/// What a packet is for.
type Goal = (Option<IpAddr>, Protocol, u16);

fn tree(space: Space, goals: &BTreeSet<Goal>) -> Tree<Goal> {
    let mut tree = Tree::new(space);
    for goal in goals {
        tree.insert(Key::new(goal.0, goal.1, goal.2), *goal);
    }
    tree
}

/// Whether a packet meets the words of a match.
fn meets(words: &str, (address, protocol, port): Goal) -> bool {
    let mut words = words.split(' ');
    let mut meets = true;
    while let Some(option) = words.next() {
        let value = words.next().unwrap();
        meets &= match option {
            "-d" => value.parse::<IpNet>().unwrap().contains(&address.unwrap()),
            "-p" | "-m" => value == protocol.to_string(),
            "--dport" => {
                let (first, last) = value.split_once(':').unwrap_or((value, value));
                (first.parse().unwrap()..=last.parse().unwrap()).contains(&port)
            }
            other => panic!("{other} is no match of the tree"),
        };
    }
    meets
}

/// The frontend at which a packet arrives, by the rules from the root on as they are written.
fn walk(tree: &Tree<Goal>, packet: Goal) -> Option<Goal> {
    let mut at = Tree::<Goal>::root();
    let mut rules = 0;
    loop {
        let parts = match tree.node(at) {
            Node::Inner(parts) => parts,
            Node::Leaf => {
                let is_it = |goal: &&Goal| {
                    let (address, protocol, port) = **goal;
                    let told = at.tells_port() || port == packet.2;
                    address == packet.0 && protocol == packet.1 && told
                };
                assert!(tree.below(at).count() <= LEAF);
                return tree.below(at).find(is_it).copied();
            }
        };
        let position = parts
            .iter()
            .position(|part| meets(&tree.matches(part), packet))?;
        rules += position + 1;
        assert!(rules <= 16 * 44, "a long way");
        at = parts[position].node;
        assert!(tree.name(at).len() <= LONGEST_NAME, "{}", tree.name(at));
    }
}

/// Few ports of many frontends and many ports of few, as clusters have them.
fn goals(
    addresses: impl Strategy<Value = Option<IpAddr>> + Clone,
) -> impl Strategy<Value = BTreeSet<Goal>> {
    let port = prop_oneof![4 => Just(80), 2 => Just(443), 1 => 1000_u16..1040, 1 => any::<u16>()];
    let protocol =
        prop_oneof![6 => Just(Protocol::Tcp), 2 => Just(Protocol::Udp), 1 => Just(Protocol::Sctp)];
    btree_set((addresses, protocol, port), 1..150)
}

fn v4() -> impl Strategy<Value = Option<IpAddr>> + Clone {
    (0_u32..4096).prop_map(|low| Some(Ipv4Addr::from(0x0a60_0000 | (low * 7)).into()))
}

fn v6() -> impl Strategy<Value = Option<IpAddr>> + Clone {
    (0_u128..4096).prop_map(|low| Some(Ipv6Addr::from((0xfd00_u128 << 112) | (low * 7)).into()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_packet_arrives_at_its_frontend_and_at_no_other(goals in goals(v4()), others in goals(v4())) {
        let tree = tree(Space::V4, &goals);
        for packet in goals.iter().chain(&others) {
            let expected = goals.contains(packet).then_some(*packet);
            prop_assert_eq!(walk(&tree, *packet), expected);
        }
    }

    #[test]
    fn so_it_does_by_ipv6(goals in goals(v6()), others in goals(v6())) {
        let tree = tree(Space::V6, &goals);
        for packet in goals.iter().chain(&others) {
            let expected = goals.contains(packet).then_some(*packet);
            prop_assert_eq!(walk(&tree, *packet), expected);
        }
    }

    #[test]
    fn so_it_does_by_node_port(goals in goals(Just(None)), others in goals(Just(None))) {
        let tree = tree(Space::Ports, &goals);
        for packet in goals.iter().chain(&others) {
            let expected = goals.contains(packet).then_some(*packet);
            prop_assert_eq!(walk(&tree, *packet), expected);
        }
    }

    #[test]
    fn a_frontend_changes_only_chains_on_its_path(goals in goals(v4()), other in goals(v4())) {
        let key = other.first().map(|goal| Key::new(goal.0, goal.1, goal.2)).unwrap();
        let mut with = tree(Space::V4, &goals);
        let mut without = tree(Space::V4, &goals);
        with.insert(key, *other.first().unwrap());
        without.remove(&key);
        let (before, after) = (chains(&without), chains(&with));
        let path: BTreeSet<String> = with.path(key).into_iter().map(|at| with.name(at)).collect();
        for (name, content) in &after {
            if before.contains_key(name) && !path.contains(name) {
                prop_assert_eq!(&before[name], content, "{}", name);
            }
        }
    }
}

/// Every chain and what is in it.
fn chains(tree: &Tree<Goal>) -> BTreeMap<String, Vec<String>> {
    let mut chains = BTreeMap::new();
    let mut todo = vec![Tree::<Goal>::root()];
    while let Some(at) = todo.pop() {
        let content = match tree.node(at) {
            Node::Leaf => tree
                .below(at)
                .map(|goal| format!("{goal:?} {}", at.tells_port()))
                .collect(),
            Node::Inner(parts) => {
                todo.extend(parts.iter().map(|part| part.node));
                let rule =
                    |part: &Part| format!("{} -g {}", tree.matches(part), tree.name(part.node));
                parts.iter().map(rule).collect()
            }
        };
        assert!(
            chains.insert(tree.name(at), content).is_none(),
            "two chains of one name"
        );
    }
    chains
}

#[test]
fn names_tell_what_comes_there() {
    let goals: BTreeSet<Goal> = (0..200_u32)
        .map(|index| {
            (
                Some(Ipv4Addr::from(0x0a60_0100 + index).into()),
                Protocol::Tcp,
                80,
            )
        })
        .chain((0..40).map(|index| {
            (
                Some(Ipv4Addr::new(10, 96, 0, 9).into()),
                Protocol::Udp,
                5000 + index,
            )
        }))
        .collect();
    let chains = chains(&tree(Space::V4, &goals));
    let root = [
        "-p tcp -m tcp --dport 80 -g SLUICE-T-tcp-80-10.96.1.0-24",
        "-p udp -g SLUICE-T-udp-4992-5055",
    ];
    assert_eq!(chains["SLUICE-FRONTENDS"], root);
    assert!(
        chains.contains_key("SLUICE-T-udp-4992-5007"),
        "{:?}",
        chains.keys()
    );
}
