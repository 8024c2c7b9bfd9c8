//! Metrics of the certificate authority, with the names Istio's has.

use super::Reason;
use crate::signing::{Signer, current};
use ambit_ca::rotation::Step;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StepLabel {
    step: &'static str,
}

/// What came of a look at the authority.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reload {
    /// Another set is in use.
    Adopted,
    /// Another set is there and not good.
    Refused,
    /// It could not be read.
    Unreadable,
}

/// Counters of the authority. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct AuthorityMetrics {
    /// Certificate requests.
    pub(crate) csrs: Counter,
    /// Certificates signed.
    pub(crate) issued: Counter,
    refused: Family<Reason, Counter>,
    unreadable_csrs: Counter,
    unreadable_ids: Counter,
    sign_errors: Counter,
    reloads: Family<ResultLabel, Counter>,
    steps: Family<StepLabel, Counter>,
}

impl AuthorityMetrics {
    /// A request was refused.
    pub(crate) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&Reason { reason }).inc();
        match reason {
            "csr" => self.unreadable_csrs.inc(),
            "identity" => self.unreadable_ids.inc(),
            "sign" => self.sign_errors.inc(),
            _ => 0,
        };
    }

    pub(crate) fn reloaded(&self, how: Reload) {
        let result = match how {
            Reload::Adopted => "adopted",
            Reload::Refused => "refused",
            Reload::Unreadable => "unreadable",
        };
        self.reloads.get_or_create(&ResultLabel { result }).inc();
    }

    pub(crate) fn stepped(&self, step: Step) {
        let step = step.as_str();
        self.steps.get_or_create(&StepLabel { step }).inc();
    }

    pub(super) fn register(&self, registry: &mut Registry, signer: Signer) {
        let mut add = |name: &str, help: &str, counter: &Counter| {
            registry.register(name, help, counter.clone());
        };
        add(
            "citadel_server_csr_count",
            "Certificate requests",
            &self.csrs,
        );
        add(
            "citadel_server_success_cert_issuance_count",
            "Certificates signed",
            &self.issued,
        );
        add(
            "citadel_server_csr_parsing_err_count",
            "Requests whose CSR cannot be read",
            &self.unreadable_csrs,
        );
        add(
            "citadel_server_id_extraction_err_count",
            "Requests for identities that cannot be read",
            &self.unreadable_ids,
        );
        add(
            "citadel_server_csr_sign_err_count",
            "Requests that could not be signed",
            &self.sign_errors,
        );
        registry.register(
            "citadel_server_authentication_failure_count",
            "Certificate requests refused, by reason",
            self.refused.clone(),
        );
        registry.register(
            "ambit_ca_reloads",
            "Other certificate authorities found, by what came of them",
            self.reloads.clone(),
        );
        registry.register(
            "ambit_ca_root_steps",
            "Steps of changes of roots, done by this replica",
            self.steps.clone(),
        );
        registry.register_collector(Box::new(Ends { signer }));
    }
}

/// When things end, at scrape.
struct Ends {
    signer: Signer,
}

impl std::fmt::Debug for Ends {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ends")
    }
}

impl Collector for Ends {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let signing = current(&self.signer);
        let mut gauge = |name: &str, help: &str, value: i64| {
            let value = ConstGauge::new(value);
            value.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
        };
        let now = seconds(SystemTime::now());
        let root = signing.issuer.roots().facts();
        let root = root.first().map_or(0, |root| seconds(root.not_after));
        let mut ends = vec![("root_cert", "root that signs", root)];
        // Of an authority outside nobody knows.
        if let Some(end) = signing.issuer.not_after() {
            ends.push(("cert_chain", "signing chain", seconds(end)));
        }
        for (part, what, end) in ends {
            let timestamp = format!("citadel_server_{part}_expiry_timestamp");
            gauge(
                &timestamp,
                &format!("Unix time of the end of the {what}"),
                end,
            )?;
            let left = format!("citadel_server_{part}_expiry_seconds");
            gauge(
                &left,
                &format!("Seconds until the end of the {what}"),
                end - now,
            )?;
        }
        let published = i64::try_from(signing.published.len()).unwrap_or(i64::MAX);
        gauge("ambit_ca_roots", "Roots that are published", published)?;
        let refused = i64::from(signing.refusal.is_some());
        gauge(
            "ambit_ca_refused",
            "1 while the certificate authority that lies there is not used",
            refused,
        )
    }
}

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
