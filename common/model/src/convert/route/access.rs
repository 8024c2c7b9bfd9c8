//! Authorization policies of waypoints. Nothing is dropped in silence: a value that does not parse
//! refuses the router or gateway, because dropping it could widen an ALLOW or narrow a DENY.

use super::super::{ConvertError, port};
use super::{each, filters, unknown};
use crate::authorization::{PolicyAction, ServiceAccountMatch, StringMatch};
use crate::ids::PolicyKey;
use crate::route::{
    AccessClause, AccessMatch, AccessPolicy, AccessRule, AccessTest, PathPattern, Wanted,
};
use ambit_api::route as pb;
use ipnet::IpNet;
use pb::access_test::Attribute;

pub(super) fn policy(field: &str, m: pb::AccessPolicy) -> Result<AccessPolicy, ConvertError> {
    let sub = |name: &str| format!("{field}.{name}");
    if m.namespace.is_empty() || m.name.is_empty() {
        let reason = "namespace and name must not be empty";
        return Err(ConvertError::new(sub("name"), reason));
    }
    let action = match pb::access_policy::Action::try_from(m.action) {
        Ok(pb::access_policy::Action::Allow) => PolicyAction::Allow,
        Ok(pb::access_policy::Action::Deny) => PolicyAction::Deny,
        Err(_) => return Err(unknown(&sub("action"), m.action)),
    };
    Ok(AccessPolicy {
        key: PolicyKey::new(&m.namespace, &m.name),
        action,
        rules: each(&sub("rules"), m.rules, rule)?,
        dry_run: m.dry_run,
    })
}

fn rule(field: &str, m: pb::AccessRule) -> Result<AccessRule, ConvertError> {
    let clauses = each(
        &format!("{field}.clauses"),
        m.clauses,
        |field, c: pb::AccessClause| {
            let field = format!("{field}.matches");
            let matches = each(&field, some(&field, c.matches)?, one_match)?;
            Ok(AccessClause { matches })
        },
    )?;
    Ok(AccessRule {
        index: usize::try_from(m.index).unwrap_or(usize::MAX),
        clauses,
    })
}

fn one_match(field: &str, m: pb::AccessMatch) -> Result<AccessMatch, ConvertError> {
    let field = format!("{field}.tests");
    let tests = each(&field, some(&field, m.tests)?, test)?;
    Ok(AccessMatch { tests })
}

fn test(field: &str, m: pb::AccessTest) -> Result<AccessTest, ConvertError> {
    let at = format!("{field}.values");
    let values = some(&at, m.values)?;
    let texts = |values: Vec<String>| values.iter().map(|v| StringMatch::parse(v)).collect();
    let wanted = match Attribute::try_from(m.attribute) {
        Ok(Attribute::Principal) => Wanted::Principal(texts(values)),
        Ok(Attribute::Namespace) => Wanted::Namespace(texts(values)),
        Ok(Attribute::TrustDomain) => Wanted::TrustDomain(texts(values)),
        Ok(Attribute::Method) => Wanted::Method(texts(values)),
        Ok(Attribute::Sni) => Wanted::Sni(texts(values)),
        Ok(Attribute::Host) => {
            let lower = |v: &String| StringMatch::parse(&v.to_ascii_lowercase());
            Wanted::Host(values.iter().map(lower).collect())
        }
        Ok(Attribute::Header) => {
            let name = filters::name(&format!("{field}.header"), &m.header)?;
            Wanted::Header(name, texts(values))
        }
        Ok(Attribute::ServiceAccount) => Wanted::ServiceAccount(each(&at, values, account)?),
        Ok(Attribute::SourceIp) => Wanted::SourceIp(each(&at, values, block)?),
        Ok(Attribute::DestinationIp) => Wanted::DestinationIp(each(&at, values, block)?),
        Ok(Attribute::DestinationPort) => Wanted::DestinationPort(each(&at, values, number)?),
        Ok(Attribute::Path) => Wanted::Path(each(&at, values, path)?),
        Ok(Attribute::Unspecified) | Err(_) => {
            return Err(unknown(&format!("{field}.attribute"), m.attribute));
        }
    };
    Ok(AccessTest {
        wanted,
        negated: m.negated,
    })
}

fn some<T>(field: &str, items: Vec<T>) -> Result<Vec<T>, ConvertError> {
    if items.is_empty() {
        return Err(ConvertError::new(field, "must not be empty"));
    }
    Ok(items)
}

fn account(field: &str, text: String) -> Result<ServiceAccountMatch, ConvertError> {
    let wrong = || ConvertError::new(field, format!("`{text}` is not <namespace>/<name>"));
    let (namespace, service_account) = text.split_once('/').ok_or_else(wrong)?;
    Ok(ServiceAccountMatch {
        namespace: namespace.to_owned(),
        service_account: service_account.to_owned(),
    })
}

fn block(field: &str, text: String) -> Result<IpNet, ConvertError> {
    text.parse()
        .map_err(|_| ConvertError::new(field, format!("`{text}` is not a CIDR block")))
}

fn number(field: &str, text: String) -> Result<u16, ConvertError> {
    let wrong = || ConvertError::new(field, format!("`{text}` is not a port number"));
    port(field, text.parse().map_err(|_| wrong())?)
}

fn path(field: &str, text: String) -> Result<PathPattern, ConvertError> {
    PathPattern::parse(&text)
        .ok_or_else(|| ConvertError::new(field, format!("`{text}` is not a path template")))
}
