//! Assembling a batch while the one before it is computed.

use super::{Assembled, Batch, Batcher, Part};

/// The samples of the next batch, if they are assembled already.
#[derive(Debug, Default)]
pub struct Ahead(Option<(Vec<u32>, Assembled)>);

impl Ahead {
    /// Calls `work` with the samples of `part` at `indices`, while those at `upcoming` are assembled by a thread that has nothing else to do.
    /// `work` stays on the caller's thread, to which a GPU's queue belongs.
    pub fn during<R>(
        &mut self,
        batcher: &Batcher,
        part: &Part,
        indices: &[u32],
        upcoming: Option<&[u32]>,
        work: impl FnOnce(Batch) -> R,
    ) -> R {
        let assembled = match self.0.take() {
            Some((ready, assembled)) if ready == indices => assembled,
            _ => batcher.assemble(part, indices),
        };
        let next = &mut self.0;
        rayon::in_place_scope(|scope| {
            scope.spawn(|_| *next = upcoming.map(|indices| (indices.to_vec(), batcher.assemble(part, indices))));
            work(batcher.tensors(assembled))
        })
    }
}
