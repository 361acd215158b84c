//! The data loader: the batches of an epoch, assembled by idle threads while those before are computed.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use rand::seq::SliceRandom;
use rayon::Yield;

use super::HostBatch;
use crate::config::{Experiment, Sampling};

/// Assembles the batch of the training samples at some indices, in this order.
pub type Assemble = dyn Fn(&[u32]) -> HostBatch + Send + Sync;

/// Loads the batches of one epoch. A batch larger than `train.micro_batch` is loaded in micro-batches.
pub struct DataLoader {
    assemble: Arc<Assemble>,
    /// The indices of the samples, batch after batch.
    order: Arc<[u32]>,
    batch_size: usize,
    micro_batch: usize,
    /// The micro-batches ahead, in order.
    prefetched: VecDeque<Prefetched>,
    /// The largest number of them.
    most: usize,
}

/// A micro-batch that another thread assembles, unless it is needed before.
struct Prefetched {
    position: Position,
    /// Whether a thread has begun.
    is_begun: Arc<AtomicBool>,
    batch: Receiver<std::thread::Result<HostBatch>>,
}

/// The position of a micro-batch: its first sample in the order of the epoch, and the number of its samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    first: usize,
    count: usize,
}

impl DataLoader {
    /// The batches of `epoch` (from 0) of a training on `samples` samples, in the random order of that epoch.
    #[must_use]
    pub fn new(experiment: &Experiment, samples: usize, assemble: Arc<Assemble>, epoch: u64) -> Self {
        let mut order: Vec<u32> = (0..u32::try_from(samples).unwrap_or(u32::MAX)).collect();
        // Balanced draws have a random order of their own.
        if experiment.data.shuffle && experiment.train.sampling == Sampling::Uniform {
            order.shuffle(&mut experiment.seed.stream("shuffle", epoch));
        }
        Self::in_order(experiment, assemble, &order, experiment.train.batch(samples))
    }

    /// The batches of the samples in `order`, with `batch_size` of them in a batch.
    #[must_use]
    pub fn in_order(experiment: &Experiment, assemble: Arc<Assemble>, order: &[u32], batch_size: usize) -> Self {
        let micro_batch = experiment.train.micro_batch.get();
        Self { assemble, order: order.into(), batch_size: batch_size.max(1), micro_batch, prefetched: VecDeque::new(), most: 1 }
    }

    /// Assembles up to `batches` micro-batches ahead. Without it one.
    #[must_use]
    pub fn with_prefetch(self, batches: usize) -> Self {
        Self { most: batches.max(1), ..self }
    }

    /// The batch `index` of the epoch, from 0. It is empty after the last.
    pub fn batch(&mut self, index: usize) -> LoadedBatch<'_> {
        let first = index.saturating_mul(self.batch_size).min(self.order.len());
        let count = self.batch_size.min(self.order.len() - first);
        LoadedBatch { loader: self, first, count }
    }

    /// The micro-batch whose first sample is at `first`. Returns `None` after the last.
    fn position(&self, first: usize) -> Option<Position> {
        let batch_end = (first / self.batch_size + 1) * self.batch_size;
        let end = batch_end.min(self.order.len()).min(first + self.micro_batch);
        (first < end).then_some(Position { first, count: end - first })
    }

    /// The micro-batch at `position`; those after it are prefetched.
    fn load(&mut self, position: Position) -> HostBatch {
        let found = self.prefetched.iter().position(|prefetched| prefetched.position == position);
        let batch = found.and_then(|index| self.prefetched.remove(index)).and_then(Prefetched::received);
        let batch = batch.unwrap_or_else(|| (self.assemble)(position.of(&self.order)));
        while self.prefetched.len() < self.most {
            let last = self.prefetched.back().map_or(position, |prefetched| prefetched.position);
            let Some(next) = self.position(last.first + last.count) else { break };
            self.prefetched.push_back(self.prefetch(next));
        }
        batch
    }

    fn prefetch(&self, position: Position) -> Prefetched {
        let (send, batch) = channel();
        let is_begun = Arc::new(AtomicBool::new(false));
        let (begun, assemble, order) = (Arc::clone(&is_begun), Arc::clone(&self.assemble), Arc::clone(&self.order));
        rayon::spawn_fifo(move || {
            if !begun.swap(true, Ordering::AcqRel) {
                // The loader may be gone.
                let _ = send.send(catch_unwind(AssertUnwindSafe(|| assemble(position.of(&order)))));
            }
        });
        Prefetched { position, is_begun, batch }
    }
}

impl Position {
    /// The indices of its samples.
    fn of(self, order: &[u32]) -> &[u32] {
        &order[self.first..self.first + self.count]
    }
}

impl Prefetched {
    /// The batch, when the thread that has begun it is done. Returns `None` if no thread has begun: then no thread will.
    fn received(self) -> Option<HostBatch> {
        if !self.is_begun.swap(true, Ordering::AcqRel) {
            return None;
        }
        // While it waits, the thread does other work of the pool, such as decoding the images of this batch.
        let received = loop {
            match self.batch.try_recv() {
                Ok(received) => break received,
                Err(_) if rayon::yield_now() == Some(Yield::Executed) => {}
                Err(_) => match self.batch.recv_timeout(Duration::from_micros(50)) {
                    Err(RecvTimeoutError::Timeout) => {}
                    received => break received.unwrap_or_else(|_| unreachable!("the thread sends a batch or its panic")),
                },
            }
        };
        match received {
            Ok(batch) => Some(batch),
            Err(panic) => resume_unwind(panic),
        }
    }
}

/// A batch of a [`DataLoader`].
pub struct LoadedBatch<'a> {
    loader: &'a mut DataLoader,
    first: usize,
    count: usize,
}

impl LoadedBatch<'_> {
    /// The number of its samples.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.count
    }

    /// Its micro-batches. Each call begins with the first.
    pub fn micro_batches(&mut self) -> MicroBatches<'_> {
        MicroBatches { loader: self.loader, next: self.first, end: self.first + self.count }
    }
}

/// The micro-batches of a batch, one after the other.
pub struct MicroBatches<'a> {
    loader: &'a mut DataLoader,
    next: usize,
    end: usize,
}

/// A part of a batch that is computed at once.
pub struct MicroBatch {
    /// The samples.
    pub batch: HostBatch,
    /// The number of samples.
    pub count: usize,
}

impl Iterator for MicroBatches<'_> {
    type Item = MicroBatch;

    fn next(&mut self) -> Option<MicroBatch> {
        let position = self.loader.position(self.next).filter(|_| self.next < self.end)?;
        self.next += position.count;
        Some(MicroBatch { batch: self.loader.load(position), count: position.count })
    }
}
