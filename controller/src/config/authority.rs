//! Settings of the certificate authority: lifetimes, and how its changes are paced.

use ambit_ca::authority::Lifetimes;
use ambit_ca::rotation::Pace;
use ambit_runtime::env::parse_duration;
use std::time::Duration;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct AuthorityArgs {
    /// Lifetime of certificates when a request names none.
    #[arg(long, env = "CERT_TTL", default_value = "24h", value_name = "DURATION")]
    pub cert_ttl: String,
    /// Longest lifetime of a certificate.
    #[arg(
        long,
        env = "MAX_CERT_TTL",
        default_value = "2160h",
        value_name = "DURATION"
    )]
    pub max_cert_ttl: String,
    /// How often the certificate authority is looked at for changes.
    #[arg(
        long,
        env = "CA_RELOAD_INTERVAL",
        default_value = "10s",
        value_name = "DURATION"
    )]
    pub ca_reload_interval: String,
    /// How long a new root is published before it signs: until all proxies have it.
    #[arg(
        long,
        env = "CA_ROOT_SETTLE",
        default_value = "5m",
        value_name = "DURATION"
    )]
    pub ca_root_settle: String,
    /// How long a root that signs no more is still published, never shorter than a new one before it signs;
    /// by default as long as certificates live that name no lifetime.
    #[arg(long, env = "CA_ROOT_OVERLAP", value_name = "DURATION")]
    pub ca_root_overlap: Option<String>,
    /// Lifetime of a self-signed root.
    #[arg(
        long,
        env = "CITADEL_SELF_SIGNED_CA_CERT_TTL",
        default_value = "87600h",
        value_name = "DURATION"
    )]
    pub root_ttl: String,
    /// How often a self-signed root is asked whether it is time to renew it, about.
    #[arg(
        long,
        env = "CITADEL_SELF_SIGNED_ROOT_CERT_CHECK_INTERVAL",
        default_value = "1h",
        value_name = "DURATION"
    )]
    pub root_check: String,
    /// Share of its life, in percent, that a self-signed root has left when it is renewed.
    #[arg(
        long,
        env = "CITADEL_SELF_SIGNED_ROOT_CERT_GRACE_PERIOD_PERCENTILE",
        default_value_t = 20,
        value_parser = clap::value_parser!(u8).range(1..=90),
        value_name = "PERCENT"
    )]
    pub root_grace: u8,
}

/// How the authority is kept.
#[derive(Clone, Copy, Debug)]
pub struct AuthorityConfig {
    /// Lifetimes of leaves.
    pub lifetimes: Lifetimes,
    /// How often it is looked at, and at what is published.
    pub look: Duration,
    /// How long the steps of a change of roots take.
    pub pace: Pace,
    /// Life of a self-signed root.
    pub root_lifetime: Duration,
    /// Share of that, in percent, that is left when it is renewed.
    pub root_grace_percent: u8,
    /// How often a self-signed root is asked whether it is time, about.
    pub root_check: Duration,
}

impl Default for AuthorityConfig {
    fn default() -> Self {
        let lifetimes = Lifetimes::default();
        Self {
            lifetimes,
            look: Duration::from_secs(10),
            pace: Pace {
                settle: Duration::from_secs(300),
                overlap: lifetimes.default,
            },
            root_lifetime: Duration::from_secs(3650 * 24 * 3600),
            root_grace_percent: 20,
            root_check: Duration::from_secs(3600),
        }
    }
}

impl AuthorityArgs {
    /// Checks the settings; what is wrong is added to `mistakes`.
    pub(super) fn config(&self, mistakes: &mut Vec<String>) -> AuthorityConfig {
        let mut duration = |name: &str, text: &str| {
            let parsed = parse_duration(text).filter(|d| !d.is_zero());
            parsed.unwrap_or_else(|| {
                mistakes.push(format!("--{name}: `{text}` is not a duration"));
                Duration::ZERO
            })
        };
        let lifetimes = Lifetimes {
            default: duration("cert-ttl", &self.cert_ttl),
            max: duration("max-cert-ttl", &self.max_cert_ttl),
        };
        let settle = duration("ca-root-settle", &self.ca_root_settle);
        let overlap = match &self.ca_root_overlap {
            Some(text) => duration("ca-root-overlap", text),
            None => lifetimes.default,
        };
        AuthorityConfig {
            lifetimes,
            look: duration("ca-reload-interval", &self.ca_reload_interval),
            pace: Pace {
                settle,
                // Proxies need as long to learn that another root signs as that there is one.
                overlap: overlap.max(settle),
            },
            root_lifetime: duration("root-ttl", &self.root_ttl),
            root_grace_percent: self.root_grace,
            root_check: duration("root-check", &self.root_check),
        }
    }
}
