//! The API server that `kubectl` would talk to.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use kube::config::Kubeconfig;

use crate::access::{opened, read, refused};
use crate::{Access, AccessError, Opened};

/// kubectl's flags of the same names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KubectlAccess {
    /// The kubeconfig; absent: the files of `KUBECONFIG`, else `~/.kube/config`, else the pod that this is.
    pub kubeconfig: Option<PathBuf>,
    /// The context; absent: the current one.
    pub context: Option<String>,
}

impl KubectlAccess {
    /// Reads what it names. Whether the server is there is not asked.
    pub async fn open(&self) -> Result<Opened, AccessError> {
        let paths = self.paths(
            std::env::var_os("KUBECONFIG").as_deref(),
            std::env::var_os("HOME").as_deref(),
        );
        let Some((first, others)) = paths.split_first() else {
            return Access::default().open().await;
        };
        let mut kubeconfig = read(first)?;
        for path in others {
            let merged = kubeconfig.merge(read(path)?);
            kubeconfig = merged.map_err(|error| refused(path, &error))?;
        }
        if let Some(context) = &self.context {
            check(first, &kubeconfig, context)?;
            kubeconfig.current_context = Some(context.clone());
        }
        opened(first, kubeconfig).await
    }

    /// The files to read. One that was named must be there; of the others those that are.
    fn paths(&self, list: Option<&OsStr>, home: Option<&OsStr>) -> Vec<PathBuf> {
        if let Some(path) = &self.kubeconfig {
            return vec![path.clone()];
        }
        let listed = list
            .filter(|list| !list.is_empty())
            .map(|list| std::env::split_paths(list).collect::<Vec<_>>());
        let at_home = || home.map(|home| Path::new(home).join(".kube/config"));
        let all = listed.unwrap_or_else(|| at_home().into_iter().collect());
        let mut there = all.clone();
        there.retain(|path| path.is_file());
        // None of those in KUBECONFIG: the error names the first.
        if there.is_empty() && list.is_some_and(|list| !list.is_empty()) {
            return all.into_iter().take(1).collect();
        }
        there
    }
}

fn check(path: &Path, kubeconfig: &Kubeconfig, context: &str) -> Result<(), AccessError> {
    let names = || kubeconfig.contexts.iter().map(|one| one.name.as_str());
    if names().any(|name| name == context) {
        return Ok(());
    }
    Err(AccessError::Context {
        path: path.to_owned(),
        context: context.to_owned(),
        known: names().collect::<Vec<_>>().join(", "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubeconfig(context: &str, server: &str) -> String {
        format!(
            "{{apiVersion: v1, kind: Config, clusters: [{{name: {context}, cluster: {{server: '{server}'}}}}], \
             users: [{{name: {context}, user: {{token: t}}}}], \
             contexts: [{{name: {context}, context: {{cluster: {context}, user: {context}}}}}], current-context: {context}}}"
        )
    }

    fn open(access: &KubectlAccess) -> Result<Opened, AccessError> {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(access.open())
    }

    #[test]
    fn a_context_that_is_named_counts_and_one_that_is_not_there_is_said_with_those_that_are() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config");
        std::fs::write(&path, kubeconfig("a", "https://192.0.2.1:6443")).unwrap();
        let by = |context: Option<&str>| {
            open(&KubectlAccess {
                kubeconfig: Some(path.clone()),
                context: context.map(str::to_owned),
            })
        };
        let server = |opened: Opened| opened.config.cluster_url.to_string();
        assert_eq!(server(by(None).unwrap()), "https://192.0.2.1:6443/");
        assert_eq!(server(by(Some("a")).unwrap()), "https://192.0.2.1:6443/");
        let said = by(Some("b")).unwrap_err().to_string();
        assert!(said.contains("no context b: write one of a"), "{said}");
    }

    #[test]
    fn files_are_found_as_kubectl_finds_them() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "").unwrap();
            path
        };
        let (one, two, home) = (at("one"), at("two"), at(".kube/config"));
        let absent = directory.path().join("absent");
        let list = std::env::join_paths([&absent, &one, &two]).unwrap();
        let access = KubectlAccess::default();
        let at_home = Some(directory.path().as_os_str());
        assert_eq!(access.paths(Some(&list), at_home), [one, two]);
        assert_eq!(access.paths(None, at_home), std::slice::from_ref(&home));
        assert_eq!(access.paths(Some(OsStr::new("")), at_home), [home]);
        // Named, so it is an error that it is not there.
        assert_eq!(access.paths(Some(absent.as_os_str()), at_home), [absent]);
        assert!(access.paths(None, None).is_empty());
    }
}
