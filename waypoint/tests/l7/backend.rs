//! Applications behind the waypoint, with their side of HBONE or in plaintext.

use crate::mesh::{Mesh, fresh_ip};
use ambit_api::route as pb;
use ambit_hbone::io::{Incoming, Settings, accept};
use ambit_hbone::wire::Forwarded;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming as Body;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

type Answer = Pin<Box<dyn Future<Output = Response<Full<Bytes>>>>>;
type Behaviour = Rc<dyn Fn(usize, &Seen) -> Answer>;

/// A request as a backend saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) uri: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) version: http::Version,
}

/// One application instance.
pub(crate) struct Backend {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) tunnel: bool,
    pub(crate) protocol: pb::Protocol,
    pub(crate) seen: Rc<RefCell<Vec<Seen>>>,
    /// `forwarded` of the CONNECTs.
    pub(crate) forwarded: Rc<RefCell<Vec<Option<Forwarded>>>>,
    /// `x-istio-source` of the CONNECTs.
    pub(crate) sources: Rc<RefCell<Vec<Option<String>>>>,
}

/// What an application does with its connections.
#[derive(Clone)]
enum App {
    Http(Behaviour),
    /// Says its name, then echoes.
    Echo(String),
    /// Reads a request's head, switches protocols, then echoes.
    Upgrade,
}

impl Backend {
    /// Answers every request with 200 and its name, by HBONE.
    pub(crate) async fn named(mesh: &Mesh, name: &str) -> Self {
        let own = name.to_owned();
        Self::http(mesh, name, pb::Protocol::Auto, move |_, _| {
            reply(200, own.clone())
        })
        .await
    }

    /// Answers as `behaviour` says, which is given how many requests came before.
    pub(crate) async fn http(
        mesh: &Mesh,
        name: &str,
        protocol: pb::Protocol,
        behaviour: impl Fn(usize, &Seen) -> Answer + 'static,
    ) -> Self {
        let app = App::Http(Rc::new(behaviour));
        Self::start(mesh, name, protocol, (true, app)).await
    }

    /// Answers with its name in plaintext, without HBONE.
    pub(crate) async fn plain(mesh: &Mesh, name: &str) -> Self {
        let own = name.to_owned();
        let app = App::Http(Rc::new(move |_, _| reply(200, own.clone())));
        Self::start(mesh, name, pb::Protocol::Http1, (false, app)).await
    }

    /// Says its name and echoes.
    pub(crate) async fn echo(mesh: &Mesh, name: &str) -> Self {
        Self::start(
            mesh,
            name,
            pb::Protocol::Tcp,
            (true, App::Echo(name.into())),
        )
        .await
    }

    /// Switches every connection to another protocol, in which it echoes.
    pub(crate) async fn upgrading(mesh: &Mesh, name: &str) -> Self {
        Self::start(mesh, name, pb::Protocol::Http1, (true, App::Upgrade)).await
    }

    async fn start(
        mesh: &Mesh,
        name: &str,
        protocol: pb::Protocol,
        (tunnel, app): (bool, App),
    ) -> Self {
        let port = if tunnel { 15008 } else { 8080 };
        let listener = loop {
            if let Ok(listener) = TcpListener::bind((fresh_ip(), port)).await {
                break listener;
            }
        };
        let address = SocketAddr::new(listener.local_addr().unwrap().ip(), 8080);
        let backend = Self {
            name: name.to_owned(),
            address,
            tunnel,
            protocol,
            seen: Rc::default(),
            forwarded: Rc::default(),
            sources: Rc::default(),
        };
        let svid = mesh.svid(name).await;
        let (seen, forwarded) = (backend.seen.clone(), backend.forwarded.clone());
        let sources = backend.sources.clone();
        tokio::task::spawn_local(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (app, svid, seen, forwarded) =
                    (app.clone(), svid.clone(), seen.clone(), forwarded.clone());
                let sources = sources.clone();
                tokio::task::spawn_local(async move {
                    if !tunnel {
                        return serve(app, tcp, false, seen).await;
                    }
                    let Ok(served) = accept(tcp, &svid, &Settings::default()).await else {
                        return;
                    };
                    let handler = |incoming: Incoming| {
                        forwarded
                            .borrow_mut()
                            .push(incoming.request.forwarded.clone());
                        let source = incoming.request.source.as_ref();
                        let source = source.and_then(|s| s.to_str().ok());
                        sources.borrow_mut().push(source.map(str::to_owned));
                        let asked = incoming.request.authority.socket_addr();
                        let (app, seen) = (app.clone(), seen.clone());
                        async move {
                            if asked != Some(address) {
                                return incoming.refuse(StatusCode::BAD_REQUEST, "not-ours");
                            }
                            let stream = incoming.accept(None).unwrap();
                            let two = matches!(protocol, pb::Protocol::Http2 | pb::Protocol::Grpc);
                            serve(app, stream.into_io(), two, seen).await;
                        }
                    };
                    let _ = served.serve(std::future::pending(), handler).await;
                });
            }
        });
        backend
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.borrow().len()
    }

    pub(crate) fn last(&self) -> Seen {
        self.seen.borrow().last().cloned().unwrap()
    }

    /// Waits until it has seen so many requests.
    pub(crate) async fn wait_for(&self, requests: usize) {
        while self.count() < requests {
            tokio::task::yield_now().await;
        }
    }
}

/// A response with a text.
pub(crate) fn reply(status: u16, body: String) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    Box::pin(std::future::ready(response))
}

/// No response, ever.
pub(crate) fn silence() -> Answer {
    Box::pin(std::future::pending())
}

async fn serve(
    app: App,
    mut io: impl AsyncRead + AsyncWrite + Unpin + 'static,
    two: bool,
    seen: Rc<RefCell<Vec<Seen>>>,
) {
    let behaviour = match app {
        App::Http(behaviour) => behaviour,
        App::Echo(name) => {
            io.write_all(name.as_bytes()).await.unwrap();
            return echo(io).await;
        }
        App::Upgrade => {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(io.read_u8().await.unwrap());
            }
            io.write_all(SWITCHED).await.unwrap();
            return echo(io).await;
        }
    };
    let service = service_fn(move |request: Request<Body>| {
        let (behaviour, seen) = (behaviour.clone(), seen.clone());
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let one = Seen {
                method: parts.method.to_string(),
                uri: parts.uri.to_string(),
                headers: parts.headers,
                body: body
                    .collect()
                    .await
                    .map(|b| b.to_bytes())
                    .unwrap_or_default(),
                version: parts.version,
            };
            let before = seen.borrow().len();
            let answer = behaviour(before, &one);
            seen.borrow_mut().push(one);
            Ok::<_, Infallible>(answer.await)
        })
    });
    // A client that goes away is part of some tests.
    let _ = if two {
        http2::Builder::new(Local)
            .serve_connection(TokioIo::new(io), service)
            .await
    } else {
        http1::Builder::new()
            .serve_connection(TokioIo::new(io), service)
            .await
    };
}

const SWITCHED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";

async fn echo(mut io: impl AsyncRead + AsyncWrite + Unpin) {
    let mut buffer = [0; 1024];
    while let Ok(n @ 1..) = io.read(&mut buffer).await {
        io.write_all(&buffer[..n]).await.unwrap();
    }
    // A client that is gone needs no end.
    let _ = io.shutdown().await;
}

#[derive(Clone)]
pub(crate) struct Local;

impl<F: Future<Output = ()> + 'static> Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
