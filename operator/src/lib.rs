//! The Sluice operator.
