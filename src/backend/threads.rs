//! The threads of the CPU backends.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rayon::Yield;

use super::BackendError;
use crate::config::Implementation;

/// How long a thread looks for work before it sleeps. To wake one takes tens of microseconds, as long as a small layer computes.
const PATIENCE: Duration = Duration::from_millis(1);

/// Threads that look for work, or are about to.
static AWAKE: AtomicUsize = AtomicUsize::new(0);

/// Starts the threads, once; `0` is one per core.
pub(super) fn start(asked: usize) -> Result<usize, BackendError> {
    static STARTED: OnceLock<usize> = OnceLock::new();
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = if asked == 0 { cores() } else { asked };
    let failed = |problem: String| BackendError::Threads { threads, problem };
    let mut fresh = Ok(());
    let running = *STARTED.get_or_init(|| {
        fresh = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().map_err(|error| failed(error.to_string()));
        rayon::current_num_threads()
    });
    fresh?;
    if running == threads { Ok(threads) } else { Err(failed(format!("this process already computes with {running}"))) }
}

/// Runs work on one of the threads, if it is done with the kernels: from outside, each parallel part would have to be handed over. Other work
/// stays on the caller's thread, to which a GPU's queue belongs.
pub fn on_threads<R: Send>(implementation: Implementation, work: impl FnOnce() -> R + Send) -> R {
    match implementation {
        Implementation::Fused => rayon::scope(|_| work()),
        Implementation::Stock => work(),
    }
}

/// Has the other threads look for work instead of sleeping, until there has been none for a millisecond. It is called on one of the threads,
/// before each piece of work with short parallel parts.
pub fn keep_awake() {
    let Some(caller) = rayon::current_thread_index() else { return };
    while AWAKE.load(Ordering::Relaxed) + 1 < rayon::current_num_threads() {
        AWAKE.fetch_add(1, Ordering::Relaxed);
        rayon::spawn(move || {
            // The caller may come by it while it waits for others, who must not wait for it.
            if rayon::current_thread_index() != Some(caller) {
                look_for_work();
            }
            AWAKE.fetch_sub(1, Ordering::Relaxed);
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
