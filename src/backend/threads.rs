//! Threads of the CPU backends.

use std::cell::OnceCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rayon::{ThreadPool, ThreadPoolBuilder, Yield};

use regulus_kernels::buffers;

use super::BackendError;

/// How long a thread looks for work before it sleeps. To wake a thread takes tens of microseconds, as long as a small layer computes.
const PATIENCE: Duration = Duration::from_millis(1);

thread_local! {
    /// On a thread of a pool: the number of threads of the pool that look for work, or are about to.
    static AWAKE: OnceCell<Arc<AtomicUsize>> = const { OnceCell::new() };
}

/// The threads that compute: a pool, or the caller's thread for GPUs. Clones share the pool. With the last one goes the memory that kernels keep for the next tensors.
#[derive(Clone, Debug)]
pub struct Threads(Option<Arc<Pool>>);

#[derive(Debug)]
struct Pool(ThreadPool);

impl Drop for Pool {
    fn drop(&mut self) {
        buffers::release();
    }
}

impl Threads {
    /// A new pool of `count` threads; 0: one per core.
    ///
    /// # Errors
    ///
    /// When the threads can't be started.
    pub fn start(count: usize) -> Result<Self, BackendError> {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = if count == 0 { cores() } else { count };
        let awake = Arc::new(AtomicUsize::new(0));
        let share = move |_| AWAKE.with(|cell| cell.set(Arc::clone(&awake)).unwrap_or_else(|_| unreachable!("a thread starts once")));
        let pool = ThreadPoolBuilder::new().num_threads(threads).start_handler(share).thread_name(|index| format!("regulus {index}"));
        let pool = pool.build().map_err(|error| BackendError::Threads { threads, problem: error.to_string() })?;
        Ok(Self(Some(Arc::new(Pool(pool)))))
    }

    /// The caller's thread. The queue of a GPU belongs to the thread that filled it.
    #[must_use]
    pub fn of_caller() -> Self {
        Self(None)
    }

    /// The number of threads.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.as_ref().map_or_else(rayon::current_num_threads, |pool| pool.0.current_num_threads())
    }

    /// Runs `work` on one of the threads: from outside of the pool, each of its parallel parts would have to be handed over.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match &self.0 {
            Some(pool) => pool.0.install(work),
            None => work(),
        }
    }
}

/// Lets the other threads of the pool look for work instead of sleeping, until there has been none for a millisecond. To be called on a thread of the pool,
/// before each piece of work with short parallel parts; elsewhere it has no effect.
pub fn keep_awake() {
    let Some(awake) = AWAKE.with(|cell| cell.get().map(Arc::clone)) else { return };
    let caller = rayon::current_thread_index();
    while awake.load(Ordering::Relaxed) + 1 < rayon::current_num_threads() {
        awake.fetch_add(1, Ordering::Relaxed);
        let awake = Arc::clone(&awake);
        rayon::spawn(move || {
            // The caller may run this while it waits for others, who must not wait for it.
            if rayon::current_thread_index() != caller {
                look_for_work();
            }
            awake.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

fn look_for_work() {
    let mut last = Instant::now();
    while last.elapsed() < PATIENCE {
        if rayon::yield_now() == Some(Yield::Executed) {
            last = Instant::now();
        } else {
            std::thread::yield_now();
        }
    }
}
