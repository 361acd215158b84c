//! Assembling a batch while the one before it is computed.

use super::{Assembled, Batch, Batcher};

/// The samples of the next batch, if they are assembled already.
#[derive(Debug, Default)]
pub struct Prefetch(Option<(Vec<u32>, Assembled)>);

impl Prefetch {
    /// Calls `work` with the samples at `indices`, while those at `upcoming` are assembled by a thread that has nothing else to do. `work` stays
    /// on the caller's thread, to which a GPU's queue belongs. `assemble` gives the same samples for the same indices.
    pub fn during<R>(
        &mut self,
        batcher: &Batcher,
        assemble: impl Fn(&[u32]) -> Assembled + Sync,
        indices: &[u32],
        upcoming: Option<&[u32]>,
        work: impl FnOnce(Batch) -> R,
    ) -> R {
        let assembled = match self.0.take() {
            Some((ready, assembled)) if ready == indices => assembled,
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
            work(batcher.tensors(assembled))
        })
    }
}
