//! Many pods at a time, and an agent that is killed among them.

use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use sluice_e2e::attach::Pod;

use crate::pods::Pods;

const PODS: usize = 24;
const DONE: usize = 5;

/// Something for every pod, all at the same time, and the agent's death and return meanwhile.
fn all_at_once<T: Send>(
    pods: &mut Pods,
    each: &[(Pod, Value)],
    what: impl Fn(&Pods, &(Pod, Value)) -> T + Sync,
) -> Vec<T> {
    let id = Pid::from_raw(pods.agent.id().unwrap().cast_signed());
    let before = pods.records();
    let done = std::thread::scope(|scope| {
        let (pods, what) = (&*pods, &what);
        let running: Vec<_> = each
            .iter()
            .map(|one| scope.spawn(move || what(pods, one)))
            .collect();
        // Some have it behind them, others not.
        let deadline = Instant::now() + Duration::from_secs(20);
        while pods.records().abs_diff(before) < DONE && Instant::now() < deadline {
            sleep(Duration::from_millis(1));
        }
        kill(id, Signal::SIGKILL).unwrap();
        running.into_iter().map(|one| one.join().unwrap()).collect()
    });
    pods.agent.kill().unwrap();
    pods.start_agent();
    done
}

#[test]
fn nothing_leaks_of_a_crowd_among_which_the_agent_dies() {
    let mut pods = Pods::with_agent("[{name: all, action: Masquerade}]");
    let crowd: Vec<_> = (0..PODS)
        .map(|n| (Pod::new(&format!("pod{n}")).unwrap(), Value::Null))
        .collect();
    let results = all_at_once(&mut pods, &crowd, |pods, (pod, _)| pods.add(pod));
    let crowd: Vec<_> = crowd.into_iter().map(|(pod, _)| pod).zip(results).collect();
    pods.eventually("every pod is of its class", || {
        pods.node.members().unwrap().len() == 2 * PODS
    });
    let remembered = pods.node.remembered().unwrap();
    assert_eq!(remembered.len(), PODS, "{remembered:?}");
    assert_eq!(pods.hairpins(), PODS);
    all_at_once(&mut pods, &crowd, |pods, (pod, result)| {
        pods.del(pod, result);
    });
    pods.hold_nothing();
}
