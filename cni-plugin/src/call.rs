//! One call by a runtime: environment and standard input in, result or error on standard output.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::process::ExitCode;

use serde::Serialize;

use crate::cni::{CniError, Command, Environment, RawObject, Version};
use crate::conf::{Conf, ConfError};
use crate::verbs::{self, AddError, Attachment};

/// A configuration with all attachments of a full node has a hundredth of it.
const MAX_INPUT_BYTES: usize = 8 * 1024 * 1024;

/// Serves one call. Results and errors go to `output` as the specification says, a line for people to `log`; the exit code is 0 or 1.
pub fn run(
    environment: impl Fn(&str) -> Option<OsString>,
    input: impl Read,
    mut output: impl Write,
    mut log: impl Write,
) -> ExitCode {
    let environment = Environment::new(environment);
    let mut version = Version::NEWEST;
    let mut call = Call {
        environment: &environment,
        version: &mut version,
        output: &mut output,
        log: &mut log,
    };
    let Err(error) = call.serve(input) else {
        return ExitCode::SUCCESS;
    };
    // Whoever reads neither is told by the exit code.
    let _ = writeln!(log, "sluice-cni: {error}");
    let _ = writeln!(output, "{}", error.json(version));
    ExitCode::FAILURE
}

struct Call<'a, F> {
    environment: &'a Environment<F>,
    /// Of what is answered.
    version: &'a mut Version,
    output: &'a mut dyn Write,
    log: &'a mut dyn Write,
}

impl<F: Fn(&str) -> Option<OsString>> Call<'_, F> {
    fn serve(&mut self, input: impl Read) -> Result<(), CniError> {
        let command = self.environment.command()?;
        let object = read(input)?;
        let name = version_name(&object)?;
        if command == Command::Version {
            return self.print(&supported(&name));
        }
        let version = Version::named(&name).ok_or(ConfError::Version(name))?;
        *self.version = version;
        require(command, version)?;
        match command {
            Command::Add => self.add(&Conf::read(&object, version)?),
            Command::Del => {
                let id = self.environment.id()?;
                verbs::del(&Conf::read_for_removal(&object, version), &id)
            }
            Command::Check => verbs::check(&Conf::read(&object, version)?, &self.attachment()?),
            Command::Gc => verbs::gc(&Conf::read(&object, version)?, self.log),
            Command::Status => verbs::status(&Conf::read(&object, version)?),
            Command::Version => Ok(()),
        }
    }

    fn attachment(&self) -> Result<Attachment, CniError> {
        Ok(Attachment {
            id: self.environment.id()?,
            netns: self.environment.netns()?,
            pod: self.environment.pod()?,
        })
    }

    fn add(&mut self, conf: &Conf) -> Result<(), CniError> {
        let attachment = self.attachment()?;
        let result = verbs::add(conf, &attachment, self.log)?;
        self.print(&result).inspect_err(|_| {
            // The runtime takes it for failed.
            verbs::undo(conf, &attachment, self.log);
        })
    }

    fn print(&mut self, line: &str) -> Result<(), CniError> {
        let printed = writeln!(self.output, "{line}").and_then(|()| self.output.flush());
        Ok(printed.map_err(AddError::Output)?)
    }
}

fn read(input: impl Read) -> Result<RawObject, ConfError> {
    let limit = u64::try_from(MAX_INPUT_BYTES).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    input
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(ConfError::Unreadable)?;
    if bytes.len() > MAX_INPUT_BYTES {
        return Err(ConfError::TooLong(MAX_INPUT_BYTES));
    }
    serde_json::from_slice(&bytes).map_err(ConfError::NotAnObject)
}

/// What says no version is older than all that are spoken here.
fn version_name(object: &RawObject) -> Result<String, ConfError> {
    let raw = object
        .get("cniVersion")
        .ok_or_else(|| ConfError::Version(String::new()))?;
    let name: String = serde_json::from_str(raw.get()).map_err(|_| ConfError::Invalid {
        key: "cniVersion",
        what: "a text",
    })?;
    Ok(name.chars().take(32).collect())
}

fn require(command: Command, version: Version) -> Result<(), ConfError> {
    let (verb, since, there) = match command {
        Command::Check => ("CHECK", "0.4.0", version.has_check()),
        Command::Gc => ("GC", "1.1.0", version.has_gc()),
        Command::Status => ("STATUS", "1.1.0", version.has_gc()),
        _ => return Ok(()),
    };
    if there {
        Ok(())
    } else {
        Err(ConfError::VerbTooNew {
            verb,
            since,
            version,
        })
    }
}

/// The answer to VERSION: the version asked with comes back, whatever it is.
fn supported(name: &str) -> String {
    #[derive(Serialize)]
    struct Supported<'a> {
        #[serde(rename = "cniVersion")]
        version: &'a str,
        #[serde(rename = "supportedVersions")]
        versions: [&'static str; Version::ALL.len()],
    }
    let supported = Supported {
        version: name,
        versions: Version::ALL.map(Version::name),
    };
    // Texts can be written.
    serde_json::to_string(&supported).unwrap_or_default()
}
