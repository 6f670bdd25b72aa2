//! Notices of changes to the nf_tables rule set.
