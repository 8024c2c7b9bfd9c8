//! The two ports: xDS and certificates over TLS, metrics and debug over HTTP.

mod by_path;
pub(crate) mod ca;
pub(crate) mod debug;
pub(crate) mod http;
pub(crate) mod tls;
pub(crate) mod xds;

use ambit_ca::auth::Authenticator;
use ambit_ca::authority;
use ambit_ca::authorize::Rules;

/// Signing, and who may ask.
pub(crate) struct Authority {
    pub(crate) signer: authority::Authority,
    pub(crate) authenticator: Authenticator,
    pub(crate) rules: Rules,
}
