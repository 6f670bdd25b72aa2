//! Fields of kube-proxy's configuration that are flags of the agent, or nothing at all.

use std::time::Duration;

use super::config::{ConfigError, Section};

const DEFAULT_OOM_SCORE: i32 = -999;
/// `configSyncPeriod` of kube-proxy by default.
const DEFAULT_CONFIG_SYNC: Duration = Duration::from_secs(15 * 60);

/// Takes them, adds flags, and returns what has no equivalent, each with what to do instead.
#[allow(clippy::too_many_lines)] // One look at each field, in their order.
pub(super) fn take(
    root: &mut Section,
    flags: &mut Vec<String>,
) -> Result<Vec<String>, ConfigError> {
    let mut notes = Vec::new();
    let mut note = |field: &str, what: &str| notes.push(format!("{field}: {what}"));

    for (field, flag, port, default) in [
        (
            "healthzBindAddress",
            "--healthz-bind-address",
            10256,
            "0.0.0.0:10256",
        ),
        (
            "metricsBindAddress",
            "--metrics-bind-address",
            10249,
            "127.0.0.1:10249",
        ),
    ] {
        if let Some(address) = root.text(field)? {
            let whole = with_port(&address, port);
            if whole != default {
                flags.push(format!("{flag}={whole}"));
            }
        }
    }
    if let Some(name) = root.text("hostnameOverride")? {
        flags.push(format!("--node-name={name}"));
    }
    let mut client = root.section("clientConnection")?;
    if let Some(file) = client.text("kubeconfig")? {
        flags.push(format!("--kubeconfig={file}"));
    }
    for (field, defaults) in [
        ("contentType", ["application/vnd.kubernetes.protobuf", ""]),
        ("acceptContentTypes", ["", ""]),
    ] {
        if client
            .text(field)?
            .is_some_and(|text| !defaults.contains(&text.as_str()))
        {
            note(
                &format!("clientConnection.{field}"),
                "Sluice talks JSON always, nothing to do",
            );
        }
    }
    for (field, default) in [("qps", 5.0), ("burst", 10.0)] {
        let value = client.take::<f64>(field)?.unwrap_or_default();
        if value != 0.0 && (value - default).abs() > f64::EPSILON {
            note(
                &format!("clientConnection.{field}"),
                "the agent only watches, so it needs no limit: use API priority and fairness of the API server",
            );
        }
    }
    for field in client.unknown() {
        note(
            &field,
            "not a field of KubeProxyConfiguration v1alpha1, left out",
        );
    }
    if root
        .text("bindAddress")?
        .is_some_and(|address| address != "0.0.0.0")
    {
        note(
            "bindAddress",
            "the Node object's InternalIPs say which family and addresses: see that they are right",
        );
    }
    if root.take::<bool>("bindAddressHardFail")? == Some(true) {
        note(
            "bindAddressHardFail",
            "a port of the agent's own that is taken ends it always, nothing to do",
        );
    }
    if root.take::<bool>("enableProfiling")? == Some(true) {
        note(
            "enableProfiling",
            "no profiles over HTTP: use perf on the node",
        );
    }
    if root.text("showHiddenMetricsForVersion")?.is_some() {
        note(
            "showHiddenMetricsForVersion",
            "no metric is hidden, nothing to do",
        );
    }
    if root.text("portRange")?.is_some() {
        note(
            "portRange",
            "kube-proxy has no use for it either, nothing to do",
        );
    }
    if root
        .take::<i32>("oomScoreAdj")?
        .is_some_and(|score| score != DEFAULT_OOM_SCORE)
    {
        note(
            "oomScoreAdj",
            "set OOMScoreAdjust= in the unit, or the priority class of the pod",
        );
    }
    let period = root.duration("configSyncPeriod")?.unwrap_or_default();
    if !period.is_zero() && period != DEFAULT_CONFIG_SYNC {
        note(
            "configSyncPeriod",
            "the agent watches and needs no refresh, nothing to do",
        );
    }
    let mut gates = root.section("featureGates")?;
    if gates.take::<bool>("AllowServiceExternalIPs")? == Some(false) {
        note(
            "featureGates.AllowServiceExternalIPs",
            "kube-proxy served no spec.externalIPs, Sluice does: forbid them in the API server (DenyServiceExternalIPs or an admission policy) and \
             remove those that are there",
        );
    }
    for field in gates.unknown() {
        note(
            &field,
            "no feature gates: what the agent can do is on, nothing to do",
        );
    }
    take_logging(root, flags, &mut note)?;
    for (field, _) in root.section("winkernel")?.set_members() {
        note(&field, "for Windows nodes, which keep kube-proxy");
    }
    if root.take::<bool>("windowsRunAsService")? == Some(true) {
        note(
            "windowsRunAsService",
            "for Windows nodes, which keep kube-proxy",
        );
    }
    Ok(notes)
}

fn take_logging(
    root: &mut Section,
    flags: &mut Vec<String>,
    note: &mut impl FnMut(&str, &str),
) -> Result<(), ConfigError> {
    let mut logging = root.section("logging")?;
    match logging.text("format")?.as_deref() {
        None | Some("text") => {}
        Some("json") => flags.push("--log-format=json".to_owned()),
        Some(_) => note("logging.format", "use --log-format text or json"),
    }
    match logging.take::<u32>("verbosity")?.unwrap_or_default() {
        0..=3 => {}
        4..=5 => flags.push("--log-level=debug".to_owned()),
        _ => flags.push("--log-level=trace".to_owned()),
    }
    // Logs are written at once.
    logging.take::<serde_json::Value>("flushFrequency")?;
    let mut options = logging.section("options")?;
    for name in ["text", "json"] {
        let mut form = options.section(name)?;
        form.take::<serde_json::Value>("infoBufferSize")?;
        for (field, _) in form.set_members() {
            note(&field, "all logs go to standard error, nothing to do");
        }
    }
    for (field, _) in options
        .set_members()
        .into_iter()
        .chain(logging.set_members())
    {
        note(
            &field,
            "use --log-level, which takes a level for each module",
        );
    }
    Ok(())
}

/// An address without a port gets kube-proxy's.
fn with_port(address: &str, port: u16) -> String {
    if address.parse::<std::net::SocketAddr>().is_ok() {
        return address.to_owned();
    }
    match address.trim_matches(['[', ']']).parse::<std::net::IpAddr>() {
        Ok(ip) => std::net::SocketAddr::new(ip, port).to_string(),
        Err(_) => address.to_owned(),
    }
}
