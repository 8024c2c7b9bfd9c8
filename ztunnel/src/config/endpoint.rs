//! Where the controller is and how it is trusted.

use ambit_runtime::env::{Env, Reader};
use std::path::PathBuf;

/// A gRPC server of the control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlEndpoint {
    /// `http://` or `https://` URL.
    pub address: String,
    /// Who signs its certificate.
    pub root: RootCertificate,
    /// Server name accepted instead of the host of `address`.
    pub server_name: Option<String>,
}

/// Who signs the controller's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootCertificate {
    /// A PEM file, read again for each connection.
    File(PathBuf),
    /// PEM text.
    Inline(String),
}

/// The credential shown to the controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// None.
    Absent,
    /// A file, read again for each request, because the kubelet renews it.
    File(PathBuf),
    /// The token itself.
    Literal(String),
}

/// `None` when `XDS_ADDRESS` is set and empty, which switches xDS off.
pub(super) fn xds(env: &dyn Env, reader: &Reader<'_>) -> Option<ControlEndpoint> {
    if env.lookup("XDS_ADDRESS").is_some_and(|v| v.is_empty()) {
        return None;
    }
    Some(endpoint(
        reader,
        ["XDS_ADDRESS", "XDS_ROOT_CA", "ALT_XDS_HOSTNAME"],
    ))
}

pub(super) fn ca(reader: &Reader<'_>) -> ControlEndpoint {
    endpoint(reader, ["CA_ADDRESS", "CA_ROOT_CA", "ALT_CA_HOSTNAME"])
}

pub(super) fn token(reader: &Reader<'_>) -> Token {
    const DEFAULT: &str = "./var/run/secrets/tokens/istio-token";
    match reader.text("AUTH_TOKEN") {
        // A token has no path separator; a path that does not exist yet may appear.
        Some(text) if text.contains('/') => Token::File(text.into()),
        Some(text) => Token::Literal(text),
        None if std::path::Path::new(DEFAULT).exists() => Token::File(DEFAULT.into()),
        None => Token::Absent,
    }
}

fn endpoint(reader: &Reader<'_>, [address, root, name]: [&str; 3]) -> ControlEndpoint {
    let in_cluster = reader.text("KUBERNETES_SERVICE_HOST").is_some();
    let host = if in_cluster {
        "istiod.istio-system.svc"
    } else {
        "localhost"
    };
    let given = reader.or(address, format!("https://{host}:15012"));
    let url = if given.contains("://") {
        given
    } else {
        format!("https://{given}")
    };
    let wrong = match url.split_once("://") {
        Some(("http" | "https", rest)) if !rest.is_empty() => None,
        Some(("http" | "https", _)) => Some("has no host"),
        _ => Some("must begin with http:// or https://"),
    };
    if let Some(reason) = wrong {
        reader.reject(address, Some(url.clone()), reason);
    }
    let root_text = reader.or(root, "./var/run/secrets/istio/root-cert.pem".to_owned());
    let root_certificate = if root_text.contains("-----BEGIN") {
        RootCertificate::Inline(root_text)
    } else {
        if root_text == "SYSTEM" {
            reader.reject(
                root,
                Some(root_text.clone()),
                "system roots are not supported yet",
            );
        }
        RootCertificate::File(root_text.into())
    };
    ControlEndpoint {
        address: url,
        root: root_certificate,
        server_name: reader.text(name),
    }
}
