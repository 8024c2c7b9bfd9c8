//! `istio.security.Authorization` → [`Authorization`].
//! Nothing is dropped in silence: a value that does not parse refuses the policy, because dropping
//! it could widen an ALLOW.

use super::{ConvertError, ip, port};
use crate::authorization::{
    Authorization, Clause, Match, PolicyAction, PolicyScope, Rule, ServiceAccountMatch, StringMatch,
};
use crate::ids::PolicyKey;
use ambit_api::security as pb;
use ipnet::IpNet;

/// Converts one policy.
///
/// # Errors
/// The first field that is wrong. An unknown scope or action refuses the policy.
pub fn from_proto(m: pb::Authorization) -> Result<Authorization, ConvertError> {
    if m.namespace.is_empty() || m.name.is_empty() {
        return Err(ConvertError::new(
            "name",
            "namespace and name must not be empty",
        ));
    }
    let unknown = |field: &str, value: i32| ConvertError::new(field, format!("{value} is unknown"));
    Ok(Authorization {
        scope: match pb::Scope::try_from(m.scope) {
            Ok(pb::Scope::Global) => PolicyScope::Global,
            Ok(pb::Scope::Namespace) => PolicyScope::Namespace,
            Ok(pb::Scope::WorkloadSelector) => PolicyScope::WorkloadSelector,
            Err(_) => return Err(unknown("scope", m.scope)),
        },
        action: match pb::Action::try_from(m.action) {
            Ok(pb::Action::Allow) => PolicyAction::Allow,
            Ok(pb::Action::Deny) => PolicyAction::Deny,
            Err(_) => return Err(unknown("action", m.action)),
        },
        key: PolicyKey::new(&m.namespace, &m.name),
        rules: each(m.rules, "rules", rule)?,
        dry_run: m.dry_run,
    })
}

fn each<A, B>(
    items: Vec<A>,
    field: &str,
    convert: impl Fn(&str, A) -> Result<B, ConvertError>,
) -> Result<Vec<B>, ConvertError> {
    items
        .into_iter()
        .enumerate()
        .map(|(i, item)| convert(&format!("{field}[{i}]"), item))
        .collect()
}

fn rule(field: &str, m: pb::Rule) -> Result<Rule, ConvertError> {
    let clauses = each(
        m.clauses,
        &format!("{field}.clauses"),
        |f, c: pb::Clause| {
            let matches = each(c.matches, &format!("{f}.matches"), one_match)?;
            Ok(Clause { matches })
        },
    )?;
    Ok(Rule { clauses })
}

fn one_match(field: &str, m: pb::Match) -> Result<Match, ConvertError> {
    let f = |name: &str| format!("{field}.{name}");
    Ok(Match {
        namespaces: each(m.namespaces, &f("namespaces"), string)?,
        not_namespaces: each(m.not_namespaces, &f("not_namespaces"), string)?,
        principals: each(m.principals, &f("principals"), string)?,
        not_principals: each(m.not_principals, &f("not_principals"), string)?,
        source_ips: each(m.source_ips, &f("source_ips"), block)?,
        not_source_ips: each(m.not_source_ips, &f("not_source_ips"), block)?,
        destination_ips: each(m.destination_ips, &f("destination_ips"), block)?,
        not_destination_ips: each(m.not_destination_ips, &f("not_destination_ips"), block)?,
        destination_ports: each(m.destination_ports, &f("destination_ports"), port)?,
        not_destination_ports: each(m.not_destination_ports, &f("not_destination_ports"), port)?,
        service_accounts: each(m.service_accounts, &f("service_accounts"), account)?,
        not_service_accounts: each(m.not_service_accounts, &f("not_service_accounts"), account)?,
    })
}

fn string(field: &str, m: pb::StringMatch) -> Result<StringMatch, ConvertError> {
    use pb::string_match::MatchType;
    match m.match_type {
        Some(MatchType::Exact(s)) => Ok(StringMatch::Exact(s)),
        Some(MatchType::Prefix(s)) => Ok(StringMatch::Prefix(s)),
        Some(MatchType::Suffix(s)) => Ok(StringMatch::Suffix(s)),
        Some(MatchType::Presence(_)) => Ok(StringMatch::Presence),
        None => Err(ConvertError::new(field, "no match type is set")),
    }
}

fn block(field: &str, m: pb::Address) -> Result<IpNet, ConvertError> {
    let address = ip(&format!("{field}.address"), &m.address)?;
    let bad = || {
        ConvertError::new(
            format!("{field}.length"),
            format!("{} is too long", m.length),
        )
    };
    let length = u8::try_from(m.length).map_err(|_| bad())?;
    IpNet::new(address, length).map_err(|_| bad())
}

fn account(_: &str, m: pb::ServiceAccountMatch) -> Result<ServiceAccountMatch, ConvertError> {
    Ok(ServiceAccountMatch {
        namespace: m.namespace,
        service_account: m.service_account,
    })
}
