//! Kubeconfigs that trust another certificate authority than the API server's.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::error::{ControlPlaneError, failed};
use super::{ControlPlane, write};

/// Nobody has its key, and it signed nothing.
const ANOTHER: &str = "-----BEGIN CERTIFICATE-----
MIIBjzCCATWgAwIBAgIULktoT1lqAQT2iJEvYHdm9hzidkswCgYIKoZIzj0EAwIw
HDEaMBgGA1UEAwwRYW5vdGhlciBhdXRob3JpdHkwIBcNMjYxMTI3MDQzMzI5WhgP
MjEyNjExMDMwNDMzMjlaMBwxGjAYBgNVBAMMEWFub3RoZXIgYXV0aG9yaXR5MFkw
EwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEDrFbnDmTEOkXK0PG+34y+6LOST8xSkBh
NuhJxIDJDAYbo04CMNaVEX81o1FghwepyDK4ZDIAGun3jm1fGW/kdaNTMFEwHQYD
VR0OBBYEFIe5c4/xv20Pxlt1/57a1cuNEGW/MB8GA1UdIwQYMBaAFIe5c4/xv20P
xlt1/57a1cuNEGW/MA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIh
AK3WB1avoGiTVSsWOpGEl3YkT9IJdcs4CA6XSKkeev8jAiAhBtEVBNqIKsjK74Pl
OfrEjq8jMcZB8Sk5i6Mk3q5wog==
-----END CERTIFICATE-----
";

/// A kubeconfig that looks for the certificate authority in a file of its own.
#[derive(Debug)]
pub struct Distrust {
    /// The kubeconfig.
    pub kubeconfig: PathBuf,
    /// The file.
    pub authority: PathBuf,
    served: String,
}

impl Distrust {
    /// Lets it trust the API server.
    pub fn mend(&self) -> Result<(), ControlPlaneError> {
        write(&self.authority, &self.served)
    }
}

impl ControlPlane {
    /// The same kubeconfig under another name, but that trusts another than the API server.
    pub fn distrust(&self, kubeconfig: &Path) -> Result<Distrust, ControlPlaneError> {
        let read = |path: &Path| {
            std::fs::read_to_string(path).map_err(failed(format!("read {}", path.display())))
        };
        let beside = |extension: &str| kubeconfig.with_extension(extension);
        let distrust = Distrust {
            kubeconfig: beside("distrustful"),
            authority: beside("authority.crt"),
            served: read(&self.files.serving_certificate())?,
        };
        let mut changed: Value = serde_json::from_str(&read(kubeconfig)?)
            .map_err(std::io::Error::from)
            .map_err(failed("read a kubeconfig"))?;
        let cluster = &mut changed["clusters"][0]["cluster"];
        *cluster = json!({
            "server": cluster["server"],
            "certificate-authority": distrust.authority.display().to_string(),
        });
        write(&distrust.authority, ANOTHER)?;
        write(&distrust.kubeconfig, &changed.to_string())?;
        Ok(distrust)
    }
}
