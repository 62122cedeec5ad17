//! `membox ready`.

use crate::client::TlsArgs;
use crate::config::Config;
use anyhow::{Context, Result, bail};
use clap::Args;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use ureq::Agent;
use ureq::tls::TlsConfig;

/// How long the answer may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Ask a box whether it is ready: the exit code is 0, or 1 with the reason.
///
/// Without --url it is the box of these settings (`listen`, `tls_certificate_file`) on this machine, whatever its
/// certificate says: for health checks of containers. A box that wants certificates of its clients is given one by
/// MEMBOX_CLIENT_CERTIFICATE_FILE and MEMBOX_CLIENT_KEY_FILE.
#[derive(Args)]
pub struct ReadyArgs {
    /// Another box.
    #[arg(long, env = "MEMBOX_URL", value_name = "URL")]
    url: Option<String>,
    #[command(flatten)]
    tls: TlsArgs,
}

/// The address at which this machine reaches its own box.
fn own(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// Runs `membox ready`.
pub fn run(config: &Config, args: &ReadyArgs) -> Result<()> {
    let (url, tls) = match &args.url {
        Some(url) => (url.trim_end_matches('/').to_owned(), args.tls.config()?),
        None => {
            let scheme = if config.tls_certificate_file.is_some() { "https" } else { "http" };
            let client = args.tls.config()?.client_cert().cloned();
            // What is asked is on this machine: a certificate that names it need not name its loopback too.
            let tls = TlsConfig::builder().client_cert(client).disable_verification(true).build();
            (format!("{scheme}://{}", own(config.listen)), tls)
        }
    };
    let agent = Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).tls_config(tls);
    // No proxy leads to this machine.
    let agent = if args.url.is_none() { agent.proxy(None) } else { agent };
    let agent: Agent = agent.build().into();
    let url = format!("{url}/ready");
    let mut answer = agent.get(&url).call().with_context(|| format!("{url} does not answer"))?;
    let status = answer.status();
    let said = answer.body_mut().read_to_string().unwrap_or_default();
    if status != 200 {
        bail!("{url} answered {status}: {said}");
    }
    println!("{said}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_on_all_addresses_is_reached_by_this_machines_own() {
        for (listen, expected) in [
            ("0.0.0.0:8420", "127.0.0.1:8420"),
            ("[::]:8420", "[::1]:8420"),
            ("192.0.2.1:8420", "192.0.2.1:8420"),
            ("127.0.0.1:9", "127.0.0.1:9"),
        ] {
            assert_eq!(own(listen.parse().expect("an address")), expected.parse().expect("an address"));
        }
    }
}
