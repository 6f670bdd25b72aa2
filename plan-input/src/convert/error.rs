//! Why an object cannot be used.

use std::net::IpAddr;

/// A field that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct FieldError {
    /// Path of the field, such as `spec.ports[0].port`; empty for the object as a whole.
    pub field: String,
    /// What is wrong with it and what to do.
    #[source]
    pub problem: Problem,
}

impl FieldError {
    /// Joins a path with what is wrong there.
    pub fn new(field: impl Into<String>, problem: Problem) -> Self {
        Self {
            field: field.into(),
            problem,
        }
    }
}

/// What is wrong with a field, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A needed field is absent.
    #[error("it is missing: add it")]
    Missing,
    /// A needed list is empty.
    #[error("the list is empty: add {0}")]
    Empty(&'static str),
    /// A slice without a service.
    #[error(
        "label kubernetes.io/service-name is missing: add it with the name of the slice's service"
    )]
    NoServiceLabel,
    /// Not an IP address.
    #[error("{0:?} is not an IP address: write one such as 10.0.0.1 or fd00::1")]
    NotAnAddress(String),
    /// Not a network.
    #[error("{0:?} is not a network: write address/prefix length, such as 10.0.0.0/8 or fd00::/8")]
    NotANetwork(String),
    /// An address that packets of a service cannot have.
    #[error("{address} is {class}: use an address that other hosts can reach")]
    SpecialAddress {
        /// The address.
        address: IpAddr,
        /// What it is.
        class: &'static str,
    },
    /// A second address of one family.
    #[error("{0} is the second address of its family: list one for each family")]
    SecondOfFamily(IpAddr),
    /// A number outside its range.
    #[error("{value} is not between {first} and {last}")]
    OutOfRange {
        /// The number.
        value: i32,
        /// The least that works.
        first: i32,
        /// The greatest that works.
        last: i32,
    },
    /// A word that means nothing here.
    #[error("{value:?} is not known: use {known}")]
    UnknownValue {
        /// The word.
        value: String,
        /// The words that mean something.
        known: &'static str,
    },
    /// Not a DNS label.
    #[error(
        "{0:?} is not a name: use at most 63 lower-case letters, digits and dashes, with a letter or digit at both ends"
    )]
    NotALabel(String),
    /// Not a DNS subdomain.
    #[error(
        "{0:?} is not a name: use at most 253 lower-case letters, digits, dashes and dots, with a letter or digit at both ends of each part"
    )]
    NotASubdomain(String),
    /// An unnamed port among several.
    #[error("of several ports each needs a name: add it")]
    UnnamedPort,
    /// The same thing twice.
    #[error("{0} is there already: remove one, or change it")]
    Duplicate(String),
    /// A node port where there can be none.
    #[error(
        "a service of type ClusterIP has no node ports: remove it, or set spec.type to NodePort"
    )]
    NodePortOfClusterIp,
}
