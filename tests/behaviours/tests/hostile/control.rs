//! Messages of the control plane that can be read and are of no use, to the proxy and to the controller.

use crate::certificates::Authority;
use crate::siege::{Siege, siege};
use crate::stand_in::{CONTROLLER, in_its_place, settled};
use ambit_api::discovery::Node;
use ambit_api::{type_urls, workload};
use ambit_behaviours::town::{SOON, TOWN, node};
use ambit_harness::lab::DaemonKind;
use ambit_harness::names::xds_address;
use ambit_harness::prometheus::Scrape;
use ambit_harness::{netns, until};
use ambit_runtime::drain;
use ambit_xds::io::client::{ClientConfig, RootCert};
use ambit_xds::{
    Audience, Authorizer, Caller, Denied, Handler, Rejection, Resource, ResourceChange,
    ResourceSet, Role, Server, Update,
};
use anyhow::{Context as _, Result, ensure};
use prost::Message as _;
use rcgen::SanType;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Identity, ServerTlsConfig};

/// The types of a node proxy.
const TYPES: [&str; 2] = [type_urls::AUTHORIZATION, type_urls::ADDRESS];

/// Resources of a message that nobody can decode.
const BROKEN: usize = 1000;
/// Clients that refuse everything, at once.
const REFUSERS: usize = 20;

/// A client that answers every resource with the same reason, or takes it.
struct Listener {
    refuse: Option<&'static str>,
    heard: mpsc::UnboundedSender<Update>,
}

impl Handler for Listener {
    fn apply(&mut self, update: &Update) -> Vec<Rejection> {
        // Whoever has heard enough does not listen any more.
        let _ = self.heard.send(update.clone());
        let refused = self.refuse.iter().flat_map(|reason| {
            let names = update
                .resources
                .iter()
                .map(|resource| resource.name.clone());
            names.map(|name| Rejection {
                name,
                reason: (*reason).to_owned(),
            })
        });
        refused.collect()
    }
}

/// Connects to the controller as the proxy of node 2, from the lab's core, until `tasks` is dropped.
fn listen(
    siege: &Siege,
    refuse: Option<&'static str>,
    tasks: &mut JoinSet<()>,
) -> Result<mpsc::UnboundedReceiver<Update>> {
    let dir = siege.town.lab.run_dir();
    let config = ClientConfig {
        address: format!("https://{}", xds_address()),
        root: RootCert::File(dir.join("ca/root-cert.pem")),
        server_name: Some(CONTROLLER.to_owned()),
        token_file: Some(dir.join(node(2).short()).join("ztunnel.token")),
        headers: Vec::new(),
        node: Node {
            id: "hostile".to_owned(),
            ..Node::default()
        },
        types: TYPES.to_vec(),
    };
    let (heard, updates) = mpsc::unbounded_channel();
    let path = siege.town.lab.name().core().path();
    // Its sockets must be made in the core's namespace, so it has a thread there.
    let (stop, mut stopped) = mpsc::channel::<()>(1);
    tasks.spawn_blocking(move || {
        let entered = netns::inside(&path, || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async {
                let client = ambit_xds::run(config, Arc::default(), Listener { refuse, heard });
                tokio::select! { () = client => {}, _ = stopped.recv() => {} }
            });
        });
        entered.expect("the core's namespace");
    });
    tasks.spawn(async move {
        // Dropped with the set, which ends the thread.
        let _held = stop;
        std::future::pending::<()>().await;
    });
    Ok(updates)
}

/// Everything the controller has for a node proxy.
async fn everything(siege: &Siege) -> Result<ResourceSet> {
    let mut tasks = JoinSet::new();
    let mut updates = listen(siege, None, &mut tasks)?;
    let mut set = ResourceSet::default();
    for _ in TYPES {
        let update = tokio::time::timeout(SOON, updates.recv()).await?;
        let update = update.context("the client has ended")?;
        set = set.apply(update.resources.into_iter().map(|resource| ResourceChange {
            type_url: update.type_url.as_str().into(),
            name: resource.name.into(),
            resource: Some(Resource::new(resource.body, Vec::new(), Audience::Everyone)),
        }));
    }
    ensure!(set.count(type_urls::ADDRESS) > 0, "nothing heard");
    Ok(set)
}

/// Everybody is a node proxy.
struct Anybody;

#[tonic::async_trait]
impl Authorizer for Anybody {
    async fn authorize(&self, _: &tonic::metadata::MetadataMap) -> Result<Caller, Denied> {
        Ok(Caller {
            service_account: "istio-system/ztunnel".to_owned(),
            node: None,
            role: Role::Node,
        })
    }
}

/// Serves `sets` in the controller's place, with a certificate of the mesh, until `tasks` is dropped.
async fn usurp(
    siege: &Siege,
    sets: watch::Receiver<Arc<ResourceSet>>,
    tasks: &mut JoinSet<()>,
) -> Result<Server> {
    let lab = Authority::of_lab(&siege.town.lab.run_dir())?;
    let (leaf, key) = lab.leaf(vec![SanType::DnsName(CONTROLLER.try_into()?)])?;
    let identity = Identity::from_pem(leaf.pem(), key.serialize_pem());
    let listener = in_its_place(&siege.town.lab).await?;
    let incoming = TcpListenerStream::new(listener);
    let (trigger, watch) = drain::channel();
    let server = Server::new(sets, Arc::new(Anybody), watch);
    let service = server.clone().into_service();
    let grpc = tonic::transport::Server::builder()
        .tls_config(ServerTlsConfig::new().identity(identity))?;
    tasks.spawn(async move {
        let _held = trigger;
        let served = grpc.serve_with_incoming(service, incoming).await;
        served.expect("the usurper serves");
    });
    Ok(server)
}

fn pod(name: &str, address: &[u8]) -> ResourceChange {
    let uid = format!("Kubernetes//Pod/town/{name}");
    let workload = workload::Workload {
        uid: uid.clone(),
        name: name.to_owned(),
        namespace: TOWN.to_owned(),
        addresses: vec![address.to_vec()],
        ..Default::default()
    };
    let r#type = Some(workload::address::Type::Workload(workload));
    changed(&uid, workload::Address { r#type }.encode_to_vec())
}

fn changed(name: &str, body: Vec<u8>) -> ResourceChange {
    ResourceChange {
        type_url: type_urls::ADDRESS.into(),
        name: name.into(),
        resource: Some(Resource::new(body.into(), Vec::new(), Audience::Everyone)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_resource_is_refused_with_its_field_and_the_good_ones_of_its_message_apply()
-> Result<()> {
    let Some(siege) = siege().await? else {
        return Ok(());
    };
    let proxies = [1, 2].map(|n| DaemonKind::Ztunnel(node(n)));
    let mut round = 0;
    siege
        .withstands_at(&proxies, async |siege| {
            round += 1;
            hear_broken_resources(siege).await?;
            siege.town.start(DaemonKind::Controller).await?;
            siege.in_sync(&format!("after-{round}")).await?;
            settled(Instant::now()).await
        })
        .await
}

/// Both proxies hear broken resources and a good one from the controller's place, which is empty afterwards.
async fn hear_broken_resources(siege: &Siege) -> Result<()> {
    const REFUSED: &str = "ambit_xds_resources_refused_total";
    let town = &siege.town;
    let before = town.counted(2, REFUSED, &[]).await?;
    let ztunnel = DaemonKind::Ztunnel(node(2));
    let logged = town.lab.log(ztunnel).len();
    let set = everything(siege).await?;
    town.kill(DaemonKind::Controller).await?;
    let many = (0..BROKEN).map(|n| changed(&format!("garbage-{n}"), vec![0xff; 1024]));
    let broken = set.apply(many).apply([
        changed("empty", Vec::new()),
        pod("three-bytes", &[10, 0, 1]),
        pod("good", &[10, 244, 9, 9]),
    ]);
    let (_sets, receiver) = watch::channel(Arc::new(broken));
    let mut tasks = JoinSet::new();
    let server = usurp(siege, receiver, &mut tasks).await?;
    town.grows(2, (REFUSED, &[]), before, BROKEN as f64 + 2.0)
        .await?;
    for words in [
        ["resource refused", "garbage-0", "decode"],
        [
            "resource refused",
            "empty",
            "neither a workload nor a service",
        ],
        ["resource refused", "three-bytes", "addresses"],
    ] {
        siege.logged_since(ztunnel, logged, &words).await?;
    }
    until("the good one is known", SOON, || async {
        match town.lab.page(node(2), 15000, "/config_dump").await {
            Ok(dump) if dump.contains("Kubernetes//Pod/town/good") => Ok(()),
            other => Err(other.map(|dump| dump.len())),
        }
    })
    .await?;
    let rejects = server.counters();
    until("both proxies answered with a NACK", SOON, || async {
        let rejects = rejects.rejects.lock().expect("nobody panics").clone();
        match rejects.get(type_urls::ADDRESS) {
            Some(2..) => Ok(()),
            _ => Err(rejects),
        }
    })
    .await?;
    town.works("echo").await?;
    tasks.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_refuses_everything_is_counted_and_its_reason_logged() -> Result<()> {
    const REJECTS: &str = "pilot_total_xds_rejects_total";
    const REASON: &str = "nothing is ever good enough";
    let Some(siege) = siege().await? else {
        return Ok(());
    };
    let rejects = async |siege: &Siege| {
        let page = siege.town.lab.controller_page("/metrics").await?;
        anyhow::Ok(Scrape::parse(&page).sum(REJECTS, &[("type", "wds")]))
    };
    siege
        .withstands_at(&[DaemonKind::Controller], async |siege| {
            let before = rejects(siege).await?;
            let mut tasks = JoinSet::new();
            let heard = (0..REFUSERS).map(|_| listen(siege, Some(REASON), &mut tasks));
            let _updates = heard.collect::<Result<Vec<_>>>()?;
            until("the controller counts them", SOON, || async {
                match rejects(siege).await {
                    Ok(now) if now >= before + REFUSERS as f64 => Ok(()),
                    other => Err(other),
                }
            })
            .await?;
            let words = ["xds resources refused by client", REASON];
            siege.logged_by(DaemonKind::Controller, &words).await?;
            drop(tasks);
            siege.town.works("echo").await
        })
        .await
}
