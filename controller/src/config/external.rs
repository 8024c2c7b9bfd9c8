//! Settings of an authority outside.
//! Source: Istio's `EXTERNAL_CA`, `K8S_SIGNER`, `CERT_SIGNER_DOMAIN`.

use ambit_ca::external::signers::Signers;
use ambit_runtime::causes::causes;
use std::path::PathBuf;

/// The only kind there is.
const KIND: &str = "ISTIOD_RA_KUBERNETES_API";

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct ExternalArgs {
    /// Have certificates signed by somebody else: `ISTIOD_RA_KUBERNETES_API` makes CertificateSigningRequests; with an
    /// API server only.
    #[arg(long, env = "EXTERNAL_CA", default_value = "", value_name = "KIND")]
    pub external_ca: String,
    /// Signer of requests that name none, and of the controller's own certificates.
    #[arg(long, env = "K8S_SIGNER", default_value = "", value_name = "SIGNER")]
    pub k8s_signer: String,
    /// Domain of signers that requests name (`CertSigner`); empty: they may name none.
    #[arg(
        long,
        env = "CERT_SIGNER_DOMAIN",
        default_value = "",
        value_name = "DOMAIN"
    )]
    pub cert_signer_domain: String,
    /// Whether the controller approves the requests it makes; else somebody else has to.
    #[arg(
        long,
        env = "EXTERNAL_CA_APPROVE",
        default_value_t = true,
        action = clap::ArgAction::Set
    )]
    pub external_ca_approve: bool,
    /// Directory with `root-cert.pem`, the roots of those signers.
    #[arg(
        long,
        env = "EXTERNAL_CA_CERT_DIR",
        default_value = "/etc/external-ca-cert",
        value_name = "DIR"
    )]
    pub external_ca_cert_dir: PathBuf,
}

/// An authority outside.
#[derive(Clone, Debug)]
pub struct ExternalConfig {
    /// Who signs.
    pub signers: Signers,
    /// Whether we approve.
    pub approve: bool,
    /// Where its roots are.
    pub roots_dir: PathBuf,
}

impl ExternalArgs {
    /// Checks the settings; what is wrong is added to `mistakes`.
    pub(super) fn config(
        &self,
        in_cluster: bool,
        mistakes: &mut Vec<String>,
    ) -> Option<ExternalConfig> {
        let (kind, signer) = (&self.external_ca, &self.k8s_signer);
        if kind.is_empty() {
            if !signer.is_empty() || !self.cert_signer_domain.is_empty() {
                mistakes.push(format!(
                    "K8S_SIGNER and CERT_SIGNER_DOMAIN say nothing without EXTERNAL_CA={KIND}"
                ));
            }
            return None;
        }
        if kind != KIND {
            mistakes.push(format!("EXTERNAL_CA: `{kind}` is not known, {KIND} is"));
            return None;
        }
        if !in_cluster {
            mistakes.push(format!("EXTERNAL_CA={kind} needs an API server"));
            return None;
        }
        match Signers::new(signer, &self.cert_signer_domain) {
            Ok(signers) => Some(ExternalConfig {
                signers,
                approve: self.external_ca_approve,
                roots_dir: self.external_ca_cert_dir.clone(),
            }),
            Err(error) => {
                mistakes.push(causes(&error));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Args, Config, Source};
    use clap::Parser;

    fn config(more: &[&str]) -> Result<Config, String> {
        let args = Args::try_parse_from(["ambit-controller"].iter().chain(more)).unwrap();
        args.config().map_err(|error| error.to_string())
    }

    #[test]
    fn a_kind_that_is_not_known_and_settings_without_one_are_refused_in_words() {
        let kind = "--external-ca=ISTIOD_RA_KUBERNETES_API";
        let known = config(&[kind, "--k8s-signer=a.example/b"]).unwrap();
        let Source::Cluster(cluster) = known.source else {
            panic!("a directory");
        };
        let external = cluster.external.unwrap();
        assert_eq!(external.signers.default_signer(), "a.example/b");
        assert!(external.approve);
        for (arguments, words) in [
            (
                &["--external-ca=VAULT"][..],
                "`VAULT` is not known, ISTIOD_RA_KUBERNETES_API is",
            ),
            (&[kind], "K8S_SIGNER is empty"),
            (&["--k8s-signer=a.example/b"], "without EXTERNAL_CA"),
            (
                &[kind, "--k8s-signer=kubernetes.io/kubelet-serving"],
                "for the cluster itself",
            ),
            (
                &[
                    kind,
                    "--k8s-signer=a.example/b",
                    "--source-dir=d",
                    "--jwks=j",
                    "--ca-dir=c",
                ],
                "needs an API server",
            ),
        ] {
            let refused = config(arguments).unwrap_err();
            assert!(refused.contains(words), "{refused}");
        }
    }
}
