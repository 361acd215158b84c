//! Prefetching: the next batch is assembled while the current one is computed.

use super::HostBatch;

/// The next batch and its indices, once it is assembled.
#[derive(Debug, Default)]
pub struct Prefetch(Option<(Vec<u32>, HostBatch)>);

impl Prefetch {
    /// Calls `work` with the batch of `indices`, while an idle thread assembles the batch of `upcoming`. `work` runs on the caller's thread, because
    /// the queue of a GPU belongs to it. `assemble` must return the same batch for the same indices.
    pub fn during<R>(
        &mut self,
        assemble: impl Fn(&[u32]) -> HostBatch + Sync,
        indices: &[u32],
        upcoming: Option<&[u32]>,
        work: impl FnOnce(HostBatch) -> R,
    ) -> R {
        let batch = match self.0.take() {
            Some((ready, batch)) if ready == indices => batch,
            other => {
                self.0 = other;
                assemble(indices)
            }
        };
        let next = &mut self.0;
        rayon::in_place_scope(|scope| {
            if let Some(upcoming) = upcoming {
                scope.spawn(|_| *next = Some((upcoming.to_vec(), assemble(upcoming))));
            }
            work(batch)
        })
    }
}
