//! The words of the CNI specification 1.1.0.

mod args;
mod environment;
mod error;
mod object;
mod result;
mod version;

pub(crate) use environment::{Command, Environment, EnvironmentError};
pub(crate) use error::{CniError, Code, Coded};
pub(crate) use object::RawObject;
pub(crate) use result::{PreviousResult, ResultError};
pub(crate) use version::Version;
