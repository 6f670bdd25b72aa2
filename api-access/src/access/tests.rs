use super::*;

const KUBECONFIG: &str = "
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: 'https://10.96.0.1:443'}}]
users: [{name: u, user: {token: t}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
";

/// As far as a client.
fn open(access: &Access) -> Result<Opened, AccessError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(async {
            let opened = access.open().await?;
            opened.client(&Requests::default())?;
            Ok(opened)
        })
}

fn by(kubeconfig: PathBuf) -> Access {
    Access {
        kubeconfig: Some(kubeconfig),
        server: None,
    }
}

#[test]
fn what_cannot_be_used_is_said_with_its_path_and_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let absent = directory.path().join("absent");
    let other_context = KUBECONFIG.replace("current-context: x", "current-context: y");
    let cluster = "server: 'https://10.96.0.1:443'";
    let with = |more: &str| KUBECONFIG.replace(cluster, &format!("{cluster}, {more}"));
    let rubbish = at("rubbish.crt", "-----BEGIN CERTIFICATE-----\nno\n");
    let rubbish = with(&format!("certificate-authority: '{}'", rubbish.display()));
    for (path, words) in [
        (absent, "put one there"),
        (directory.path().to_owned(), "check that it is a file"),
        (at("no-yaml", "a: ["), "check that it is YAML"),
        (at("empty", ""), "check that"),
        (at("context", &other_context), "current context"),
        (
            at("no-authority", &with("certificate-authority: gone.crt")),
            "gone.crt",
        ),
        (at("rubbish", &rubbish), "rubbish.crt"),
        (
            at("no-base64", &with("certificate-authority-data: '%%'")),
            "certificate authority",
        ),
    ] {
        let error = open(&by(path.clone())).unwrap_err().to_string();
        let path = path.display().to_string();
        assert!(error.contains(&path) && error.contains(words), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn another_address_counts_and_must_be_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kubeconfig");
    std::fs::write(&path, KUBECONFIG).unwrap();
    let at = |server: &str| {
        open(&Access {
            server: Some(server.to_owned()),
            ..by(path.clone())
        })
    };
    let config = at("https://192.0.2.5:6443").unwrap().config;
    assert_eq!(config.cluster_url.to_string(), "https://192.0.2.5:6443/");
    for wrong in ["192.0.2.5:6443", "https://", "https://a b"] {
        let error = at(wrong).unwrap_err().to_string();
        assert!(error.contains("https://HOST:PORT"), "{wrong}: {error}");
    }
}
