//! Streams that are refused before the handler sees them, and who is told.

use super::*;
use crate::wire::connect::BadConnect;

/// Settings of a server that runs into its limits soon.
fn narrow() -> Settings {
    Settings {
        server_header_list: 1024,
        server_max_streams: 2,
        ..Settings::default()
    }
}

#[test]
fn whoever_asks_to_be_told_hears_of_every_kind_once() {
    worker(false, async {
        let world = World::new().await;
        let (near, far) = duplex(1 << 16);
        let told = Rc::new(RefCell::new(Vec::new()));
        let (server, listener) = (world.server.clone(), told.clone());
        tokio::task::spawn_local(async move {
            let tunnel = accept(far, &server, &narrow()).await.unwrap();
            let tunnel = tunnel.on_refused(move |refused| listener.borrow_mut().push(refused));
            let wait = async |mut incoming: Incoming| incoming.cancelled().await;
            // How it ends is seen by the client.
            let _ = tunnel.serve(std::future::pending(), wait).await;
        });
        let secured = ambit_identity::tls::connect(near, &world.client, &world.expected(), HOUR)
            .await
            .unwrap();
        let (send, connection) = h2::client::handshake(secured.stream).await.unwrap();
        tokio::task::spawn_local(connection);
        let mut send = send.ready().await.unwrap();

        let get = http::Request::get("https://10.0.0.2:80/").body(()).unwrap();
        let (answer, _) = send.send_request(get, true).unwrap();
        assert_eq!(answer.await.unwrap().status(), StatusCode::BAD_REQUEST);

        let mut large = request("10.0.0.2:80").write();
        let value = HeaderValue::try_from("a".repeat(1500)).unwrap();
        large.headers_mut().insert("baggage", value);
        let (answer, _) = send.send_request(large, true).unwrap();
        let answer = answer.await.unwrap();
        let too_large = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        assert_eq!(answer.status(), too_large);
        assert_eq!(answer.headers()["x-ambit-reason"], "headers");

        let mut held = Vec::new();
        for _ in 0..2 {
            send = send.ready().await.unwrap();
            held.push(
                send.send_request(request("10.0.0.2:80").write(), false)
                    .unwrap(),
            );
        }
        while told.borrow().len() < 3 {
            tokio::task::yield_now().await;
        }
        let told = told.borrow();
        assert!(
            matches!(
                told[..],
                [
                    StreamRefused::Request(BadConnect::Method(_)),
                    StreamRefused::Headers {
                        limit: 1024,
                        bytes: 1500..
                    },
                    StreamRefused::Full { limit: 2 },
                ]
            ),
            "{told:?}"
        );
    });
}
