//! Rules of one AuthorizationPolicy as a waypoint evaluates them. One rule each; clauses in the order
//! `to`, `from`, each `when`; one match per entry.
//! What cannot be evaluated fails closed and is said: an ALLOW rule is left out, a DENY rule denies
//! without regard to it.

use crate::encode::net;
use ambit_api::route as pb;
use ambit_crds::istio::{Action, AuthorizationPolicySpec, Condition, Operation, Rule, Source};
use ambit_model::route::PathPattern;
use pb::access_test::Attribute;

/// What became of the rules.
#[derive(Debug, Default)]
pub(super) struct Compiled {
    pub(super) rules: Vec<pb::AccessRule>,
    /// What is not enforced as written, in the user's words.
    pub(super) remarks: Vec<String>,
}

/// Compiles the rules of one policy.
pub(super) fn compile(spec: &AuthorizationPolicySpec, namespace: &str) -> Compiled {
    let mut compiled = Compiled::default();
    for (i, rule) in spec.rules.iter().enumerate() {
        let path = format!("spec.rules[{i}]");
        let draft = Draft::of(rule, &path, namespace);
        if !draft.lost.is_empty() {
            let lost = draft.lost.join(", ");
            if spec.action == Action::Allow {
                let remark = format!("{path} allows nothing: {lost}");
                compiled.remarks.push(remark);
                continue;
            }
            let remark = format!("{path} denies more than written: {lost}");
            compiled.remarks.push(remark);
        }
        compiled.rules.push(pb::AccessRule {
            index: u32::try_from(i).unwrap_or(u32::MAX),
            clauses: draft.clauses,
        });
    }
    compiled
}

#[derive(Default)]
struct Draft<'a> {
    namespace: &'a str,
    clauses: Vec<pb::AccessClause>,
    /// Paths of what cannot be evaluated, and why.
    lost: Vec<String>,
}

impl<'a> Draft<'a> {
    fn of(rule: &Rule, path: &str, namespace: &'a str) -> Self {
        let mut draft = Self {
            namespace,
            ..Self::default()
        };
        let mut to = Vec::new();
        for (i, entry) in rule.to.iter().enumerate() {
            let operation = entry.operation.clone().unwrap_or_default();
            to.push(draft.operation(&operation, &format!("{path}.to[{i}].operation")));
        }
        draft.clause(to);
        let mut from = Vec::new();
        for (i, entry) in rule.from.iter().enumerate() {
            let source = entry.source.clone().unwrap_or_default();
            from.push(draft.source(&source, &format!("{path}.from[{i}].source")));
        }
        draft.clause(from);
        for (i, when) in rule.when.iter().enumerate() {
            let tests = draft.when(when, &format!("{path}.when[{i}]"));
            draft.clause(vec![tests]);
        }
        draft
    }

    /// Adds a clause, unless one of its matches has lost everything: then the clause always holds.
    fn clause(&mut self, matches: Vec<Vec<pb::AccessTest>>) {
        if matches.is_empty() || matches.iter().any(Vec::is_empty) {
            return;
        }
        let matches = matches
            .into_iter()
            .map(|tests| pb::AccessMatch { tests })
            .collect();
        self.clauses.push(pb::AccessClause { matches });
    }

    fn operation(&mut self, op: &Operation, path: &str) -> Vec<pb::AccessTest> {
        use Attribute::{DestinationPort, Host, Method, Path};
        let fields = [
            (Host, "hosts", &op.hosts, false),
            (Host, "notHosts", &op.not_hosts, true),
            (Method, "methods", &op.methods, false),
            (Method, "notMethods", &op.not_methods, true),
            (Path, "paths", &op.paths, false),
            (Path, "notPaths", &op.not_paths, true),
            (DestinationPort, "ports", &op.ports, false),
            (DestinationPort, "notPorts", &op.not_ports, true),
        ];
        self.entry(&fields, path)
    }

    fn source(&mut self, source: &Source, path: &str) -> Vec<pb::AccessTest> {
        use Attribute::{Namespace, Principal, ServiceAccount, SourceIp};
        for (field, values) in [
            ("requestPrincipals", &source.request_principals),
            ("notRequestPrincipals", &source.not_request_principals),
        ] {
            if !values.is_empty() {
                let why = format!("{path}.{field} needs JWT, which is not supported yet");
                self.lost.push(why);
            }
        }
        for (field, values) in [
            ("remoteIpBlocks", &source.remote_ip_blocks),
            ("notRemoteIpBlocks", &source.not_remote_ip_blocks),
        ] {
            if !values.is_empty() {
                self.lost
                    .push(format!("{path}.{field} is not supported yet"));
            }
        }
        let fields = [
            (Principal, "principals", &source.principals, false),
            (Principal, "notPrincipals", &source.not_principals, true),
            (Namespace, "namespaces", &source.namespaces, false),
            (Namespace, "notNamespaces", &source.not_namespaces, true),
            (
                ServiceAccount,
                "serviceAccounts",
                &source.service_accounts,
                false,
            ),
            (
                ServiceAccount,
                "notServiceAccounts",
                &source.not_service_accounts,
                true,
            ),
            (SourceIp, "ipBlocks", &source.ip_blocks, false),
            (SourceIp, "notIpBlocks", &source.not_ip_blocks, true),
        ];
        self.entry(&fields, path)
    }

    fn entry(
        &mut self,
        fields: &[(Attribute, &str, &Vec<String>, bool)],
        path: &str,
    ) -> Vec<pb::AccessTest> {
        let lost_before = self.lost.len();
        let tests: Vec<_> = fields
            .iter()
            .filter_map(|(attribute, field, values, negated)| {
                let path = format!("{path}.{field}");
                self.test((*attribute, ""), values, *negated, &path)
            })
            .collect();
        if tests.is_empty() && self.lost.len() == lost_before {
            self.lost.push(format!("{path} is empty"));
        }
        tests
    }

    fn when(&mut self, when: &Condition, path: &str) -> Vec<pb::AccessTest> {
        let Some((attribute, header)) = attribute(&when.key) else {
            let why = format!("{path}.key `{}` is not supported yet", when.key);
            self.lost.push(why);
            return Vec::new();
        };
        let yes = self.test(
            (attribute, &header),
            &when.values,
            false,
            &format!("{path}.values"),
        );
        let no = self.test(
            (attribute, &header),
            &when.not_values,
            true,
            &format!("{path}.notValues"),
        );
        let tests: Vec<_> = yes.into_iter().chain(no).collect();
        if when.values.is_empty() && when.not_values.is_empty() {
            self.lost.push(format!("{path} is empty"));
        }
        tests
    }

    /// `None` when there are no values, or one that cannot be read, which is noted.
    fn test(
        &mut self,
        (attribute, header): (Attribute, &str),
        values: &[String],
        negated: bool,
        path: &str,
    ) -> Option<pb::AccessTest> {
        let mut read = Vec::with_capacity(values.len());
        for (i, text) in values.iter().enumerate() {
            match value(attribute, text, self.namespace) {
                Some(value) => read.push(value),
                None => self.lost.push(format!("{path}[{i}] cannot be read")),
            }
        }
        // Without one of its values a test would hold for less, and a negated one for more.
        let whole = !read.is_empty() && read.len() == values.len();
        whole.then(|| pb::AccessTest {
            attribute: attribute.into(),
            header: header.to_owned(),
            values: read,
            negated,
        })
    }
}

/// A value as the waypoint reads it.
fn value(attribute: Attribute, text: &str, namespace: &str) -> Option<String> {
    match attribute {
        Attribute::ServiceAccount if !text.contains('/') => Some(format!("{namespace}/{text}")),
        Attribute::SourceIp | Attribute::DestinationIp => net(text).map(|n| n.to_string()),
        Attribute::DestinationPort => text.parse::<u16>().ok().map(|port| port.to_string()),
        Attribute::Path => PathPattern::parse(text).map(|_| text.to_owned()),
        _ => Some(text.to_owned()),
    }
}

/// The attribute of a `when` key, and the header it names.
fn attribute(key: &str) -> Option<(Attribute, String)> {
    let plain = |attribute| Some((attribute, String::new()));
    match key {
        "source.ip" => plain(Attribute::SourceIp),
        "source.namespace" => plain(Attribute::Namespace),
        "source.principal" => plain(Attribute::Principal),
        "source.serviceAccount" => plain(Attribute::ServiceAccount),
        "source.trustDomain" => plain(Attribute::TrustDomain),
        "destination.ip" => plain(Attribute::DestinationIp),
        "destination.port" => plain(Attribute::DestinationPort),
        "connection.sni" => plain(Attribute::Sni),
        _ => {
            let name = key.strip_prefix("request.headers[")?.strip_suffix(']')?;
            let name = name.to_ascii_lowercase();
            // HTTP/2 has no such header; its authority is what HTTP/1.1 calls the host.
            if matches!(name.as_str(), "host" | ":authority") {
                return plain(Attribute::Host);
            }
            is_token(&name).then_some((Attribute::Header, name))
        }
    }
}

/// RFC 9110 section 5.6.2.
fn is_token(name: &str) -> bool {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.bytes().all(fine)
}
