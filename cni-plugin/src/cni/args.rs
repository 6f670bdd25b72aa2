//! `CNI_ARGS`: whose sandbox it is, in the words of Kubernetes' runtimes.

use sluice_attachment::Pod;

use super::EnvironmentError;

/// Of a name of Kubernetes: a DNS subdomain.
const MAX_NAME_BYTES: usize = 253;

/// The pod, where the arguments name one. Keys that are not known are other plugins'.
pub(super) fn pod(text: &str) -> Result<Option<Pod>, EnvironmentError> {
    let (mut namespace, mut name, mut uid) = (None, None, None);
    for pair in text.split(';').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or(EnvironmentError::NotAPair)?;
        match key {
            "K8S_POD_NAMESPACE" => namespace = checked(key, value)?,
            "K8S_POD_NAME" => name = checked(key, value)?,
            "K8S_POD_UID" => uid = checked(key, value)?,
            _ => {}
        }
    }
    Ok(namespace.zip(name).map(|(namespace, name)| Pod {
        namespace,
        name,
        uid,
    }))
}

fn checked(key: &str, value: &str) -> Result<Option<String>, EnvironmentError> {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if value.len() > MAX_NAME_BYTES || !value.bytes().all(inner) {
        return Err(EnvironmentError::NotAName {
            key: key.to_owned(),
        });
    }
    Ok(Some(value.to_owned()).filter(|value| !value.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::pod;

    #[test]
    fn a_pod_has_a_namespace_and_a_name() {
        let read = |text| {
            let pod = pod(text).unwrap()?;
            Some((pod.namespace, pod.name, pod.uid))
        };
        let some = |namespace: &str, name: &str, uid: Option<&str>| {
            Some((
                namespace.to_owned(),
                name.to_owned(),
                uid.map(str::to_owned),
            ))
        };
        assert_eq!(read(""), None);
        assert_eq!(read("IgnoreUnknown=1;MAC=02:11:22:33:44:55"), None);
        assert_eq!(read("K8S_POD_NAME=web"), None);
        assert_eq!(
            read("IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;"),
            some("shop", "web-0", None)
        );
        assert_eq!(
            read("K8S_POD_UID=1-2;K8S_POD_NAME=w;K8S_POD_NAMESPACE=n;OTHER=a=b"),
            some("n", "w", Some("1-2"))
        );
    }

    #[test]
    fn what_is_no_pair_or_no_name_is_refused() {
        for text in [
            "x",
            "K8S_POD_NAME",
            "K8S_POD_NAME=a/b",
            "K8S_POD_NAMESPACE=a b",
        ] {
            assert!(pod(text).is_err(), "{text}");
        }
        assert!(pod(&format!("K8S_POD_NAME={}", "a".repeat(254))).is_err());
    }
}
