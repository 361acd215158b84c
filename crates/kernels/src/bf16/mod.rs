//! Convolutions of bfloat16 numbers: images, weights and gradients are rounded to 8 bits of precision, and their products are summed in float32, by the matrix instructions of x86-64
//! processors with AMX, or by vectors of AVX-512. The rounding is to the nearest, ties to even. Numbers below 1.2e-38 count as 0.
//!
//! A *tile* is 16 rows of 64 bytes. One instruction of AMX, or 256 of AVX-512, multiply 16 rows of 32 numbers by 32 rows of 16, whose rows lie in pairs: `[pair, column, row of the pair]`.

mod forward;
#[cfg_attr(not(all(target_arch = "x86_64", target_os = "linux", not(miri))), path = "absent.rs")]
mod instructions;
mod interleaved;
mod patches;
mod weight_gradient;
mod weights;

pub(crate) use forward::{followed, forward};
pub(crate) use weight_gradient::weight_gradient;
pub(crate) use weights::Weights;

use crate::simd::Path;

/// That the processor has the instructions, and the program may use them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bf16(instructions::Permission);

/// The instructions can't be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bfloat16 needs Linux on an x86-64 processor with avx512_bf16: {problem}")]
pub struct Missing {
    problem: String,
}

impl Bf16 {
    /// Asks the processor, and the system for the permission to use AMX. Without AMX, or the permission, the instructions are those of AVX-512.
    ///
    /// # Errors
    ///
    /// When the processor does not have the instructions, or `path` is not that of AVX-512.
    pub fn try_new(path: Path) -> Result<Self, Missing> {
        Ok(Self::all(path)?[0])
    }

    /// Those for all kinds of instructions that the program may use, at least one, the fastest first.
    ///
    /// # Errors
    ///
    /// As [`Bf16::try_new`].
    pub fn all(path: Path) -> Result<Vec<Self>, Missing> {
        if path.name != "avx512" {
            return Err(Missing { problem: format!("the vector instructions in use are `{}`", path.name) });
        }
        let all = instructions::Permission::all().map_err(|problem| Missing { problem: problem.to_owned() })?;
        Ok(all.iter().map(|permission| Self(*permission)).collect())
    }
}

/// Rows, and columns of float32, of a tile.
const SIDE: usize = 16;
/// Numbers of bfloat16 in a row of a tile.
const STEP: usize = 32;
/// Numbers of bfloat16 in a tile.
const TILE: usize = SIDE * STEP;

/// Rows times columns.
#[derive(Clone, Copy)]
#[cfg_attr(not(all(target_arch = "x86_64", target_os = "linux", not(miri))), expect(dead_code, reason = "only the instructions read it"))]
struct Product<'a> {
    /// The 16 rows on the left. Each begins `stride` numbers after the one before.
    left: &'a [u16],
    stride: usize,
    /// How many numbers after the first 16 rows there are another 16.
    second: Option<usize>,
    /// Numbers from one step of 32 numbers to the next.
    step: usize,
    /// For each step one tile, or two.
    right: &'a [u16],
    is_wide: bool,
    /// The steps.
    runs: &'a [Run],
}

/// Steps one after the other on both sides of a product.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Run {
    /// The first number on the left.
    left: usize,
    /// The first step on the right.
    right: usize,
    steps: usize,
}

/// Pixels with a distance between them.
#[derive(Clone, Copy)]
#[cfg_attr(not(all(target_arch = "x86_64", target_os = "linux", not(miri))), expect(dead_code, reason = "only the instructions read it"))]
struct Pixels<'a> {
    numbers: &'a [f32],
    count: usize,
    distance: usize,
    /// Channels from the first number of a pixel on.
    channels: usize,
}
