//! Small pieces of `istio.security` messages.

use crate::octets::octets;
use crate::out::Out;
use crate::resource::{Audience, Resource};
use ambit_api::{security as pb, type_urls};
use ipnet::IpNet;
use pb::string_match::MatchType;
use std::net::IpAddr;

/// Puts out one policy.
pub(crate) fn put(out: &mut Out, policy: pb::Authorization) {
    let name = format!("{}/{}", policy.namespace, policy.name);
    let resource = Resource::new(&policy, Vec::new(), Audience::Nodes);
    out.resources.put(type_urls::AUTHORIZATION, name, resource);
}

/// `*` is presence, `x*` a prefix, `*x` a suffix, all else is exact.
pub(crate) fn string(text: &str) -> pb::StringMatch {
    let kind = if text == "*" {
        MatchType::Presence(pb::Presence {})
    } else if let Some(prefix) = text.strip_suffix('*') {
        MatchType::Prefix(prefix.to_owned())
    } else if let Some(suffix) = text.strip_prefix('*') {
        MatchType::Suffix(suffix.to_owned())
    } else {
        MatchType::Exact(text.to_owned())
    };
    pb::StringMatch {
        match_type: Some(kind),
    }
}

/// An address or a CIDR block; `None` when it is neither.
pub(crate) fn net(text: &str) -> Option<IpNet> {
    match text.parse::<IpNet>() {
        Ok(net) => Some(net),
        Err(_) => Some(IpNet::from(text.parse::<IpAddr>().ok()?)),
    }
}

/// The same, as a message.
pub(crate) fn block(text: &str) -> Option<pb::Address> {
    let net = net(text)?;
    Some(pb::Address {
        address: octets(net.addr()),
        length: net.prefix_len().into(),
    })
}

/// `name`, of the policy's own namespace, or `namespace/name`.
pub(crate) fn account(text: &str, own: &str) -> pb::ServiceAccountMatch {
    let (namespace, service_account) = text.split_once('/').unwrap_or((own, text));
    pb::ServiceAccountMatch {
        namespace: namespace.to_owned(),
        service_account: service_account.to_owned(),
    }
}
