//! Products by the matrix instructions of AMX.
#![expect(unsafe_code, reason = "Rust has no functions for AMX")]

use core::arch::asm;
use core::arch::x86_64::__cpuid_count;
use core::marker::PhantomData;

use crate::bf16::{Product, SIDE};

/// Whether the processor has the instructions, and the system lets this program use them.
pub(super) fn are_permitted() -> bool {
    // Bits of the leaf of features: amx_bf16 and amx_tile.
    let needed = 1 << 22 | 1 << 24;
    __cpuid_count(0, 0).eax >= 7 && __cpuid_count(7, 0).edx & needed == needed && request()
}

/// Asks Linux for the use of tiles by all threads of the process: `arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)`. Linux 5.16 and later have it.
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
    /// # Safety
    ///
    /// The processor has AMX, and the program may use it.
    pub(super) unsafe fn new() -> Self {
        let mut sizes = Sizes([0; 64]);
        // The format; then for each tile the bytes of a row, in 16 bits; then the rows.
        sizes.0[0] = 1;
        for tile in 0..8 {
            sizes.0[16 + 2 * tile] = 64;
            sizes.0[48 + tile] = 16;
        }
        // SAFETY: the caller says that the processor has the instruction, which reads 64 bytes.
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
    /// # Safety
    ///
    /// The slices hold what is read and written; there is a run, and each has a step.
    #[inline]
    #[expect(clippy::unused_self, reason = "it says that the tiles have their sizes")]
    pub(super) unsafe fn multiply(&self, product: &Product, to: &mut [f32], stride: usize, is_first: bool) {
        let to = to.as_mut_ptr();
        let rows = [to, to.wrapping_add(SIDE * stride)];
        let target = Target { rows, stride: size_of::<f32>() * stride, is_added: usize::from(!is_first) };
        let multiply = match (product.second, product.is_wide) {
            (Some(_), true) => two_by_two,
            (Some(_), false) => two_by_one,
            (None, true) => one_by_two,
            (None, false) => one_by_one,
        };
        // SAFETY: this value has set the sizes; the caller says the rest.
        unsafe { multiply(product, &target) };
    }
}
