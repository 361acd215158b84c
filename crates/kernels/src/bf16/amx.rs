//! The instructions.
#![expect(unsafe_code, reason = "Rust has no functions for AMX, and vectors are read and written by pointers")]

use core::arch::asm;
use core::arch::x86_64::{
    __cpuid_count, __m256bh, __m256i, __m512bh, __m512i, _mm256_mask_storeu_epi16, _mm512_cvtne2ps_pbh, _mm512_cvtneps_pbh,
    _mm512_loadu_ps, _mm512_loadu_si512, _mm512_maskz_loadu_ps, _mm512_permutexvar_epi16, _mm512_shuffle_i32x4, _mm512_storeu_si512,
    _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};
use core::marker::PhantomData;
use core::mem::transmute;
use std::sync::OnceLock;

use super::{Bf16, Pixels, Product, SIDE, STEP, TILE};

/// That the instructions may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Permission(());

impl Permission {
    pub(super) fn try_new() -> Result<Self, &'static str> {
        static FOUND: OnceLock<Result<Permission, &'static str>> = OnceLock::new();
        *FOUND.get_or_init(|| {
            // Bits of the leaf of features: amx_bf16 and amx_tile.
            let needed = 1 << 22 | 1 << 24;
            if __cpuid_count(0, 0).eax < 7 || __cpuid_count(7, 0).edx & needed != needed {
                return Err("the processor has no AMX");
            }
            let has_vectors = std::arch::is_x86_feature_detected!("avx512bf16")
                && std::arch::is_x86_feature_detected!("avx512bw")
                && std::arch::is_x86_feature_detected!("avx512vl");
            if !has_vectors {
                return Err("the processor has no avx512_bf16");
            }
            if request() { Ok(Self(())) } else { Err("the system does not permit AMX (Linux 5.16 and later do)") }
        })
    }
}

/// Asks Linux for the use of tiles by all threads of the process: `arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)`.
fn request() -> bool {
    let result: i64;
    // SAFETY: the call changes no memory of the program; the instruction overwrites `rcx` and `r11`, as stated.
    unsafe {
        asm!("syscall", inlateout("rax") 158_i64 => result, in("rdi") 0x1023, in("rsi") 18, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result == 0
}

/// The sizes of the eight tiles of this thread: all are whole.
pub(super) struct Tiles {
    /// They are the thread's own.
    of_thread: PhantomData<*const ()>,
}

#[repr(C, align(64))]
struct Sizes([u8; 64]);

impl Tiles {
    pub(super) fn new(_: Bf16) -> Self {
        let mut sizes = Sizes([0; 64]);
        // The format; then for each tile the bytes of a row, in 16 bits; then the rows.
        sizes.0[0] = 1;
        for tile in 0..8 {
            sizes.0[16 + 2 * tile] = 64;
            sizes.0[48 + tile] = 16;
        }
        // SAFETY: the processor has the instruction, which `Bf16` proves, and reads 64 bytes.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const sizes, options(nostack, readonly)) };
        Self { of_thread: PhantomData }
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: the processor has the instruction: there is a value of this type.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

/// Where a product goes, as the instructions read it.
#[repr(C)]
struct Target {
    /// The first number, and that 16 rows below.
    rows: [*mut f32; 2],
    /// Bytes from one row to the next.
    stride: usize,
    /// Whether the product is added to what is there.
    is_added: usize,
}

macro_rules! product {
    ($name:ident, $clear:literal, $load:literal, $step:literal, $bytes:literal, $store:literal) => {
        /// # Safety
        ///
        /// The tiles of this thread have their sizes, and the slices hold what is read and written.
        unsafe fn $name(product: &Product, target: &Target) {
            // SAFETY: the caller says so. The instructions read and write only through the pointers, and no other registers than stated.
            unsafe {
                asm!(
                    "mov {a0}, [{target}]",
                    "mov {a1}, [{target} + 8]",
                    "mov {b}, [{target} + 16]",
                    "cmp qword ptr [{target} + 24], 0",
                    "jne 4f",
                    $clear,
                    "jmp 2f",
                    "4:",
                    $load,
                    "2:",
                    "mov {a0}, [{runs}]",
                    "lea {a0}, [{left} + 2*{a0}]",
                    "lea {a1}, [{a0} + 2*{second}]",
                    concat!("imul {b}, [{runs} + 8], ", $bytes),
                    "add {b}, {right}",
                    "mov {step}, [{runs} + 16]",
                    "add {runs}, 24",
                    "3:",
                    $step,
                    "add {a0}, {by_step}",
                    "add {a1}, {by_step}",
                    concat!("add {b}, ", $bytes),
                    "dec {step}",
                    "jnz 3b",
                    "dec {count}",
                    "jnz 2b",
                    "mov {a0}, [{target}]",
                    "mov {a1}, [{target} + 8]",
                    "mov {b}, [{target} + 16]",
                    $store,
                    target = in(reg) target,
                    left = in(reg) product.left.as_ptr(),
                    right = in(reg) product.right.as_ptr(),
                    runs = inout(reg) product.runs.as_ptr() => _,
                    count = inout(reg) product.runs.len() => _,
                    second = in(reg) product.second.unwrap_or_default(),
                    by_step = in(reg) 2 * product.step,
                    by = in(reg) 2 * product.stride,
                    line = in(reg) 64_usize,
                    step = out(reg) _,
                    a0 = out(reg) _,
                    a1 = out(reg) _,
                    b = out(reg) _,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }
    };
}

product!(
    two_by_two,
    "tilezero tmm0\ntilezero tmm1\ntilezero tmm2\ntilezero tmm3",
    "tileloadd tmm0, [{a0} + {b}]\ntileloadd tmm1, [{a0} + {b} + 64]\ntileloadd tmm2, [{a1} + {b}]\ntileloadd tmm3, [{a1} + {b} + 64]",
    "tileloadd tmm6, [{b} + {line}]\ntileloadd tmm4, [{a0} + {by}]\ntdpbf16ps tmm0, tmm4, tmm6\ntileloadd tmm7, [{b} + {line} + 1024]\n\
     tdpbf16ps tmm1, tmm4, tmm7\ntileloadd tmm5, [{a1} + {by}]\ntdpbf16ps tmm2, tmm5, tmm6\ntdpbf16ps tmm3, tmm5, tmm7",
    "2048",
    "tilestored [{a0} + {b}], tmm0\ntilestored [{a0} + {b} + 64], tmm1\ntilestored [{a1} + {b}], tmm2\ntilestored [{a1} + {b} + 64], tmm3"
);
product!(
    two_by_one,
    "tilezero tmm0\ntilezero tmm2",
    "tileloadd tmm0, [{a0} + {b}]\ntileloadd tmm2, [{a1} + {b}]",
    "tileloadd tmm6, [{b} + {line}]\ntileloadd tmm4, [{a0} + {by}]\ntdpbf16ps tmm0, tmm4, tmm6\ntileloadd tmm5, [{a1} + {by}]\ntdpbf16ps tmm2, tmm5, tmm6",
    "1024",
    "tilestored [{a0} + {b}], tmm0\ntilestored [{a1} + {b}], tmm2"
);
product!(
    one_by_two,
    "tilezero tmm0\ntilezero tmm1",
    "tileloadd tmm0, [{a0} + {b}]\ntileloadd tmm1, [{a0} + {b} + 64]",
    "tileloadd tmm6, [{b} + {line}]\ntileloadd tmm4, [{a0} + {by}]\ntdpbf16ps tmm0, tmm4, tmm6\ntileloadd tmm7, [{b} + {line} + 1024]\n\
     tdpbf16ps tmm1, tmm4, tmm7",
    "2048",
    "tilestored [{a0} + {b}], tmm0\ntilestored [{a0} + {b} + 64], tmm1"
);
product!(
    one_by_one,
    "tilezero tmm0",
    "tileloadd tmm0, [{a0} + {b}]",
    "tileloadd tmm6, [{b} + {line}]\ntileloadd tmm4, [{a0} + {by}]\ntdpbf16ps tmm0, tmm4, tmm6",
    "1024",
    "tilestored [{a0} + {b}], tmm0"
);

impl Tiles {
    /// Writes the product to 16 or 32 rows, each `stride` numbers after the one before; or adds it to them, if it is not the first.
    ///
    /// # Panics
    ///
    /// When a slice is too short, there is no run, or one has no steps.
    #[inline]
    #[expect(clippy::unused_self, reason = "it says that the tiles have their sizes")]
    pub(super) fn multiply(&self, product: &Product, to: &mut [f32], stride: usize, is_first: bool) {
        let Product { left, stride: by, step, second, right, is_wide, runs } = *product;
        let (rows, tiles) = (SIDE * (1 + usize::from(second.is_some())), 1 + usize::from(is_wide));
        let (mut before, mut steps) = (0, 0);
        for run in runs {
            assert!(run.steps > 0, "{run:?}");
            before = before.max(run.left + (run.steps - 1) * step);
            steps = steps.max(run.right + run.steps);
        }
        let read = before + second.unwrap_or_default() + (SIDE - 1) * by + STEP;
        assert!(!runs.is_empty(), "no steps");
        assert!(left.len() >= read, "{read} numbers on the left in {}", left.len());
        assert!(right.len() >= steps * tiles * TILE, "{steps} steps on the right in {}", right.len());
        assert!(to.len() >= (rows - 1) * stride + tiles * SIDE, "{rows} rows in {}", to.len());
        let to = to.as_mut_ptr();
        let rows = [to, to.wrapping_add(SIDE * stride)];
        let target = Target { rows, stride: size_of::<f32>() * stride, is_added: usize::from(!is_first) };
        let multiply = match (second, is_wide) {
            (Some(_), true) => two_by_two,
            (Some(_), false) => two_by_one,
            (None, true) => one_by_two,
            (None, false) => one_by_one,
        };
        // SAFETY: this value has set the sizes; the lengths have been checked.
        unsafe { multiply(product, &target) };
    }
}

/// Rounds the numbers to bfloat16.
///
/// # Panics
///
/// When `to` is shorter.
#[inline]
pub(super) fn round(_: Bf16, from: &[f32], to: &mut [u16]) {
    assert!(to.len() >= from.len(), "{} numbers for {}", to.len(), from.len());
    // SAFETY: `Bf16` proves that the processor has the instructions; `to` is long enough.
    unsafe { round_all(from, to) };
}

/// # Safety
///
/// `to` is at least as long as `from`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn round_all(from: &[f32], to: &mut [u16]) {
    let (count, from, to) = (from.len(), from.as_ptr(), to.as_mut_ptr());
    let mut first = 0;
    while first + STEP <= count {
        // SAFETY: there are 32 more numbers of both.
        unsafe {
            let [low, high] = [first, first + SIDE].map(|at| _mm512_loadu_ps(from.add(at)));
            _mm512_storeu_si512(to.add(first).cast(), transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low)));
        }
        first += STEP;
    }
    while first < count {
        let some = (count - first).min(SIDE);
        // SAFETY: only these few numbers are read and written.
        unsafe {
            let numbers = _mm512_maskz_loadu_ps(mask(some), from.add(first));
            _mm256_mask_storeu_epi16(to.add(first).cast(), mask(some), transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(numbers)));
        }
        first += some;
    }
}

/// Rounds numbers, and writes each 32 of them `distance` numbers after those before.
///
/// # Panics
///
/// When they are no multiple of 32, or `to` is too short.
#[inline]
pub(super) fn spread(_: Bf16, from: &[f32], to: &mut [u16], distance: usize) {
    let steps = from.len() / STEP;
    assert!(from.len() == steps * STEP, "{} numbers", from.len());
    assert!(to.len() >= steps.saturating_sub(1) * distance + STEP, "{} numbers for {steps} steps", to.len());
    // SAFETY: `Bf16` proves that the processor has the instructions; `to` is long enough.
    unsafe { spread_all(from, to.as_mut_ptr(), distance) };
}

/// # Safety
///
/// `to` holds what is written.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn spread_all(from: &[f32], to: *mut u16, distance: usize) {
    for (step, numbers) in from.chunks_exact(STEP).enumerate() {
        // SAFETY: there are 32 numbers, and the step has its place.
        unsafe {
            let [low, high] = [numbers.as_ptr(), numbers.as_ptr().add(SIDE)].map(|at| _mm512_loadu_ps(at));
            _mm512_storeu_si512(to.add(step * distance).cast(), transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low)));
        }
    }
}

/// The lanes of `count` numbers.
const fn mask(count: usize) -> u16 {
    if count >= SIDE { u16::MAX } else { (1 << count) - 1 }
}

/// The order in which the halves of a register are mixed: a number of the lower half, one of the upper, and so on.
const MIXED: [u16; STEP] =
    [0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31];

/// The first 16 numbers of two lists, rounded, in pairs; zeros where there is no list or it ends.
///
/// # Safety
///
/// `count` numbers can be read through both pointers that are not null.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
#[inline]
unsafe fn pair(lists: [*const f32; 2], count: usize) -> __m512i {
    // SAFETY: no more than `count` numbers are read, and none through a null pointer.
    unsafe {
        let [low, high] = lists.map(|list| _mm512_maskz_loadu_ps(if list.is_null() { 0 } else { mask(count) }, list));
        let order = _mm512_loadu_si512(MIXED.as_ptr().cast());
        _mm512_permutexvar_epi16(order, transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low)))
    }
}

/// Writes a row of each tile from number `first` on: the numbers of two lists of `length`, rounded, in pairs. No list is zeros. Tiles lie in twos, each two `twos` numbers after those
/// before; `to` begins with the row of the first of all.
///
/// # Panics
///
/// When a list has another length, or `to` is too short.
#[inline]
pub(super) fn pairs(_: Bf16, lists: [Option<&[f32]>; 2], length: usize, to: &mut [u16], [first, twos]: [usize; 2]) {
    assert!(lists.iter().flatten().all(|list| list.len() == length), "lists of {length}");
    let last = first + length.div_ceil(SIDE).saturating_sub(1);
    // The second of two tiles lies behind the first.
    let end = (last / 2 * twos + last % 2 * TILE).max(if last > first { (last - 1) / 2 * twos + (last - 1) % 2 * TILE } else { 0 }) + STEP;
    assert!(to.len() >= end, "{} numbers for {length}", to.len());
    // SAFETY: `Bf16` proves that the processor has the instructions; lengths have been checked.
    unsafe { all_pairs(lists.map(|list| list.map_or(core::ptr::null(), <[f32]>::as_ptr)), length, to.as_mut_ptr(), [first, twos]) };
}

/// # Safety
///
/// Lists that are not null hold `length` numbers, and `to` the tiles.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn all_pairs(lists: [*const f32; 2], length: usize, to: *mut u16, [first, twos]: [usize; 2]) {
    for number in 0..length.div_ceil(SIDE) {
        let (done, tile) = (number * SIDE, first + number);
        let at = lists.map(|list| if list.is_null() { list } else { list.wrapping_add(done) });
        // SAFETY: the lists have `length - done` more numbers, and `to` has this tile.
        unsafe { _mm512_storeu_si512(to.add(tile / 2 * twos + tile % 2 * TILE).cast(), pair(at, length - done)) };
    }
}

/// Rounds 16 channels of up to 32 pixels, and writes each channel to a row: 16 rows of 32, each `stride` numbers after the one before. Pixels and channels that are missing are zeros.
///
/// # Panics
///
/// When there are more pixels or no channels, or a slice is too short.
#[inline]
pub(super) fn columns(_: Bf16, pixels: Pixels, to: &mut [u16], stride: usize) {
    let Pixels { numbers, count, distance, channels } = pixels;
    assert!(count <= STEP && channels > 0, "{count} pixels of {channels} channels");
    assert!(numbers.len() >= count.saturating_sub(1) * distance + channels.min(SIDE), "{count} pixels in {}", numbers.len());
    assert!(to.len() >= (SIDE - 1) * stride + STEP, "{} numbers for a tile", to.len());
    // SAFETY: `Bf16` proves that the processor has the instructions; lengths have been checked.
    unsafe { all_columns(pixels, to.as_mut_ptr(), stride) };
}

/// # Safety
///
/// `numbers` holds the pixels, and `to` a tile.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn all_columns(Pixels { numbers, count, distance, channels }: Pixels, to: *mut u16, stride: usize) {
    let at = |pixel: usize| if pixel < count { numbers.as_ptr().wrapping_add(pixel * distance) } else { core::ptr::null() };
    // SAFETY: the pixels have these channels.
    let rows: [__m512i; SIDE] = core::array::from_fn(|row| unsafe { pair([at(2 * row), at(2 * row + 1)], channels) });
    // Transposes 16×16 pairs: first in each 128 bits of four rows, then these among the rows.
    let mut fours = rows;
    for first in (0..SIDE).step_by(4) {
        let [a, b, c, d] = [rows[first], rows[first + 1], rows[first + 2], rows[first + 3]];
        let [low, high] = [_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b)];
        let [low_2, high_2] = [_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d)];
        fours[first] = _mm512_unpacklo_epi64(low, low_2);
        fours[first + 1] = _mm512_unpackhi_epi64(low, low_2);
        fours[first + 2] = _mm512_unpacklo_epi64(high, high_2);
        fours[first + 3] = _mm512_unpackhi_epi64(high, high_2);
    }
    for column in 0..4 {
        let [a, b, c, d] = [fours[column], fours[4 + column], fours[8 + column], fours[12 + column]];
        let [even_low, odd_low] = [_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0xdd>(a, b)];
        let [even_high, odd_high] = [_mm512_shuffle_i32x4::<0x88>(c, d), _mm512_shuffle_i32x4::<0xdd>(c, d)];
        let found = [
            _mm512_shuffle_i32x4::<0x88>(even_low, even_high),
            _mm512_shuffle_i32x4::<0x88>(odd_low, odd_high),
            _mm512_shuffle_i32x4::<0xdd>(even_low, even_high),
            _mm512_shuffle_i32x4::<0xdd>(odd_low, odd_high),
        ];
        for (quarter, row) in found.into_iter().enumerate() {
            // SAFETY: `to` holds 16 rows.
            unsafe { _mm512_storeu_si512(to.add((4 * quarter + column) * stride).cast(), row) };
        }
    }
}
