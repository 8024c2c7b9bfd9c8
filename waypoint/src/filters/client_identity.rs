//! Who called, for policies, routes and applications: `x-forwarded-client-cert`.
//! In: the identity that TLS proved. Out: a header that says nothing else, whatever the caller wrote into it; without
//! an identity none. Policies and routes always see it, applications unless the gateway withholds it.
//! Spec: Envoy `x-forwarded-client-cert`, `SANITIZE_SET`; Istio `ambient.istio.io/xfcc-include-client-identity`.

use crate::downstream::Downstream;
use ambit_model::ids::SpiffeId;
use http::header::{HeaderMap, HeaderName, HeaderValue};

/// Who the client proved to be.
pub(crate) const X_FORWARDED_CLIENT_CERT: HeaderName =
    HeaderName::from_static("x-forwarded-client-cert");

/// What is said of a client of ours.
pub(crate) fn value(client: &SpiffeId, us: &SpiffeId) -> Option<HeaderValue> {
    // Identities have no characters that need quotes.
    HeaderValue::from_str(&format!("By={us};URI={client}")).ok()
}

/// Puts it in the place of what the client wrote, before anybody looks.
pub(crate) fn claim(downstream: &Downstream, headers: &mut HeaderMap) {
    put(headers, downstream.certificate.as_ref());
}

/// Puts it there again for the application: the caller may have named the header among those of its connection.
pub(crate) fn pass_on(downstream: &Downstream, headers: &mut HeaderMap) {
    let view = downstream.worker.state.load();
    let told = view.gateway().is_some_and(|g| !g.withholds_client);
    put(headers, downstream.certificate.as_ref().filter(|_| told));
}

fn put(headers: &mut HeaderMap, value: Option<&HeaderValue>) {
    match value {
        Some(value) => drop(headers.insert(X_FORWARDED_CLIENT_CERT, value.clone())),
        None => drop(headers.remove(X_FORWARDED_CLIENT_CERT)),
    }
}
