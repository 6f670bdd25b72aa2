//! Flags of the agent that the chart has values for: it gives them itself, and a flag that is given twice is refused. Pure.

use std::fmt::Write as _;

use serde::Serialize;

/// The chart's business: where an agent's pod finds the API server and which node it is on.
const OF_THE_CHART: [&str; 2] = ["--kubeconfig", "--node-name"];

/// What the chart's `agent` is told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AgentValues {
    #[serde(skip_serializing_if = "Option::is_none")]
    health_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<Metrics>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_level: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_format: Option<String>,
    /// Flags that have no value of their own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    extra_args: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Metrics {
    bind_address: String,
    port: u16,
}

impl AgentValues {
    /// Of flags, each with its value; what the chart cannot say is added to the notes.
    pub(super) fn of(flags: Vec<String>, notes: &mut Vec<String>) -> Self {
        let mut values = Self::default();
        for whole in flags {
            let (flag, value) = whole.split_once('=').unwrap_or((&whole, ""));
            match flag {
                _ if OF_THE_CHART.contains(&flag) => {}
                "--log-level" => values.log_level = Some(value.to_owned()),
                "--log-format" => values.log_format = Some(value.to_owned()),
                "--healthz-bind-address" => match address_and_port(value) {
                    Some((address, port)) => {
                        values.health_port = Some(port);
                        if !["0.0.0.0", "::"].contains(&address) {
                            notes.push(format!(
                                "healthzBindAddress: agents of the chart answer on every address of the node, not on {address} alone, since probes come from elsewhere"
                            ));
                        }
                    }
                    None => notes.push(unreadable("healthzBindAddress", value)),
                },
                "--metrics-bind-address" => match address_and_port(value) {
                    Some((address, port)) => {
                        let bind_address = address.to_owned();
                        values.metrics = Some(Metrics { bind_address, port });
                    }
                    None => notes.push(unreadable("metricsBindAddress", value)),
                },
                _ => values.extra_args.push(whole),
            }
        }
        values
    }

    /// As YAML; empty where there is nothing to tell.
    pub(super) fn yaml(&self) -> String {
        if *self == Self::default() {
            return String::new();
        }
        let mut text = "agent:\n".to_owned();
        let mut line = |depth: usize, key: &str, value: &str| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{:1$}{key}: {value}", "", depth * 2);
        };
        if let Some(port) = self.health_port {
            line(1, "healthPort", &port.to_string());
        }
        if let Some(Metrics { bind_address, port }) = &self.metrics {
            line(1, "metrics", "");
            line(2, "bindAddress", &format!("{bind_address:?}"));
            line(2, "port", &port.to_string());
        }
        let words = [
            ("logLevel", &self.log_level),
            ("logFormat", &self.log_format),
        ];
        for (key, value) in words {
            if let Some(value) = value {
                line(1, key, value);
            }
        }
        if !self.extra_args.is_empty() {
            line(1, "extraArgs", &format!("{:?}", self.extra_args));
        }
        text.replace(": \n", ":\n")
    }
}

fn address_and_port(text: &str) -> Option<(&str, u16)> {
    let (address, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    Some((address.trim_start_matches('[').trim_end_matches(']'), port))
}

fn unreadable(field: &str, value: &str) -> String {
    format!("{field}: {value} is no address with a port, so the chart's default stays")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(flags: &[&str]) -> (String, Vec<String>) {
        let mut notes = Vec::new();
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let values = AgentValues::of(flags, &mut notes);
        (values.yaml(), notes)
    }

    #[test]
    fn what_the_chart_gives_itself_is_a_value_and_no_flag() {
        let flags = [
            "--kubeconfig=/k",
            "--node-name=a",
            "--healthz-bind-address=[::]:10300",
            "--metrics-bind-address=0.0.0.0:10249",
            "--log-level=debug",
            "--log-format=json",
        ];
        let values = "agent:\n  healthPort: 10300\n  metrics:\n    bindAddress: \"0.0.0.0\"\n    port: 10249\n  logLevel: debug\n  logFormat: json\n";
        assert_eq!(of(&flags), (values.to_owned(), vec![]));
        assert_eq!(
            of(&["--other=1"]).0,
            "agent:\n  extraArgs: [\"--other=1\"]\n"
        );
        assert_eq!(of(&[]), (String::new(), vec![]));
    }

    #[test]
    fn what_the_chart_cannot_say_is_told() {
        for (flag, words) in [
            ("--healthz-bind-address=192.0.2.1:10256", "on every address"),
            ("--healthz-bind-address=0.0.0.0:0", "no address with a port"),
            ("--metrics-bind-address=here", "no address with a port"),
        ] {
            let (_, notes) = of(&[flag]);
            assert!(notes.len() == 1 && notes[0].contains(words), "{notes:?}");
        }
    }
}
