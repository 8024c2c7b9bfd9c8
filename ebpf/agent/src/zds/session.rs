//! One connected proxy.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use ambit_api::zds::Ack;
use ambit_net::fd_passing::{RecvError, SendError, SeqPacket};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::wire;
use crate::events::Event;
use crate::listeners::Listeners;
use crate::proxy::{Answer, Command, SessionId, Subject};
use ambit_runtime::causes::causes;

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum SessionError {
    #[error("the proxy closed the connection")]
    Closed,
    #[error("cannot send to the proxy")]
    Send(#[source] SendError),
    #[error("cannot receive from the proxy")]
    Receive(#[source] RecvError),
    #[error("the proxy did not answer within {0:?}")]
    Late(Duration),
    #[error("the proxy spoke without being asked")]
    Unasked,
    #[error("the proxy does not speak ZDS")]
    Wire(#[source] wire::WireError),
    #[error("the agent ended the session")]
    Dismissed,
}

impl SessionError {
    /// In a word; `None` for a session that ended as sessions do.
    fn failure(&self) -> Option<&'static str> {
        match self {
            Self::Closed | Self::Dismissed => None,
            Self::Send(_) => Some("send"),
            Self::Receive(_) => Some("receive"),
            Self::Late(_) => Some("late"),
            Self::Unasked => Some("unasked"),
            Self::Wire(_) => Some("protocol"),
        }
    }
}

/// Serves one proxy until it goes; says so in the end.
pub(super) async fn run(session: SessionId, socket: SeqPacket, events: mpsc::Sender<Event>) {
    let mut talk = Session {
        session,
        socket,
        events,
    };
    let Err(error) = talk.talk().await;
    let reason = causes(&error);
    tracing::info!(session = session.0, %reason, "proxy connection ended");
    // The receiver is gone only when the agent stops.
    let failure = error.failure();
    let gone = Event::ProxyGone {
        session,
        reason,
        failure,
    };
    let _ = talk.events.send(gone).await;
}

struct Session {
    session: SessionId,
    socket: SeqPacket,
    events: mpsc::Sender<Event>,
}

impl Session {
    async fn talk(&mut self) -> Result<std::convert::Infallible, SessionError> {
        let (bytes, _) = self.receive().await?;
        let workers = wire::hello(&bytes).map_err(SessionError::Wire)?;
        tracing::info!(session = self.session.0, ?workers, "proxy connected");
        let (commands, mut queue) = mpsc::channel(QUEUE);
        self.tell(Event::ProxyConnected {
            session: self.session,
            workers,
            commands,
        })
        .await?;
        loop {
            let mut unasked = [0; 1];
            let command = tokio::select! {
                biased;
                command = queue.recv() => command,
                heard = self.socket.recv(&mut unasked) => return Err(match heard {
                    Ok((0, _)) => SessionError::Closed,
                    Ok(_) | Err(RecvError::Truncated { .. }) => SessionError::Unasked,
                    Err(error) => SessionError::Receive(error),
                }),
            };
            match command {
                Some(command) => self.obey(command).await?,
                None => return Err(SessionError::Dismissed),
            }
        }
    }

    async fn obey(&mut self, command: Command) -> Result<(), SessionError> {
        match command {
            Command::Offer { pod, listeners } => {
                let answer = self.offer(&pod, &listeners).await?;
                self.answered(&pod, answer).await
            }
            Command::Ask { pod, first } => {
                let answer = self.ask(&pod, first).await?;
                self.answered(&pod, answer).await
            }
            Command::Delete(uid) => {
                let (ack, _) = self.exchange(&wire::delete(&uid), &[]).await?;
                if !ack.error.is_empty() {
                    tracing::warn!(workload = %uid, error = %ack.error, "proxy cannot drop a pod");
                }
                Ok(())
            }
            Command::SnapshotSent => {
                let (ack, _) = self.exchange(&wire::snapshot_sent(), &[]).await?;
                if !ack.error.is_empty() {
                    tracing::warn!(error = %ack.error, "proxy does not take the snapshot");
                }
                Ok(())
            }
        }
    }

    async fn offer(&self, pod: &Subject, listeners: &Listeners) -> Result<Answer, SessionError> {
        for part in wire::parts(listeners.workers()) {
            let mut fds = vec![pod.netns.as_fd()];
            fds.extend(listeners.descriptors(part.first, part.workers));
            let (ack, _) = self
                .exchange(&wire::offer(&pod.identity, part), &fds)
                .await?;
            if !ack.error.is_empty() {
                return Ok(Answer::Refused(ack.error));
            }
        }
        Ok(Answer::Accepted)
    }

    async fn ask(&self, pod: &Subject, first: u32) -> Result<Answer, SessionError> {
        let (ack, fds) = self
            .exchange(&wire::question(&pod.identity, first), &[pod.netns.as_fd()])
            .await?;
        Ok(match ack.held {
            _ if !ack.error.is_empty() => Answer::Refused(ack.error),
            Some(sockets) if !fds.is_empty() => Answer::Held { sockets, fds },
            _ => Answer::HoldsNone,
        })
    }

    async fn exchange(
        &self,
        message: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Result<(Ack, Vec<OwnedFd>), SessionError> {
        timeout(DEADLINE, self.socket.send(message, fds))
            .await
            .map_err(|_| SessionError::Late(DEADLINE))?
            .map_err(SessionError::Send)?;
        let (bytes, fds) = self.receive().await?;
        let ack = wire::ack(&bytes).map_err(SessionError::Wire)?;
        Ok((ack, fds))
    }

    async fn receive(&self) -> Result<(Vec<u8>, Vec<OwnedFd>), SessionError> {
        let mut buffer = vec![0; wire::MAX_MESSAGE];
        let (len, fds) = timeout(DEADLINE, self.socket.recv(&mut buffer))
            .await
            .map_err(|_| SessionError::Late(DEADLINE))?
            .map_err(SessionError::Receive)?;
        // Every message of ZDS has content, so nothing means the end.
        if len == 0 {
            return Err(SessionError::Closed);
        }
        buffer.truncate(len);
        Ok((buffer, fds))
    }

    async fn answered(&self, pod: &Subject, answer: Answer) -> Result<(), SessionError> {
        self.tell(Event::ProxyAnswered {
            session: self.session,
            uid: pod.identity.uid.clone(),
            ticket: pod.ticket,
            answer,
        })
        .await
    }

    async fn tell(&self, event: Event) -> Result<(), SessionError> {
        self.events
            .send(event)
            .await
            .map_err(|_| SessionError::Closed)
    }
}

/// For the hello and for every answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// Room for a snapshot of every slot and changes meanwhile; a session that falls behind further is ended.
const QUEUE: usize = 2 * ambit_ebpf_common::MAX_SLOTS as usize;
