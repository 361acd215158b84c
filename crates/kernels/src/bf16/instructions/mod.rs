//! The instructions, of one of two kinds.
#![expect(unsafe_code, reason = "they are called where the processor has them")]

mod rounding;
mod tiles;
mod vectors;

use std::sync::OnceLock;

pub(super) use rounding::{columns, pairs, round, spread};
use tiles::Tiles;

use super::{Bf16, Product, SIDE, STEP};

/// That the instructions may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Permission(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Tiles,
    Vectors,
}

impl Permission {
    /// All kinds that the processor has, the fastest first.
    pub(super) fn all() -> Result<&'static [Self], &'static str> {
        static FOUND: OnceLock<&'static [Permission]> = OnceLock::new();
        let found = *FOUND.get_or_init(|| {
            let has_vectors = std::arch::is_x86_feature_detected!("avx512f")
                && std::arch::is_x86_feature_detected!("avx512bf16")
                && std::arch::is_x86_feature_detected!("avx512bw")
                && std::arch::is_x86_feature_detected!("avx512vl");
            match (has_vectors, has_vectors && tiles::are_permitted()) {
                (_, true) => &[Permission(Kind::Tiles), Permission(Kind::Vectors)],
                (true, false) => &[Permission(Kind::Vectors)],
                (false, false) => &[],
            }
        });
        if found.is_empty() { Err("the processor has no avx512_bf16") } else { Ok(found) }
    }
}

/// Multiplies on this thread: by tiles, or by vectors.
pub(super) struct Multiplier(Option<Tiles>);

impl Multiplier {
    pub(super) fn new(Bf16(Permission(kind)): Bf16) -> Self {
        // SAFETY: there is a permission of this kind only if the program may use it.
        Self((kind == Kind::Tiles).then(|| unsafe { Tiles::new() }))
    }

    /// Writes the product to 16 or 32 rows, each `stride` numbers after the one before; or adds it to them, if it is not the first.
    ///
    /// # Panics
    ///
    /// When a slice is too short, there is no run, or one has no steps.
    #[inline]
    pub(super) fn multiply(&self, product: &Product, to: &mut [f32], stride: usize, is_first: bool) {
        let Product { left, stride: by, step, second, right, is_wide, runs } = *product;
        let (rows, columns) = (SIDE * (1 + usize::from(second.is_some())), SIDE * (1 + usize::from(is_wide)));
        let (mut before, mut steps) = (0, 0);
        for run in runs {
            assert!(run.steps > 0, "{run:?}");
            before = before.max(run.left + (run.steps - 1) * step);
            steps = steps.max(run.right + run.steps);
        }
        let read = before + second.unwrap_or_default() + (SIDE - 1) * by + STEP;
        assert!(!runs.is_empty(), "no steps");
        assert!(left.len() >= read, "{read} numbers on the left in {}", left.len());
        assert!(right.len() >= steps * columns * STEP, "{steps} steps on the right in {}", right.len());
        assert!(to.len() >= (rows - 1) * stride + columns, "{rows} rows in {}", to.len());
        // SAFETY: the lengths have been checked; there is a value of this kind only if the processor has the instructions.
        unsafe {
            match &self.0 {
                Some(tiles) => tiles.multiply(product, to, stride, is_first),
                None => vectors::multiply(product, to, stride, is_first),
            }
        }
    }
}
