//! Where log lines go: a bounded queue and one writer thread.
//! In: whole lines. Out: batches written to the target. A full queue drops the line and counts it:
//! a slow reader of our output must never hold up a worker.
//! Who owns: the thread ends when the last [`Sink`] is dropped.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// Lines that wait at most.
pub const CAPACITY: usize = 10_000;
/// Lines joined into one write.
const BATCH: usize = 64;

/// A handle to the writer. Cheap to clone, never blocks.
#[derive(Clone, Debug)]
pub struct Sink {
    queue: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

impl Sink {
    /// Starts a writer to `target` with room for `capacity` lines.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(target: impl Write + Send + 'static, capacity: usize) -> std::io::Result<Self> {
        let (queue, lines) = sync_channel(capacity);
        std::thread::Builder::new()
            .name("log".into())
            .spawn(move || write_all(&lines, target))?;
        Ok(Self {
            queue,
            dropped: Arc::default(),
        })
    }

    /// A writer to standard output.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn stdout() -> std::io::Result<Self> {
        Self::start(std::io::stdout(), CAPACITY)
    }

    /// Queues one line, which ends in a newline, or drops and counts it.
    pub fn line(&self, line: Vec<u8>) {
        if self.queue.try_send(Message::Line(line)).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Lines dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Waits, at most `patience`, until all lines queued so far are written. For the end of the
    /// process, never for a worker.
    pub fn flush(&self, patience: Duration) {
        let (done, finished) = sync_channel(1);
        if self.queue.try_send(Message::Flush(done)).is_ok() {
            // Late or gone: nothing more can be done for these lines.
            let _ = finished.recv_timeout(patience);
        }
    }
}

fn write_all(lines: &Receiver<Message>, mut target: impl Write) {
    let mut batch = Vec::with_capacity(16 * 1024);
    while let Ok(first) = lines.recv() {
        let mut waiting = Vec::new();
        let rest = std::iter::from_fn(|| lines.try_recv().ok()).take(BATCH - 1);
        for message in std::iter::once(first).chain(rest) {
            match message {
                Message::Line(line) => batch.extend_from_slice(&line),
                Message::Flush(done) => waiting.push(done),
            }
        }
        // A closed or full standard output is nobody's to handle: there is no place left to say so.
        let _ = target.write_all(&batch).and_then(|()| target.flush());
        batch.clear();
        for done in waiting {
            let _ = done.try_send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::mpsc::channel;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);
    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_arrive_in_order_before_a_flush_returns() {
        let memory = Memory::default();
        let sink = Sink::start(memory.clone(), 1000).unwrap();
        for n in 0..500 {
            sink.line(format!("{n}\n").into_bytes());
        }
        sink.flush(Duration::from_secs(10));
        let text = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 500);
        assert!(text.starts_with("0\n1\n"));
    }

    #[test]
    fn a_stuck_reader_costs_lines_not_time() {
        struct Stuck(std::sync::mpsc::Receiver<()>);
        impl Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                let _ = self.0.recv();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let (release, stuck) = channel();
        let sink = Sink::start(Stuck(stuck), 2).unwrap();
        for _ in 0..200 {
            sink.line(b"x\n".to_vec());
        }
        assert!(
            sink.dropped() >= 200 - 2 - BATCH as u64,
            "{}",
            sink.dropped()
        );
        drop(release);
    }
}
