//! Where the instructions do not exist: nothing here can be called.

use super::{Bf16, Pixels, Product};

/// That the instructions may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permission {}

impl Permission {
    pub(super) const fn all() -> Result<&'static [Self], &'static str> {
        Err("this is another processor or system")
    }
}

pub(super) struct Multiplier(Permission);

impl Multiplier {
    pub(super) const fn new(bf16: Bf16) -> Self {
        match bf16.0 {}
    }

    pub(super) const fn multiply(&self, _: &Product, _: &mut [f32], _: usize, _: bool) {
        match self.0 {}
    }
}

pub(super) const fn round(bf16: Bf16, _: &[f32], _: &mut [u16]) {
    match bf16.0 {}
}

pub(super) const fn pairs(bf16: Bf16, _: [Option<&[f32]>; 2], _: usize, _: &mut [u16], _: [usize; 2]) {
    match bf16.0 {}
}

pub(super) const fn spread(bf16: Bf16, _: &[f32], _: &mut [u16], _: usize) {
    match bf16.0 {}
}

pub(super) const fn columns(bf16: Bf16, _: Pixels, _: &mut [u16], _: usize) {
    match bf16.0 {}
}
