//! Assembling a batch while the one before it is computed.

use super::{Assembled, Batch, Batcher, Part};

/// The samples of the next batch, if they are assembled already.
#[derive(Debug, Default)]
pub struct Ahead(Option<(Vec<u32>, Assembled)>);

impl Ahead {
    /// Calls `work` with the samples of `part` at `indices`, while those at `upcoming` are assembled by a thread that has nothing else to do.
    pub fn during<R: Send>(
        &mut self,
        batcher: &Batcher,
        part: &Part,
        indices: &[u32],
        upcoming: Option<&[u32]>,
        work: impl FnOnce(Batch) -> R + Send,
    ) -> R {
        let assembled = match self.0.take() {
            Some((ready, assembled)) if ready == indices => assembled,
            _ => batcher.assemble(part, indices),
        };
        let assemble = || upcoming.map(|indices| (indices.to_vec(), batcher.assemble(part, indices)));
        let (done, next) = rayon::join(|| work(batcher.tensors(assembled)), assemble);
        self.0 = next;
        done
    }
}
