//! How the API server is reached: by a kubeconfig, or as a pod of the cluster.

use std::path::PathBuf;
use std::time::Duration;

use kube::Config;
use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};

/// A server that does not take a connection for so long is tried again.
const CONNECT: Duration = Duration::from_secs(10);
/// Watches are told something every minute: one that is silent for longer is dead, and begun anew.
const SILENCE: Duration = Duration::from_secs(150);

/// Where an API server is, and who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The kubeconfig to go by; absent: the service account of the pod that this is.
    pub kubeconfig: Option<PathBuf>,
    /// Address of the server, in place of the one that these name. The one that a pod is told is a service, which an agent may have to program first.
    pub server: Option<String>,
}

/// Why it is not known how to reach an API server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// The kubeconfig.
    #[error(
        "kubeconfig {path} cannot be used ({reason}): check that it can be read, and that its current context has a cluster and a user"
    )]
    Kubeconfig {
        /// Its path.
        path: String,
        /// Why, with all causes.
        reason: String,
    },
    /// Not in a pod, or one without a service account.
    #[error(
        "this is no pod with a service account ({0}): give --kubeconfig, or let the pod mount its token"
    )]
    NotInCluster(#[source] InClusterError),
    /// The address of the server.
    #[error("--api-server {address:?} is no address ({reason}): write it as https://HOST:PORT")]
    Address {
        /// What was given.
        address: String,
        /// Why not.
        reason: String,
    },
    /// Certificates or tokens that no client can be made of.
    #[error(
        "the API server cannot be spoken to with these credentials ({0}): check certificate authority, client certificate and token"
    )]
    Credentials(String),
}

impl Access {
    /// Reads what it names.
    pub(super) async fn config(&self) -> Result<Config, AccessError> {
        let mut config = match &self.kubeconfig {
            Some(path) => {
                let refused = |error: KubeconfigError| AccessError::Kubeconfig {
                    path: path.display().to_string(),
                    reason: with_causes(&error),
                };
                let read = Kubeconfig::read_from(path).map_err(refused)?;
                let options = KubeConfigOptions::default();
                let config = Config::from_custom_kubeconfig(read, &options).await;
                config.map_err(refused)?
            }
            None => Config::incluster().map_err(AccessError::NotInCluster)?,
        };
        if let Some(address) = &self.server {
            let refused = |reason: String| AccessError::Address {
                address: address.clone(),
                reason,
            };
            if !address.starts_with("https://") && !address.starts_with("http://") {
                return Err(refused("it names no scheme".to_owned()));
            }
            config.cluster_url = address
                .parse()
                .map_err(|error| refused(format!("{error}")))?;
        }
        config.connect_timeout = Some(CONNECT);
        config.read_timeout = Some(SILENCE);
        config.reset_reader_on_write = true;
        // Followers wait by themselves, the longer the more often they fail.
        config.default_retry = false;
        Ok(config)
    }
}

/// An error and what is behind it, as far as that says more.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_words = inner.to_string();
        if !words.contains(&inner_words) {
            words = format!("{words}: {inner_words}");
        }
        cause = inner.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(access: &Access) -> Result<Config, AccessError> {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(access.config())
    }

    const KUBECONFIG: &str = "
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: 'https://10.96.0.1:443'}}]
users: [{name: u, user: {token: t}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
";

    #[test]
    fn what_cannot_be_used_is_said_with_its_path_and_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            Access {
                kubeconfig: Some(path),
                server: None,
            }
        };
        let absent = Access {
            kubeconfig: Some(directory.path().join("absent")),
            server: None,
        };
        let other_context = KUBECONFIG.replace("current-context: x", "current-context: y");
        for (access, words) in [
            (absent, "absent"),
            (at("no-yaml", "a: ["), "no-yaml"),
            (at("empty", ""), "empty"),
            (at("context", &other_context), "context"),
        ] {
            let error = config(&access).unwrap_err().to_string();
            assert!(
                error.contains(words) && error.contains("check that"),
                "{error}"
            );
        }
    }

    #[test]
    fn another_address_counts_and_must_be_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kubeconfig");
        std::fs::write(&path, KUBECONFIG).unwrap();
        let at = |server: &str| {
            config(&Access {
                kubeconfig: Some(path.clone()),
                server: Some(server.to_owned()),
            })
        };
        let config = at("https://192.0.2.5:6443").unwrap();
        assert_eq!(config.cluster_url.to_string(), "https://192.0.2.5:6443/");
        for wrong in ["192.0.2.5:6443", "https://", "https://a b"] {
            let error = at(wrong).unwrap_err().to_string();
            assert!(error.contains("https://HOST:PORT"), "{wrong}: {error}");
        }
    }
}
