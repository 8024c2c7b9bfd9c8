//! A controller that sends what is no route.

use super::*;
use crate::state::{CONFIGURATION_WAIT, LATE, View};
use ambit_api::route as pb;
use ambit_model::ids::ServiceKey;
use ambit_runtime::readiness::Readiness;
use ambit_xds::ResourceUpdate;
use bytes::Bytes;
use pb::http_route::Action;
use prost::Message;

const HOST: &str = "web.shop.svc.cluster.local";

fn router(port: u32, answer: u32) -> Bytes {
    let fixed = pb::DirectResponse {
        status: answer,
        body: vec![],
    };
    let route = pb::HttpRoute {
        action: Some(Action::DirectResponse(fixed)),
        ..Default::default()
    };
    let router = pb::Router {
        gateway: "shop/waypoint".into(),
        service: format!("shop/{HOST}"),
        port,
        http: vec![route],
        ..Default::default()
    };
    router.encode_to_vec().into()
}

fn update(resources: Vec<(&str, Bytes)>) -> ambit_xds::Update {
    let resource = |(name, body): (&str, Bytes)| ResourceUpdate {
        name: name.to_owned(),
        version: String::new(),
        body,
    };
    ambit_xds::Update {
        type_url: type_urls::ROUTER.into(),
        resources: resources.into_iter().map(resource).collect(),
        malformed: vec![],
        removed: vec![],
        first: false,
    }
}

#[test]
fn a_broken_route_is_refused_by_name_the_old_one_stays_and_the_good_ones_beside_it_apply() {
    let (state, writer) = State::new("shop/waypoint");
    let refused = Counter::default();
    let gate = Readiness::new().gate("configuration");
    let mut subscriber = Subscriber::new(writer, state.clone(), gate, refused.clone());
    let first = vec![("80", router(80, 200)), ("81", router(81, 200))];
    assert!(subscriber.apply(&update(first)).is_empty());
    let key = ServiceKey::new("shop", HOST);
    let old = state.load().router(&key, 80).cloned();

    let broken: [(&str, Bytes, &str); 4] = [
        ("80", Bytes::from_static(b"\xff\xff\xff"), "decoded"),
        ("80", router(0, 200), "port"),
        ("80", router(80, 7), "status"),
        ("80", router(80, 200).slice(..5), "decoded"),
    ];
    for (n, (name, body, word)) in broken.into_iter().enumerate() {
        let answer = 400 + u32::try_from(n).unwrap();
        let rejected = subscriber.apply(&update(vec![(name, body), ("81", router(81, answer))]));
        let [only] = &rejected[..] else {
            panic!("{rejected:?}");
        };
        assert_eq!(only.name, name);
        assert!(only.reason.contains(word), "{only:?}");
        let view = state.load();
        assert_eq!(view.router(&key, 80), old.as_ref());
        let beside = &view.router(&key, 81).unwrap().http[0].action;
        let answers = format!("{beside:?}");
        assert!(answers.contains(&answer.to_string()), "{answers}");
        assert_eq!(refused.get(), n as u64 + 1);
    }
}

#[test]
fn a_resource_without_a_body_is_counted_too() {
    let (state, writer) = State::new("shop/waypoint");
    let refused = Counter::default();
    let gate = Readiness::new().gate("configuration");
    let mut subscriber = Subscriber::new(writer, state, gate, refused.clone());
    let bodiless = Rejection {
        name: "80".to_owned(),
        reason: "has no body".to_owned(),
    };
    let mut update = update(vec![]);
    update.malformed.push(bodiless);
    assert!(subscriber.apply(&update).is_empty(), "the client names it");
    assert_eq!(refused.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_node_proxy_has_heard_of_first_is_waited_for_and_what_nobody_has_is_not_for_long() {
    let (state, writer) = State::new("shop/waypoint");
    let gate = Readiness::new().gate("configuration");
    let mut subscriber = Subscriber::new(writer, state.clone(), gate, Counter::default());
    for type_url in Subscriber::TYPES {
        let mut first = update(vec![]);
        (first.type_url, first.first) = (type_url.into(), true);
        subscriber.apply(&first);
    }
    assert!(state.load().is_complete());
    let key = ServiceKey::new("shop", HOST);
    let find = |view: &View| view.router(&key, 80).cloned();
    let begun = tokio::time::Instant::now();
    assert!(state.wait_for(find).await.is_none());
    assert!(begun.elapsed() >= LATE && begun.elapsed() < CONFIGURATION_WAIT);
    let late = async {
        tokio::time::sleep(LATE / 2).await;
        subscriber.apply(&update(vec![("80", router(80, 200))]));
    };
    let (found, ()) = tokio::join!(state.wait_for(find), late);
    assert!(found.is_some());
}
