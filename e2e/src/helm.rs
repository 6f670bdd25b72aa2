//! Helm, and the chart.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::skip::skip;

/// The chart's directory.
pub const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/sluice");
/// Names another program than the `helm` of `PATH`.
pub const PROGRAM_VARIABLE: &str = "SLUICE_HELM";
/// What the suites have been written for.
const OLDEST_MAJOR: u32 = 4;

/// Errors of Helm's program.
#[derive(Debug, thiserror::Error)]
pub enum HelmError {
    /// It is not there, or too old.
    #[error(
        "{0}: install Helm {OLDEST_MAJOR} or newer, or name one in {PROGRAM_VARIABLE} (`make helm` builds it with Go)"
    )]
    Missing(String),
    /// It could not be started.
    #[error("cannot run {}", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
}

/// Runs `helm`, which knows nothing of the user who runs the tests.
#[derive(Debug)]
pub struct Helm {
    program: PathBuf,
    home: tempfile::TempDir,
    kubeconfig: Option<PathBuf>,
}

impl Helm {
    /// That of the environment, or of `PATH`.
    pub fn find() -> Result<Self, HelmError> {
        let program =
            std::env::var_os(PROGRAM_VARIABLE).map_or_else(|| PathBuf::from("helm"), PathBuf::from);
        let home = tempfile::tempdir().map_err(|source| HelmError::Run {
            program: program.clone(),
            source,
        })?;
        let helm = Self {
            program,
            home,
            kubeconfig: None,
        };
        let name = helm.program.display();
        let told = match helm.run(&["version", "--template={{.Version}}"]) {
            Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
            Err(_) => return Err(HelmError::Missing(format!("there is no program {name}"))),
        };
        let major = told.trim_start_matches('v').split('.').next();
        match major.and_then(|major| major.parse::<u32>().ok()) {
            Some(major) if major >= OLDEST_MAJOR => Ok(helm),
            _ => Err(HelmError::Missing(format!("{name} is of version {told}"))),
        }
    }

    /// The same for a suite, which is skipped, and says so, where there is none.
    pub fn find_or_skip(suite: &str) -> Option<Self> {
        Self::find()
            .map_err(|error| skip(suite, &error.to_string()))
            .ok()
    }

    /// For the cluster of a kubeconfig.
    #[must_use]
    pub fn with_kubeconfig(mut self, kubeconfig: &Path) -> Self {
        self.kubeconfig = Some(kubeconfig.to_owned());
        self
    }

    /// Runs it to its end, whichever that is.
    pub fn run(&self, arguments: &[&str]) -> Result<Output, HelmError> {
        let home = self.home.path();
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env("HOME", home)
            .env("HELM_CACHE_HOME", home.join("cache"))
            .env("HELM_CONFIG_HOME", home.join("config"))
            .env("HELM_DATA_HOME", home.join("data"))
            .env_remove("KUBECONFIG");
        if let Some(kubeconfig) = &self.kubeconfig {
            command.env("KUBECONFIG", kubeconfig);
        }
        command.output().map_err(|source| HelmError::Run {
            program: self.program.clone(),
            source,
        })
    }
}
