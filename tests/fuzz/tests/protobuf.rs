//! Protobuf from the controller, from clients of the controller, and between agent and proxy.

use ambit_api::{ca, discovery, route, security, workload, zds};
use ambit_fuzz::fuzz;
use ambit_model::convert;
use prost::Message;

fuzz!(address, |bytes| {
    use workload::address::Type;
    match workload::Address::decode(bytes).map(|a| a.r#type) {
        Ok(Some(Type::Workload(w))) => drop(convert::workload::from_proto(w)),
        Ok(Some(Type::Service(s))) => drop(convert::service::from_proto(s)),
        _ => {}
    }
});

fuzz!(authorization, |bytes| {
    if let Ok(message) = security::Authorization::decode(bytes) {
        let _ = convert::authorization::from_proto(message);
    }
});

fuzz!(router, |bytes| {
    if let Ok(message) = route::Router::decode(bytes) {
        let _ = convert::route::router(message);
    }
});

fuzz!(cluster, |bytes| {
    if let Ok(message) = route::Cluster::decode(bytes) {
        let _ = convert::route::cluster(message);
    }
});

fuzz!(endpoints, |bytes| {
    if let Ok(message) = route::Endpoints::decode(bytes) {
        let _ = convert::route::endpoints(message);
    }
});

fuzz!(certificate_request, |bytes| {
    if let Ok(request) = ca::IstioCertificateRequest::decode(bytes) {
        let _ = ambit_ca::csr::public_key(&request.csr);
        let id = ambit_model::SpiffeId::new("cluster.local", "shop", "web");
        if let Ok(checked) = ambit_ca::csr::only_for(&request.csr, &id) {
            assert!(ambit_ca::csr::only_for(&checked.pem, &id).is_ok());
        }
    }
});

fuzz!(discovery_request, |bytes| {
    use ambit_xds::wire::server_state::ServerState;
    let caller = ambit_xds::Caller {
        service_account: "istio-system/ztunnel".into(),
        node: None,
        role: ambit_xds::Role::Node,
    };
    let mut state = ServerState::new(caller);
    let set = std::sync::Arc::default();
    // The same request twice: a first one and one that changes a subscription.
    for _ in 0..2 {
        if let Ok(request) = discovery::DeltaDiscoveryRequest::decode(bytes) {
            let _ = state.on_request(request);
            while state.next_response(&set).is_some() {}
        }
    }
});

fuzz!(discovery_response, |bytes| {
    use ambit_xds::wire::client_state::ClientState;
    let types = [ambit_api::type_urls::ADDRESS];
    let mut state = ClientState::new(discovery::Node::default(), &types);
    if let Ok(response) = discovery::DeltaDiscoveryResponse::decode(bytes)
        && let Some((update, nonce)) = state.on_response(response)
    {
        let _ = state.answer(&update, nonce, &[]);
    }
});

fuzz!(zds_to_proxy, |bytes| {
    let _ = ambit_ztunnel::capture::message::decode(bytes, Vec::new(), 2);
});

fuzz!(zds_to_agent, |bytes| {
    let _ = zds::ZdsHello::decode(bytes);
    let _ = zds::WorkloadResponse::decode(bytes);
});
