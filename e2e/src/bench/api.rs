//! Objects at a real API server, many at a time.

use std::path::Path;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::BenchError;

/// Requests at a time.
pub(super) const AT_ONCE: usize = 16;

/// A client by this kubeconfig, and what runs its requests.
pub(super) fn connect(kubeconfig: &Path) -> Result<(Runtime, Client), BenchError> {
    let not_so = |error: &dyn std::fmt::Display| BenchError::NotSo(error.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(BenchError::io("start a runtime"))?;
    let client = runtime.block_on(async {
        let file = Kubeconfig::read_from(kubeconfig).map_err(|e| not_so(&e))?;
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(file, &options).await;
        Client::try_from(config.map_err(|e| not_so(&e))?).map_err(|e| not_so(&e))
    })?;
    Ok((runtime, client))
}

/// The typed form of an object.
pub(super) fn object<T: DeserializeOwned>(value: Value) -> Result<T, BenchError> {
    serde_json::from_value(value).map_err(|error| BenchError::NotSo(error.to_string()))
}

/// What the API server was asked for is done.
pub(super) fn done<T>(answer: Result<T, kube::Error>) -> Result<(), BenchError> {
    let refused = |error| BenchError::NotSo(format!("the API server: {error}"));
    answer.map(drop).map_err(refused)
}
