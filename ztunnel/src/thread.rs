//! One data-plane thread: a current-thread runtime and the worker on it.
//! In: commands of the control runtime, changes of the snapshot, the drain. Out: the sockets of pods
//! served. Owns: the accept loops and the worker.
//! Nothing here crosses threads but the snapshot, counters and commands.

mod command;
mod pods;

pub use command::{ConnectionView, Gone, WorkerHandle};

use crate::outcome::Cut;
use crate::worker::{Shared, Worker};
use ambit_runtime::drain::Watch;
use command::Command;
use pods::PodServers;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

/// Starts worker `index`. It ends after the drain; join the thread to wait for it.
///
/// # Errors
/// The thread or its runtime cannot be made.
pub fn start(
    index: usize,
    shared: Arc<Shared>,
    drain: Watch,
) -> io::Result<(WorkerHandle, JoinHandle<()>)> {
    let (handle, commands) = command::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let thread = std::thread::Builder::new()
        .name(format!("worker-{index}"))
        .spawn(move || {
            let local = LocalSet::new();
            local.block_on(&runtime, async move {
                let worker = Worker::new(index, shared);
                run(Rc::new(worker), commands, drain).await;
            });
        })?;
    Ok((handle, thread))
}

async fn run(worker: Rc<Worker>, mut commands: mpsc::Receiver<Command>, mut drain: Watch) {
    let mut pods = PodServers::new(worker.clone());
    let mut changes = worker.shared.state.changes();
    let mut tick = tokio::time::interval(REPORT);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(command) => pods.obey(command),
                None => break,
            },
            Ok(()) = changes.changed() => {
                let generation = *changes.borrow_and_update();
                worker.decide_again(generation);
            }
            _ = tick.tick() => {
                worker.report();
                pods.reap();
            }
            _ = drain.signalled() => break,
        }
    }
    pods.stop_all();
    let over = async {
        pods.finished().await;
        worker.tunnels.close().await;
    };
    tokio::select! {
        () = over => {}
        () = answer_while_draining(&worker, &mut commands) => {}
        () = drain.expired() => {
            worker.registry.cut_where(Cut::Drain, |_| true);
            // Cut connections still write their line; that takes no waiting on peers.
            let _ = tokio::time::timeout(LAST_WORDS, pods.finished()).await;
        }
    }
    worker.report();
}

/// Admin still asks for connections during a drain; the channel is never closed before its end.
async fn answer_while_draining(worker: &Worker, commands: &mut mpsc::Receiver<Command>) {
    while let Some(command) = commands.recv().await {
        command.answer_draining(worker);
    }
    std::future::pending().await
}

/// How often bytes of living connections reach the metrics.
const REPORT: Duration = Duration::from_secs(5);
const LAST_WORDS: Duration = Duration::from_secs(1);
