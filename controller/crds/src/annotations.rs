//! Annotations of Gateways and GatewayClasses, read once for validation and index. Pure.
//! In: annotations of one object. Out: what they say; absent and empty ones say nothing; or what is wrong.
//! Source: istio/api annotation/annotations.yaml; Istio's gateway deployer and waypoint conversion.

use crate::object::{is_dns_label, is_dns_subdomain};
use std::collections::BTreeMap;

/// Name of the generated Service, Deployment, autoscaler and budget.
pub const NAME_OVERRIDE: &str = "gateway.istio.io/name-override";
/// Name of the service account that they run with.
pub const SERVICE_ACCOUNT: &str = "gateway.istio.io/service-account";
/// Who runs the Gateway: the largest number wins.
pub const CONTROLLER_VERSION: &str = "gateway.istio.io/controller-version";
/// How a node proxy hands connections to the Gateway's pods: `NONE`, `PROXY`, `PROXY/<port>`.
pub const INBOUND_BINDING: &str = "ambient.istio.io/waypoint-inbound-binding";
/// `true` or `false`: whether applications are told who called, in `x-forwarded-client-cert`.
pub const CLIENT_IDENTITY: &str = "ambient.istio.io/xfcc-include-client-identity";

/// Of this logic, among those of Istio's that generate the same objects.
const OWN_VERSION: u64 = 5;

/// Annotations or labels.
pub type Annotations = BTreeMap<String, String>;

/// How a node proxy hands over the connections of a waypoint that does not speak HBONE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InboundBinding {
    /// As of any pod.
    None,
    /// With a PROXY protocol header.
    Proxy {
        /// To this port; 0: to the one that was asked for.
        port: u16,
    },
}

fn given<'a>(annotations: &'a Annotations, name: &str) -> Option<&'a str> {
    let value = annotations.get(name)?.as_str();
    (!value.is_empty()).then_some(value)
}

/// What the generated objects shall be called.
///
/// # Errors
/// A Service cannot be called that.
pub fn name_override(annotations: &Annotations) -> Result<Option<&str>, String> {
    let Some(name) = given(annotations, NAME_OVERRIDE) else {
        return Ok(None);
    };
    // RFC 1035: Services begin with a letter.
    if is_dns_label(name) && name.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Ok(Some(name));
    }
    let why = "must be lower-case letters, digits and `-`, begin with a letter, at most 63";
    Err(format!("`{}` {why}", clip(name)))
}

/// The service account to run with.
///
/// # Errors
/// None can be called that.
pub fn service_account(annotations: &Annotations) -> Result<Option<&str>, String> {
    match given(annotations, SERVICE_ACCOUNT) {
        Some(name) if !is_dns_subdomain(name) => {
            let why = "must be lower-case letters, digits, `-` and `.`, at most 253";
            Err(format!("`{}` {why}", clip(name)))
        }
        given => Ok(given),
    }
}

/// Whether a newer controller runs it: by a larger number, or in words that are not known yet.
pub fn is_taken(annotations: &Annotations) -> bool {
    let version = given(annotations, CONTROLLER_VERSION);
    version.is_some_and(|version| version.parse().ok().is_none_or(|v: u64| v > OWN_VERSION))
}

/// How its pods get their connections.
///
/// # Errors
/// It says something else.
pub fn inbound_binding(annotations: &Annotations) -> Result<Option<InboundBinding>, String> {
    let Some(text) = given(annotations, INBOUND_BINDING) else {
        return Ok(None);
    };
    let port = |text: &str| text.parse().ok().filter(|port: &u16| *port > 0);
    let (protocol, number) = match text.split_once('/') {
        Some((protocol, number)) => (protocol, Some(port(number))),
        None => (text, None),
    };
    match (protocol, number) {
        ("NONE", None) => Ok(Some(InboundBinding::None)),
        ("PROXY", None) => Ok(Some(InboundBinding::Proxy { port: 0 })),
        ("PROXY", Some(Some(port))) => Ok(Some(InboundBinding::Proxy { port })),
        _ => {
            let text = clip(text);
            Err(format!("`{text}` is none of NONE, PROXY, PROXY/<port>"))
        }
    }
}

/// Whether applications are told who called.
///
/// # Errors
/// It is neither yes nor no.
pub fn client_identity(annotations: &Annotations) -> Result<Option<bool>, String> {
    match given(annotations, CLIENT_IDENTITY) {
        None => Ok(None),
        Some(text) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
        Some(text) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
        Some(text) => Err(format!("`{}` is neither true nor false", clip(text))),
    }
}

/// What a message quotes of a user's text.
fn clip(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotated(name: &str, value: &str) -> Annotations {
        BTreeMap::from([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn names_are_those_that_objects_can_have() {
        for (text, fine) in [("front", true), ("a-1", true), ("", true), ("1a", false)] {
            let annotations = annotated(NAME_OVERRIDE, text);
            assert_eq!(name_override(&annotations).is_ok(), fine, "{text}");
        }
        for text in ["Front", "a.b", "-a", "a/b", &"a".repeat(64)] {
            let annotations = annotated(NAME_OVERRIDE, text);
            assert!(name_override(&annotations).is_err(), "{text}");
        }
        let account = |text: &str| {
            let annotations = annotated(SERVICE_ACCOUNT, text);
            service_account(&annotations).map(|found| found.map(str::to_owned))
        };
        assert_eq!(account("a.b"), Ok(Some("a.b".to_owned())));
        assert_eq!(account(""), Ok(None));
        assert!(account("A").is_err() && account("a/b").is_err());
    }

    #[test]
    fn the_newest_controller_wins() {
        for (text, taken) in [
            ("", false),
            ("5", false),
            ("1", false),
            ("6", true),
            ("x", true),
        ] {
            assert_eq!(
                is_taken(&annotated(CONTROLLER_VERSION, text)),
                taken,
                "{text}"
            );
        }
    }

    #[test]
    fn bindings_are_none_or_proxy_with_or_without_a_port() {
        let read = |text: &str| inbound_binding(&annotated(INBOUND_BINDING, text));
        assert_eq!(read(""), Ok(None));
        assert_eq!(read("NONE"), Ok(Some(InboundBinding::None)));
        assert_eq!(read("PROXY"), Ok(Some(InboundBinding::Proxy { port: 0 })));
        let bound = InboundBinding::Proxy { port: 15088 };
        assert_eq!(read("PROXY/15088"), Ok(Some(bound)));
        for text in [
            "proxy",
            "PROXY/",
            "PROXY/0",
            "PROXY/65536",
            "PROXY/1/2",
            "NONE/1",
            "HBONE",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn telling_who_called_is_yes_or_no() {
        let read = |text: &str| client_identity(&annotated(CLIENT_IDENTITY, text));
        assert_eq!((read(""), read("True")), (Ok(None), Ok(Some(true))));
        assert_eq!(read("false"), Ok(Some(false)));
        assert!(read("yes").is_err());
    }
}
