//! The types of API group `sluice.dev`, their defaults and their validation.
//!
//! A type's doc comments are what its user reads (`kubectl explain`): each field says what it does, its unit and its default.
//! An absent field means its default. A field that does not exist is refused, never ignored.
//! The definitions that an API server is given are derived from the types (`v1alpha1::definitions`).

pub mod v1alpha1;

/// The API group.
pub const GROUP: &str = "sluice.dev";
