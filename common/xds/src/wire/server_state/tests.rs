use super::*;
use crate::resource_set::ResourceChange;
use crate::wire::client_state::{ClientState, Rejection};
use ambit_api::type_urls::{ADDRESS, AUTHORIZATION, ROUTER};

fn change(type_url: &str, name: &str, body: Option<&str>, audience: Audience) -> ResourceChange {
    ResourceChange {
        type_url: type_url.into(),
        name: name.into(),
        resource: body.map(|b| {
            let body = bytes::Bytes::copy_from_slice(b.as_bytes());
            Resource::new(body, vec![format!("net/{name}")], audience)
        }),
    }
}

fn node() -> Caller {
    Caller {
        service_account: "istio-system/ztunnel".into(),
        node: Some("n".into()),
        role: Role::Node,
    }
}

/// Both halves joined by hand: runs until neither has anything to say.
fn exchange(
    server: &mut ServerState,
    client: &mut ClientState,
    set: &Arc<ResourceSet>,
) -> Vec<(String, Vec<String>, Vec<String>, bool)> {
    let mut seen = Vec::new();
    while let Some(response) = server.next_response(set) {
        let (update, nonce) = client.on_response(response).unwrap();
        let names = update.resources.iter().map(|r| r.name.clone()).collect();
        seen.push((
            update.type_url.clone(),
            names,
            update.removed.clone(),
            update.first,
        ));
        assert_eq!(
            server.on_request(client.answer(&update, nonce, &[])),
            Ok(Event::Ack)
        );
    }
    seen
}

fn open(client: &ClientState, caller: Caller) -> ServerState {
    let mut server = ServerState::new(caller);
    for request in client.start() {
        assert_eq!(server.on_request(request), Ok(Event::Subscribed));
    }
    server
}

fn client(types: &[&str]) -> ClientState {
    ClientState::new(pb::Node::default(), types)
}

#[test]
fn the_first_response_is_everything_even_when_that_is_nothing() {
    let mut c = client(&[ADDRESS, AUTHORIZATION]);
    let mut s = open(&c, node());
    let seen = exchange(&mut s, &mut c, &Arc::default());
    assert_eq!(
        seen,
        [
            (AUTHORIZATION.to_owned(), vec![], vec![], true),
            (ADDRESS.to_owned(), vec![], vec![], true)
        ],
        "policies go before the workloads that name them"
    );
}

#[test]
fn only_differences_follow_and_an_unanswered_type_waits() {
    let mut c = client(&[ADDRESS]);
    let mut s = open(&c, node());
    let one = ResourceSet::default().apply([change(ADDRESS, "a", Some("1"), Audience::Everyone)]);
    exchange(&mut s, &mut c, &Arc::new(one.clone()));
    let two = one.apply([change(ADDRESS, "b", Some("1"), Audience::Everyone)]);
    let response = s.next_response(&Arc::new(two.clone())).unwrap();
    let three = two.apply([change(ADDRESS, "a", None, Audience::Everyone)]);
    assert!(
        s.next_response(&Arc::new(three.clone())).is_none(),
        "b is not answered yet"
    );
    let (update, nonce) = c.on_response(response).unwrap();
    s.on_request(c.answer(&update, nonce, &[])).unwrap();
    let seen = exchange(&mut s, &mut c, &Arc::new(three));
    assert_eq!(
        seen,
        [(ADDRESS.to_owned(), vec![], vec!["a".to_owned()], false)]
    );
}

#[test]
fn a_reconnect_fetches_only_what_differs() {
    let mut c = client(&[ADDRESS]);
    let set = ResourceSet::default().apply([
        change(ADDRESS, "same", Some("1"), Audience::Everyone),
        change(ADDRESS, "old", Some("1"), Audience::Everyone),
    ]);
    exchange(&mut open(&c, node()), &mut c, &Arc::new(set.clone()));
    let later = set.apply([
        change(ADDRESS, "old", None, Audience::Everyone),
        change(ADDRESS, "new", Some("1"), Audience::Everyone),
    ]);
    let seen = exchange(&mut open(&c, node()), &mut c, &Arc::new(later));
    assert_eq!(
        seen,
        [(
            ADDRESS.to_owned(),
            vec!["new".to_owned()],
            vec!["old".to_owned()],
            false
        )]
    );
}

#[test]
fn a_refused_resource_is_fetched_again_after_a_reconnect_and_the_rest_is_kept() {
    let mut c = client(&[ADDRESS]);
    let mut s = open(&c, node());
    let set = Arc::new(ResourceSet::default().apply([
        change(ADDRESS, "bad", Some("x"), Audience::Everyone),
        change(ADDRESS, "good", Some("x"), Audience::Everyone),
    ]));
    let (update, nonce) = c.on_response(s.next_response(&set).unwrap()).unwrap();
    let bad = Rejection {
        name: "bad".into(),
        reason: "uid: must not be empty".into(),
    };
    let nack = c.answer(&update, nonce, &[bad]);
    let expected = Event::Nack {
        type_url: ADDRESS.into(),
        reason: "bad: uid: must not be empty".into(),
    };
    assert_eq!(s.on_request(nack), Ok(expected));
    let seen = exchange(&mut open(&c, node()), &mut c, &set);
    assert_eq!(seen[0].1, ["bad"]);
}

#[test]
fn a_gateway_sees_its_own_routes_and_no_policies() {
    let mine = Audience::Gateways(vec!["ns/mine".to_owned()].into());
    let other = Audience::Gateways(vec!["ns/other".to_owned()].into());
    let set = Arc::new(ResourceSet::default().apply([
        change(ROUTER, "r-mine", Some("1"), mine),
        change(ROUTER, "r-other", Some("1"), other),
        change(ADDRESS, "w", Some("1"), Audience::Everyone),
    ]));
    let caller = Caller {
        service_account: "ns/mine".into(),
        node: None,
        role: Role::Gateway,
    };
    let mut c = client(&[ROUTER, ADDRESS]);
    let seen = exchange(&mut open(&c, caller.clone()), &mut c, &set);
    assert_eq!(seen[1].1, ["r-mine"]);
    let mut s = ServerState::new(caller);
    let request = client(&[AUTHORIZATION]).start().remove(0);
    assert!(s.on_request(request).is_err());
    let request = client(&[ROUTER]).start().remove(0);
    assert!(ServerState::new(node()).on_request(request).is_err());
}

#[test]
fn on_demand_names_are_answered_by_alias_and_absent_ones_removed() {
    let set = Arc::new(ResourceSet::default().apply([change(
        ADDRESS,
        "a",
        Some("1"),
        Audience::Everyone,
    )]));
    let mut s = ServerState::new(node());
    let request = |names: &[&str]| pb::DeltaDiscoveryRequest {
        type_url: ADDRESS.into(),
        resource_names_subscribe: names.iter().map(|n| (*n).to_owned()).collect(),
        resource_names_unsubscribe: if names == ["*"] {
            vec!["*".into()]
        } else {
            vec![]
        },
        ..Default::default()
    };
    s.on_request(request(&["*"])).unwrap();
    assert!(
        s.next_response(&set).is_none(),
        "nothing was asked for by name"
    );
    s.on_request(request(&["net/a", "net/none"])).unwrap();
    let r = s.next_response(&set).unwrap();
    assert_eq!(r.resources[0].name, "a");
    assert_eq!(r.removed_resources, ["net/none"]);
}

#[test]
fn a_stale_nonce_changes_nothing() {
    let mut s = open(&client(&[ADDRESS]), node());
    s.next_response(&Arc::default()).unwrap();
    let stale = pb::DeltaDiscoveryRequest {
        type_url: ADDRESS.into(),
        response_nonce: "99".into(),
        ..Default::default()
    };
    assert_eq!(s.on_request(stale), Ok(Event::Stale));
    assert!(s.next_response(&Arc::default()).is_none());
}

#[test]
fn a_policy_goes_before_the_workload_that_names_it_and_leaves_after_it() {
    let mut c = client(&[ADDRESS, AUTHORIZATION]);
    let mut s = open(&c, node());
    exchange(&mut s, &mut c, &Arc::default());
    let both = ResourceSet::default().apply([
        change(ADDRESS, "w", Some("names p"), Audience::Everyone),
        change(AUTHORIZATION, "p", Some("1"), Audience::Nodes),
    ]);
    let response = s.next_response(&Arc::new(both.clone())).unwrap();
    assert_eq!(response.type_url, AUTHORIZATION);
    assert!(
        s.next_response(&Arc::new(both.clone())).is_none(),
        "the policy is not answered yet"
    );
    let (update, nonce) = c.on_response(response).unwrap();
    s.on_request(c.answer(&update, nonce, &[])).unwrap();
    exchange(&mut s, &mut c, &Arc::new(both.clone()));
    let without = both.apply([
        change(ADDRESS, "w", Some("names nothing"), Audience::Everyone),
        change(AUTHORIZATION, "p", None, Audience::Nodes),
    ]);
    let seen = exchange(&mut s, &mut c, &Arc::new(without));
    let order: Vec<_> = seen
        .iter()
        .map(|(t, up, gone, _)| (t.as_str(), up.len(), gone.len()))
        .collect();
    assert_eq!(order, [(ADDRESS, 1, 0), (AUTHORIZATION, 0, 1)]);
}

#[test]
fn a_client_that_turns_to_the_wildcard_gets_everything() {
    let set = Arc::new(ResourceSet::default().apply([change(
        ADDRESS,
        "a",
        Some("1"),
        Audience::Everyone,
    )]));
    let mut s = ServerState::new(node());
    let request = |names: &[&str], nonce: &str| pb::DeltaDiscoveryRequest {
        type_url: ADDRESS.into(),
        resource_names_subscribe: names.iter().map(|n| (*n).to_owned()).collect(),
        response_nonce: nonce.into(),
        ..Default::default()
    };
    s.on_request(request(&["none"], "")).unwrap();
    let nonce = s.next_response(&set).unwrap().nonce;
    s.on_request(request(&["*"], &nonce)).unwrap();
    assert_eq!(s.next_response(&set).unwrap().resources[0].name, "a");
}
