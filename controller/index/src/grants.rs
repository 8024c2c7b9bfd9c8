//! Whether an object may refer to an object of another namespace.
//! In: ReferenceGrants of the namespace referred to. Out: yes or no. Nothing is allowed by default.
//! Spec: Gateway API `ReferenceGrant`.

use crate::world::{World, name_of};
use ambit_crds::gateway::ReferenceGrantSpec;

/// The referring object: group, kind, namespace.
pub(crate) type From<'f> = (&'f str, &'f str, &'f str);
/// The object referred to: group, kind, namespace, name.
pub(crate) type To<'t> = (&'t str, &'t str, &'t str, &'t str);

/// Whether some grant allows the reference.
pub(crate) fn permits(world: &World<'_>, from: From<'_>, to: To<'_>) -> bool {
    world.reference_grants.iter().any(|grant| {
        let (namespace, _) = name_of(&grant.metadata);
        namespace == to.2 && covers(&grant.spec, from, to)
    })
}

fn covers(spec: &ReferenceGrantSpec, from: From<'_>, to: To<'_>) -> bool {
    let trusted = spec
        .from
        .iter()
        .any(|f| (f.group.as_str(), f.kind.as_str(), f.namespace.as_str()) == from);
    let (group, kind, _, name) = to;
    let named = spec.to.iter().any(|t| {
        // An empty name in YAML is no name.
        let wanted = t.name.as_deref().filter(|n| !n.is_empty());
        t.group == group && t.kind == kind && wanted.is_none_or(|wanted| wanted == name)
    });
    trusted && named
}

#[cfg(test)]
mod tests {
    use super::*;
    use ambit_crds::gateway::{GrantFrom, GrantTo};

    #[test]
    fn a_grant_covers_what_it_names_and_nothing_else() {
        let route = ("gateway.networking.k8s.io", "HTTPRoute", "web");
        let service = |name| ("", "Service", "shop", name);
        let grant = |name: Option<&str>| ReferenceGrantSpec {
            from: vec![GrantFrom {
                group: route.0.into(),
                kind: route.1.into(),
                namespace: route.2.into(),
            }],
            to: vec![GrantTo {
                kind: "Service".into(),
                name: name.map(Into::into),
                ..Default::default()
            }],
        };
        for (name, from, to, expected) in [
            (None, route, service("cart"), true),
            (Some(""), route, service("cart"), true),
            (Some("cart"), route, service("cart"), true),
            (Some("cart"), route, service("till"), false),
            (None, (route.0, route.1, "other"), service("cart"), false),
            (None, (route.0, "GRPCRoute", "web"), service("cart"), false),
            (None, route, ("", "Secret", "shop", "cart"), false),
        ] {
            assert_eq!(covers(&grant(name), from, to), expected, "{from:?} {to:?}");
        }
        assert!(!covers(
            &ReferenceGrantSpec::default(),
            route,
            service("cart")
        ));
    }
}
