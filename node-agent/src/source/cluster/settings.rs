//! The settings of this node: those of its `NodeServiceProxy`, else the last ones that it had, else the agent's own.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sluice_crds::v1alpha1::{NodeServiceProxySpec, ServiceProxyPolicySpec};

use super::super::Revision;

const FILE: &str = "settings.json";
/// Of a file that cannot be understood.
const ASIDE: &str = "damaged";

/// Settings that the node was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Given {
    /// `metadata.generation` of their object.
    pub(super) generation: i64,
    pub(super) spec: NodeServiceProxySpec,
}

impl Given {
    pub(super) fn revision(&self) -> Revision {
        Revision {
            name: Arc::from(self.spec.revision.as_str()),
            generation: self.generation,
        }
    }
}

/// Where the last settings are kept, for a start without API server or operator.
#[derive(Debug, Clone)]
pub struct SettingsFile(PathBuf);

/// The last settings could not be kept.
#[derive(Debug, thiserror::Error)]
#[error(
    "the settings cannot be kept in {path} ({source}): a restart without API server would not know them; mend the directory, or choose another --state-dir",
    path = path.display()
)]
pub struct SettingsFileError {
    path: PathBuf,
    source: io::Error,
}

impl SettingsFile {
    /// In this directory, which must outlive a reboot.
    pub fn new(state_dir: &Path) -> Self {
        Self(state_dir.join(FILE))
    }

    /// Removes what was kept: no agent will run here any more.
    pub fn forget(&self) -> io::Result<()> {
        for path in [self.0.clone(), self.0.with_extension(ASIDE)] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// What was kept. A file that cannot be understood is set aside.
    pub(super) fn read(&self) -> Option<Given> {
        let text = match fs::read_to_string(&self.0) {
            Ok(text) => text,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(file = %self.0.display(), %error, "the last settings cannot be read");
                }
                return None;
            }
        };
        let read = serde_json::from_str::<Given>(&text).map_err(|error| error.to_string());
        let good = read.and_then(|given| match given.spec.validate().first() {
            None => Ok(given),
            Some(invalid) => Err(format!("{}: {}", invalid.field, invalid.message)),
        });
        good.inspect_err(|error| {
            let aside = self.0.with_extension(ASIDE);
            tracing::warn!(file = %self.0.display(), error, aside = %aside.display(), "the last settings cannot be understood and are set aside");
            // Where that fails too, the next settings replace it.
            let _ = fs::rename(&self.0, aside);
        })
        .ok()
    }

    /// Keeps settings, in one step.
    pub(super) fn write(&self, given: &Given) -> Result<(), SettingsFileError> {
        let failed = |source| SettingsFileError {
            path: self.0.clone(),
            source,
        };
        let text = serde_json::to_string_pretty(given).map_err(|error| failed(error.into()))?;
        let beside = self.0.with_extension("new");
        if let Some(directory) = self.0.parent() {
            fs::create_dir_all(directory).map_err(failed)?;
        }
        let replace = || {
            let mut file = File::create(&beside)?;
            file.write_all(text.as_bytes())?;
            // Else a node that loses power may be left with an empty file of this name.
            file.sync_all()?;
            fs::rename(&beside, &self.0)
        };
        replace().map_err(failed)
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Settings {
    own: ServiceProxyPolicySpec,
    given: Option<Given>,
    file: Option<SettingsFile>,
    /// The file does not have what was given. That was told.
    is_file_behind: bool,
}

impl Settings {
    /// The last ones, where there are some; `own` are the agent's.
    pub(super) fn new(own: ServiceProxyPolicySpec, file: Option<SettingsFile>) -> Self {
        Self {
            own,
            given: file.as_ref().and_then(SettingsFile::read),
            file,
            is_file_behind: false,
        }
    }

    /// The policy in force.
    pub(super) fn policy(&self) -> ServiceProxyPolicySpec {
        let given = self.given.as_ref();
        given.map_or_else(|| self.own.clone(), |given| given.spec.as_policy())
    }

    /// Whose it is.
    pub(super) fn revision(&self) -> Option<Revision> {
        self.given.as_ref().map(Given::revision)
    }

    /// Takes settings, which are good, and keeps them. What could not be kept is tried again each time.
    pub(super) fn take(&mut self, given: Given) {
        if self.given.as_ref() == Some(&given) && !self.is_file_behind {
            return;
        }
        let kept = self.file.as_ref().map_or(Ok(()), |file| file.write(&given));
        let was_behind = std::mem::replace(&mut self.is_file_behind, kept.is_err());
        if let Err(error) = kept
            && !was_behind
        {
            tracing::warn!("{error}");
        }
        self.given = Some(given);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_crds::v1alpha1::{ActiveMode, Mode, ResolvedSettings};

    fn given(mark_bit: u32) -> Given {
        let mut settings = ResolvedSettings::default();
        settings.source_nat.mark_bit = mark_bit;
        Given {
            generation: 3,
            spec: NodeServiceProxySpec {
                policy: "p".into(),
                policy_generation: 1,
                revision: format!("p-{mark_bit}"),
                mode: ActiveMode::IPVS,
                settings,
            },
        }
    }

    #[test]
    fn the_last_settings_come_back_after_a_restart_and_the_agents_own_only_without_any() {
        let directory = tempfile::tempdir().unwrap();
        let start = || {
            let own = ServiceProxyPolicySpec {
                mode: Mode::IPTables,
                ..ServiceProxyPolicySpec::default()
            };
            Settings::new(own, Some(SettingsFile::new(directory.path())))
        };
        let mut settings = start();
        assert_eq!(
            (settings.policy().mode, settings.revision()),
            (Mode::IPTables, None)
        );
        settings.take(given(15));
        let again = start();
        assert_eq!(again.policy().source_nat.mark_bit, 15);
        assert_eq!(again.policy().mode, Mode::IPVS);
        assert_eq!(&*again.revision().unwrap().name, "p-15");
    }

    #[test]
    fn settings_that_could_not_be_kept_are_kept_when_they_come_again() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        fs::write(&state, "in the way").unwrap();
        let file = SettingsFile::new(&state);
        let own = ServiceProxyPolicySpec::default();
        let mut settings = Settings::new(own, Some(file.clone()));
        settings.take(given(15));
        assert_eq!(settings.policy().source_nat.mark_bit, 15);
        fs::remove_file(&state).unwrap();
        settings.take(given(15));
        assert_eq!(file.read(), Some(given(15)));
    }

    #[test]
    fn a_file_that_cannot_be_used_is_set_aside() {
        let directory = tempfile::tempdir().unwrap();
        let file = SettingsFile::new(directory.path());
        let mut wrong = given(15);
        wrong.spec.settings.node_ports.localhost = true;
        for text in ["{".to_owned(), serde_json::to_string(&wrong).unwrap()] {
            fs::write(directory.path().join(FILE), &text).unwrap();
            assert_eq!(file.read(), None);
            let aside = directory.path().join("settings.damaged");
            assert_eq!(fs::read_to_string(aside).unwrap(), text);
            assert!(!directory.path().join(FILE).exists());
        }
        file.write(&given(15)).unwrap();
        file.forget().unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        file.forget().unwrap();
    }
}
