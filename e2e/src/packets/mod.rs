//! What a Service must do to a packet: one table of rows that names no data plane, an oracle that judges each row without
//! a kernel, and a runner that puts each row to a data plane in a lab.
//!
//! Rows are written by hand, or by loops over families and protocols; what is expected is stated, never computed by the
//! code under test. Rows run in the order of [`table::rows`], each as a change from the one before, so the table also tests
//! transitions. To look closer: `SLUICE_CASE=TEXT` keeps the rows whose name holds the text, `SLUICE_SHUFFLE=NUMBER` runs
//! them in another order, `SLUICE_DUMP=1` prints the node's rules and sets with each row that is wrong.

pub mod bound;
pub mod build;
pub mod ipvs;
pub mod kernel;
pub mod oracle;
pub mod planes;
mod pod_sets;
pub mod probing;
pub mod row;
pub mod surroundings;
pub mod table;

pub use row::Row;
