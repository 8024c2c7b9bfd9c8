//! Authorization at a waypoint: which requests and connections a policy speaks of.
//! In: `ambit.route.v1` through `convert::route`: values parsed, templates and header names checked.
//! Out: values `ambit-policy::l7` evaluates.
//! Spec: Istio AuthorizationPolicy `rules`, `action`; path templates `{*}` and `{**}`.

use crate::authorization::{PolicyAction, ServiceAccountMatch, StringMatch};
use crate::ids::PolicyKey;
use http::HeaderName;
use ipnet::IpNet;
use serde::{Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

/// What a gateway demands of everything that goes through it (`ambit.route.v1.Gateway`).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Gateway {
    /// `<namespace>/<name>`.
    pub name: Arc<str>,
    /// In force beside those of the service addressed.
    pub policies: Vec<AccessPolicy>,
    /// Ports that take plaintext HTTP from outside the mesh.
    pub ports: Vec<u16>,
    /// Applications are not told who called.
    pub withholds_client: bool,
}

/// One policy. No rules: never matches.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AccessPolicy {
    /// The AuthorizationPolicy it comes from.
    pub key: PolicyKey,
    /// What a match means.
    pub action: PolicyAction,
    /// ORed.
    pub rules: Vec<AccessRule>,
    /// Evaluated and reported, never enforced.
    pub dry_run: bool,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AccessRule {
    /// Its place in `spec.rules`.
    pub index: usize,
    /// ANDed; none: always matches.
    pub clauses: Vec<AccessClause>,
}

/// Matches are ORed; there is at least one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AccessClause {
    /// ORed.
    pub matches: Vec<AccessMatch>,
}

/// Tests are ANDed; there is at least one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AccessMatch {
    /// ANDed.
    pub tests: Vec<AccessTest>,
}

/// One attribute against values, of which there is at least one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AccessTest {
    /// What is compared with what.
    pub wanted: Wanted,
    /// None of the values may match.
    pub negated: bool,
}

/// An attribute and the values of which one must match.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Wanted {
    /// `<trust domain>/ns/<namespace>/sa/<account>` of the peer.
    Principal(Vec<StringMatch>),
    /// Namespace of the peer.
    Namespace(Vec<StringMatch>),
    /// Service account of the peer, in any trust domain.
    ServiceAccount(Vec<ServiceAccountMatch>),
    /// Trust domain of the peer.
    TrustDomain(Vec<StringMatch>),
    /// Address of the peer.
    SourceIp(Vec<IpNet>),
    /// Address the client dialled.
    DestinationIp(Vec<IpNet>),
    /// Port the client dialled.
    DestinationPort(Vec<u16>),
    /// `:authority` or `Host`; values are lower case.
    Host(Vec<StringMatch>),
    /// Request method.
    Method(Vec<StringMatch>),
    /// Path without the query.
    Path(Vec<PathPattern>),
    /// A request header.
    Header(
        #[serde(serialize_with = "header_name")] HeaderName,
        Vec<StringMatch>,
    ),
    /// Server name of the client's own TLS.
    Sni(Vec<StringMatch>),
}

impl fmt::Display for Wanted {
    /// The attribute, as the policy names it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Principal(_) => "principals",
            Self::Namespace(_) => "namespaces",
            Self::ServiceAccount(_) => "serviceAccounts",
            Self::TrustDomain(_) => "source.trustDomain",
            Self::SourceIp(_) => "ipBlocks",
            Self::DestinationIp(_) => "destination.ip",
            Self::DestinationPort(_) => "ports",
            Self::Host(_) => "hosts",
            Self::Method(_) => "methods",
            Self::Path(_) => "paths",
            Self::Header(name, _) => return write!(f, "request.headers[{name}]"),
            Self::Sni(_) => "connection.sni",
        })
    }
}

/// How a path is compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum PathPattern {
    /// As text.
    Text(StringMatch),
    /// By segments.
    Template(PathTemplate),
}

impl PathPattern {
    /// Reads the notation of a policy; `None`: braces that are not a valid template.
    pub fn parse(text: &str) -> Option<Self> {
        if text.contains(['{', '}']) {
            return PathTemplate::parse(text).map(Self::Template);
        }
        Some(Self::Text(StringMatch::parse(text)))
    }
}

/// A path template: literal segments, `{*}` for one segment that is not empty, `{**}` for one or more,
/// which may be empty (`/a/{**}` takes `/a/` and not `/a`). `{**}` stands at most once and no operator
/// follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTemplate {
    text: Box<str>,
    before: Vec<Segment>,
    /// Literal segments after `{**}`; `None`: there is no `{**}`.
    after: Option<Vec<Box<str>>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(Box<str>),
    One,
}

impl PathTemplate {
    /// Reads a template; `None` when it does not start with `/`, has `*` or braces that are no operator,
    /// or an operator after `{**}`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut before = Vec::new();
        let mut after: Option<Vec<Box<str>>> = None;
        for segment in text.strip_prefix('/')?.split('/') {
            match (segment, &mut after) {
                ("{*}", None) => before.push(Segment::One),
                ("{**}", None) => after = Some(Vec::new()),
                (literal, _) if literal.contains(['{', '}', '*']) => return None,
                (literal, None) => before.push(Segment::Literal(literal.into())),
                (literal, Some(after)) => after.push(literal.into()),
            }
        }
        Some(Self {
            text: text.into(),
            before,
            after,
        })
    }

    /// Whether a path, without query, has this form. Linear in the path.
    pub fn matches(&self, path: &str) -> bool {
        let Some(path) = path.strip_prefix('/') else {
            return false;
        };
        let mut segments = path.split('/');
        let begins = self.before.iter().all(|wanted| {
            segments.next().is_some_and(|given| match wanted {
                Segment::Literal(literal) => **literal == *given,
                Segment::One => !given.is_empty(),
            })
        });
        if !begins {
            return false;
        }
        let Some(after) = &self.after else {
            return segments.next().is_none();
        };
        // `{**}` takes at least one.
        segments.next().is_some()
            && after
                .iter()
                .rev()
                .all(|wanted| segments.next_back().is_some_and(|given| **wanted == *given))
    }
}

impl Serialize for PathTemplate {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&self.text)
    }
}

fn header_name<S: Serializer>(name: &HeaderName, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_match_whole_segments() {
        #[rustfmt::skip]
        let table = [
            ("/foo/{*}", "/foo/a", true),
            ("/foo/{*}", "/foo/", false),
            ("/foo/{*}", "/foo", false),
            ("/foo/{*}", "/foo/a/b", false),
            ("/foo/{*}", "/foo/a/", false),
            ("/foo/{*}/bar", "/foo/a/bar", true),
            ("/foo/{*}/bar", "/foo/a/baz", false),
            ("/{*}/{*}", "/a/b", true),
            ("/foo/{**}", "/foo/", true),
            ("/foo/{**}", "/foo/a/b/c", true),
            ("/foo/{**}", "/foo", false),
            ("/foo/{**}", "/food/a", false),
            ("/foo/{**}/bar", "/foo/a/b/bar", true),
            ("/foo/{**}/bar", "/foo/bar", false),
            ("/foo/{*}/x/{**}", "/foo/a/x/y", true),
            ("/foo/{*}/x/{**}", "/foo//x/y", false),
            ("/{**}", "/", true),
            ("/{**}", "*", false),
        ];
        for (template, path, expected) in table {
            let parsed = PathTemplate::parse(template).unwrap();
            assert_eq!(parsed.matches(path), expected, "{template} {path}");
        }
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for bad in [
            "{*}",
            "/a{*}",
            "/{*}a",
            "/{**}/{*}",
            "/{**}/{**}",
            "/{a}",
            "/{*",
            "/*/{*}",
            "/{*}/b*",
        ] {
            assert_eq!(PathPattern::parse(bad), None, "{bad}");
        }
        assert_eq!(
            PathPattern::parse("/a*"),
            Some(PathPattern::Text(StringMatch::Prefix("/a".into())))
        );
    }
}
