//! The pods of one worker: their listeners and accept loops.
//! In: commands. Out: accept loops that hand connections to `outbound`, `inbound` and `dns`.
//! Owns: the loops; a loop owns the tasks of its connections.

use super::command::{Command, connections};
use crate::accept::{self, Stop};
use crate::dns;
use crate::flow::Direction;
use crate::metrics::{Held, ReporterLabel};
use crate::outcome::Cut;
use crate::pod::{Pod, Role, WorkerSockets};
use crate::worker::{Shared, Worker};
use crate::{inbound, outbound};
use ambit_runtime::tasks::TaskGroup;
use foldhash::{HashMap, HashMapExt};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;

/// All pods of a worker.
#[derive(Debug)]
pub(super) struct PodServers {
    worker: Rc<Worker>,
    pods: HashMap<Arc<str>, PodServer>,
    /// Loops that run, and those that only wait for their last connections.
    loops: TaskGroup,
}

#[derive(Debug)]
struct PodServer {
    pod: Arc<Pod>,
    sockets: Vec<(Role, Socket)>,
    stop: watch::Sender<bool>,
}

#[derive(Clone, Debug)]
enum Socket {
    Tcp(Rc<TcpListener>),
    Udp(Rc<UdpSocket>),
}

impl PodServers {
    pub(super) fn new(worker: Rc<Worker>) -> Self {
        Self {
            worker,
            pods: HashMap::new(),
            loops: TaskGroup::new("pods"),
        }
    }

    pub(super) fn obey(&mut self, command: Command) {
        // Whoever asked may have gone; then nobody needs the answer.
        match command {
            Command::Serve { pod, sockets, done } => {
                let served = self.serve(pod, sockets).map_err(|error| error.to_string());
                let _ = done.send(served);
            }
            Command::Remove { uid, done } => {
                self.remove(&uid);
                let _ = done.send(());
            }
            Command::Held { uid, reply } => {
                let _ = reply.send(self.held(&uid));
            }
            Command::Connections { reply } => {
                let _ = reply.send(connections(&self.worker));
            }
        }
    }

    /// Collects loops that have ended.
    pub(super) fn reap(&mut self) {
        self.loops.reap();
    }

    /// Accepts nothing more, anywhere.
    pub(super) fn stop_all(&mut self) {
        for (_, server) in self.pods.drain() {
            server.stop.send_replace(true);
        }
    }

    /// Waits for the last connection. Cancel-safe.
    pub(super) async fn finished(&mut self) {
        self.loops.wait().await;
    }

    fn serve(&mut self, pod: Arc<Pod>, sockets: WorkerSockets) -> io::Result<()> {
        let opened = sockets
            .into_iter()
            .map(|(role, fd)| Ok((role, Socket::open(role, fd, &self.worker.shared)?)))
            .collect::<io::Result<Vec<_>>>()?;
        let (stop, stopped) = watch::channel(false);
        for (role, socket) in &opened {
            self.arm(*role, socket.clone(), pod.clone(), stopped.clone());
        }
        let server = PodServer {
            pod: pod.clone(),
            sockets: opened,
            stop,
        };
        if let Some(before) = self.pods.insert(pod.uid.clone(), server) {
            before.stop.send_replace(true);
        }
        Ok(())
    }

    fn arm(&mut self, role: Role, socket: Socket, pod: Arc<Pod>, stop: Stop) {
        let worker = self.worker.clone();
        let gauge = {
            let reporter = Direction::of(role).reporter().as_str();
            worker
                .shared
                .metrics
                .sockets
                .get_or_create(&ReporterLabel { reporter })
                .clone()
        };
        match (role, socket) {
            (Role::Outbound, Socket::Tcp(listener)) => {
                let accept = accept::serve(listener, stop, move |accepted| {
                    let open = Held::of(&gauge);
                    let serve = outbound::serve(worker.clone(), pod.clone(), accepted);
                    async move {
                        serve.await;
                        drop(open);
                    }
                });
                self.loops.spawn_local("outbound", accept);
            }
            (Role::Inbound, Socket::Tcp(listener)) => {
                let accept = accept::serve(listener, stop, move |accepted| {
                    let open = Held::of(&gauge);
                    let serve = inbound::plaintext::serve(worker.clone(), pod.clone(), accepted);
                    async move {
                        serve.await;
                        drop(open);
                    }
                });
                self.loops.spawn_local("inbound", accept);
            }
            (Role::Hbone, Socket::Tcp(listener)) => {
                let going = stop.clone();
                let accept = accept::serve(listener, stop, move |accepted| {
                    let open = Held::of(&gauge);
                    let pod = pod.clone();
                    let serve = inbound::hbone::serve(worker.clone(), pod, accepted, going.clone());
                    async move {
                        serve.await;
                        drop(open);
                    }
                });
                self.loops.spawn_local("hbone", accept);
            }
            (_, Socket::Tcp(listener)) => {
                let accept = accept::serve(listener, stop, move |accepted| {
                    dns::server::serve_tcp(worker.clone(), pod.clone(), accepted)
                });
                self.loops.spawn_local("dns-tcp", accept);
            }
            (_, Socket::Udp(socket)) => {
                let serve = dns::server::serve_udp(worker, pod, socket, stop);
                self.loops.spawn_local("dns-udp", serve);
            }
        }
    }

    fn remove(&mut self, uid: &str) {
        if let Some(server) = self.pods.remove(uid) {
            server.stop.send_replace(true);
            self.worker
                .registry
                .cut_where(Cut::PodRemoved, |pod| &*pod.uid == uid);
            self.worker.tunnels.forget(&server.pod);
            self.worker.release_certificates();
        }
    }

    fn held(&self, uid: &str) -> WorkerSockets {
        let Some(server) = self.pods.get(uid) else {
            return WorkerSockets::new();
        };
        server
            .sockets
            .iter()
            .filter_map(|(role, socket)| {
                let fd = match socket {
                    Socket::Tcp(listener) => listener.as_fd().try_clone_to_owned(),
                    Socket::Udp(socket) => socket.as_fd().try_clone_to_owned(),
                };
                match fd {
                    Ok(fd) => Some((*role, fd)),
                    Err(error) => {
                        tracing::error!(%error, "a listener cannot be given back");
                        None
                    }
                }
            })
            .collect()
    }
}

impl Socket {
    /// Registers a received socket with this worker's runtime. Accepted sockets inherit what is set
    /// here, so it is done once per listener.
    fn open(role: Role, fd: OwnedFd, shared: &Shared) -> io::Result<Self> {
        if role == Role::DnsUdp {
            let socket = std::net::UdpSocket::from(fd);
            socket.set_nonblocking(true)?;
            return Ok(Self::Udp(Rc::new(UdpSocket::from_std(socket)?)));
        }
        let listener = std::net::TcpListener::from(fd);
        listener.set_nonblocking(true)?;
        let options = socket2::SockRef::from(&listener);
        options.set_tcp_nodelay(true)?;
        if let Some(keepalive) = shared.config.keepalive.filter(|_| role != Role::Hbone) {
            options.set_tcp_keepalive(
                &socket2::TcpKeepalive::new()
                    .with_time(keepalive.idle)
                    .with_interval(keepalive.interval)
                    .with_retries(keepalive.retries),
            )?;
        }
        Ok(Self::Tcp(Rc::new(TcpListener::from_std(listener)?)))
    }
}
