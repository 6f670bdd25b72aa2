//! What a container said before it ended.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

/// Of the first container of a pod that is not ready and has ended with an error: its name, and the line that it ended with.
pub(super) fn last_words(pod: &Pod) -> Option<(&str, &str)> {
    let status = pod.status.as_ref()?;
    let kinds = [&status.init_container_statuses, &status.container_statuses];
    let mut containers = kinds.into_iter().flatten().flatten();
    containers.find_map(|container| {
        let line = (!container.ready).then(|| of_container(container))??;
        Some((container.name.as_str(), line))
    })
}

/// The kubelet keeps the end of its log, of which the last line has the error.
fn of_container(container: &ContainerStatus) -> Option<&str> {
    let states = [&container.state, &container.last_state];
    let ended = states.into_iter().flatten();
    let ended = ended
        .filter_map(|state| state.terminated.as_ref())
        .find(|ended| ended.exit_code != 0)?;
    let lines = ended.message.as_ref()?.lines();
    lines.map(str::trim).rfind(|line| !line.is_empty())
}
