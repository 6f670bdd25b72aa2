//! The Sluice node agent: from manifests or the API server to packets.

pub mod data_plane;
