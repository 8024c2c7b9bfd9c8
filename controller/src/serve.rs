//! The ports: xDS and certificates over TLS, metrics and debug over HTTP, the webhook over TLS.

mod by_path;
pub(crate) mod ca;
pub(crate) mod debug;
pub(crate) mod http;
pub(crate) mod tls;
pub(crate) mod tokens;
pub(crate) mod webhook;
pub(crate) mod xds;

use crate::signing::Signer;
use ambit_ca::authorize::Rules;
use tokens::Tokens;

/// Signing, and who may ask.
pub(crate) struct Authority {
    pub(crate) signer: Signer,
    pub(crate) tokens: Tokens,
    pub(crate) rules: Rules,
}
