use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};

use super::*;
use crate::Access;

const FIRST: &str = include_str!("first.pem");
const SECOND: &str = include_str!("second.pem");

fn certificate(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

/// A server that answers each request on a connection of its own, and tells whose certificate the client had.
fn server() -> (u16, Receiver<Vec<u8>>) {
    let mut clients = RootCertStore::empty();
    for pem in [FIRST, SECOND] {
        clients.add(certificate(pem)).unwrap();
    }
    let verifier = WebPkiClientVerifier::builder(Arc::new(clients));
    let key = PrivateKeyDer::from_pem_slice(FIRST.as_bytes()).unwrap();
    let config = ServerConfig::builder()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![certificate(FIRST)], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (told, clients) = mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut tls = rustls::Stream::new(&mut connection, &mut stream);
            let mut buffer = [0; 4096];
            if tls.read(&mut buffer).is_err() {
                continue;
            }
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
            tls.write_all(answer).unwrap();
            let client = connection.peer_certificates().unwrap()[0].to_vec();
            if told.send(client).is_err() {
                return;
            }
        }
    });
    (port, clients)
}

fn kubeconfig(directory: &Path, port: u16) -> PathBuf {
    let path = directory.join("kubeconfig");
    let text = format!(
        "{{apiVersion: v1, kind: Config, current-context: x, contexts: [{{name: x, context: {{cluster: c, user: u}}}}], \
         clusters: [{{name: c, cluster: {{server: 'https://127.0.0.1:{port}', insecure-skip-tls-verify: true}}}}], \
         users: [{{name: u, user: {{client-certificate: current.pem, client-key: current.pem}}}}]}}"
    );
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test]
async fn a_certificate_that_is_replaced_counts_at_the_next_look_and_rubbish_does_not() {
    let (port, clients) = server();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("current.pem");
    std::fs::write(&file, FIRST).unwrap();
    let access = Access {
        kubeconfig: Some(kubeconfig(directory.path(), port)),
        server: None,
    };
    let config = access.open().await.unwrap().config;
    let mut renewed = Renewed::new(config).unwrap();

    for (written, is_due, expected) in [
        (FIRST, true, FIRST),
        // Not before it is looked at.
        (SECOND, false, FIRST),
        (SECOND, true, SECOND),
        ("-----BEGIN CERTIFICATE-----\nhalf", true, SECOND),
        (FIRST, true, FIRST),
    ] {
        std::fs::write(&file, written).unwrap();
        if is_due {
            renewed.next_look = Instant::now();
        }
        let request = Request::get("/version").body(Body::empty()).unwrap();
        let answer = renewed.call(request).await.unwrap();
        assert!(answer.status().is_success());
        let client = clients.recv().unwrap();
        let is_expected = client == certificate(expected).as_ref();
        assert!(is_expected, "{written}");
    }
}

#[test]
fn what_the_kubeconfig_has_itself_has_no_file() {
    let files_and_data = AuthInfo {
        client_certificate: Some("current.crt".to_owned()),
        client_key: Some("current.key".to_owned()),
        ..AuthInfo::default()
    };
    assert_eq!(files(&files_and_data).len(), 2);
    let data = AuthInfo {
        client_certificate_data: Some("Zm9v".to_owned()),
        ..files_and_data
    };
    assert_eq!(files(&data), [PathBuf::from("current.key")]);
    assert!(files(&AuthInfo::default()).is_empty());
}
