//! Certificates that are not believed.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError};

use crate::Authority;

/// What is wrong between the API server's certificate and what is known of it, and what to change; absent for any other error.
pub fn distrust(error: &(dyn Error + 'static), authority: &Authority) -> Option<String> {
    let words = match find(error)? {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
                "the API server's certificate is signed by unknown authority: check {authority}; {}",
                authority.counts()
            ),
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the API server's certificate has expired: renew it, or set this machine's clock"
                    .to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the API server's certificate is not valid yet: set this machine's clock".to_owned()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the API server's certificate is for another name: check the address that is asked, or give the name as tls-server-name in \
                 the kubeconfig"
                    .to_owned()
            }
            other => format!("the API server's certificate is not accepted ({other:?}): renew it"),
        },
        rustls::Error::AlertReceived(alert) if is_of_certificate(*alert) => format!(
            "the API server does not accept the client certificate ({alert:?}): renew it; a file of its own is read again within a minute, what is \
             in the kubeconfig itself counts from the next start"
        ),
        _ => return None,
    };
    Some(words)
}

fn is_of_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateRequired
    )
}

/// The error of TLS among causes. What an [`io::Error`] was made of is not among its causes.
fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut error = Some(error);
    while let Some(this) = error {
        if let Some(found) = this.downcast_ref() {
            return Some(found);
        }
        let made_of = this
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        if let Some(found) = made_of.and_then(|inner| find(inner as &'a (dyn Error + 'static))) {
            return Some(found);
        }
        error = this.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("a layer")]
    struct Layer(#[source] io::Error);

    #[test]
    fn an_unknown_authority_is_found_behind_other_errors_and_said_with_its_place() {
        let said = |error: rustls::Error| {
            let inner = io::Error::new(io::ErrorKind::InvalidData, error);
            let layers = Layer(io::Error::other(inner));
            distrust(&layers, &Authority::of_pod())
        };
        let unknown = said(CertificateError::UnknownIssuer.into()).unwrap();
        assert!(unknown.contains("unknown authority") && unknown.contains("serviceaccount/ca.crt"));
        let late = said(CertificateError::Expired.into()).unwrap();
        assert!(late.contains("expired") && late.contains("clock"));
        let ours = said(rustls::Error::AlertReceived(AlertDescription::UnknownCA));
        let ours = ours.unwrap();
        assert!(ours.contains("client certificate") && ours.contains("within a minute"));
        assert_eq!(said(rustls::Error::HandshakeNotComplete), None);
        let other = Layer(io::Error::other("no route"));
        assert_eq!(distrust(&other, &Authority::of_pod()), None);
    }
}
