//! Where the agent answers, as flags say it.

use std::net::SocketAddr;

use clap::Args;

use crate::http::port_on_every_address;

/// Where health is told. Whoever tells what an agent would program must know it too: there is a rule for its port.
#[derive(Debug, Clone, Args)]
pub(super) struct HealthArgs {
    /// Where /healthz and /livez answer; `0.0.0.0` means all addresses of both families, `off` nowhere
    #[arg(long, default_value = "0.0.0.0:10256", value_name = "ADDRESS:PORT", value_parser = address)]
    healthz_bind_address: OptionalAddress,
}

impl HealthArgs {
    /// Where it is told.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.healthz_bind_address.0
    }

    /// The port, where health is told on every address.
    pub(super) fn port(&self) -> Option<u16> {
        self.address().and_then(port_on_every_address)
    }
}

/// An address, or `off`.
#[derive(Debug, Clone, Copy)]
pub(super) struct OptionalAddress(pub(super) Option<SocketAddr>);

pub(super) fn address(text: &str) -> Result<OptionalAddress, String> {
    if text == "off" {
        return Ok(OptionalAddress(None));
    }
    let address = text
        .parse()
        .map_err(|_| "is not ADDRESS:PORT: write 0.0.0.0:10256, [::1]:10256 or `off`".to_owned())?;
    Ok(OptionalAddress(Some(address)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_health_port_counts_where_health_is_told_on_every_address() {
        for (flag, port) in [
            ("0.0.0.0:10256", Some(10_256)),
            ("[::]:10300", Some(10_300)),
            ("off", None),
            ("127.0.0.1:10256", None),
            ("[::1]:10256", None),
            ("192.0.2.1:10256", None),
            ("0.0.0.0:0", None),
        ] {
            let args = HealthArgs {
                healthz_bind_address: address(flag).unwrap(),
            };
            assert_eq!(args.port(), port, "{flag}");
        }
        assert!(address("10256").is_err());
    }
}
