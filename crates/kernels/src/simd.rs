//! Which vector instructions the kernels run on, found out when the program runs.

use std::sync::OnceLock;

use pulp::{Arch, Simd, WithSimd};

/// The environment variable that forces a path, for tests and comparisons.
pub const VARIABLE: &str = "REGULUS_SIMD";

/// A set of vector instructions this processor has.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    arch: Arch,
    /// Its name: `avx512`, `avx2`, `neon` or `scalar`.
    pub name: &'static str,
    /// Numbers of float32 in one register.
    pub lanes: usize,
    /// Vector registers.
    pub registers: usize,
}

/// The requested path is not available on this processor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{VARIABLE}` is `{requested}`; expected one of {available}, the paths this processor has")]
pub struct NoSuchPath {
    requested: String,
    available: String,
}

impl Path {
    /// Every path of this processor, the fastest first; the last is `scalar`.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut paths = Vec::new();
        // Miri can't ask the processor.
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        {
            paths.extend(pulp::x86::V4::try_new().map(|simd| Self::of(Arch::V4(simd), simd, "avx512")));
            paths.extend(pulp::x86::V3::try_new().map(|simd| Self::of(Arch::V3(simd), simd, "avx2")));
        }
        #[cfg(all(target_arch = "aarch64", not(miri)))]
        paths.extend(pulp::aarch64::Neon::try_new().map(|simd| Self::of(Arch::Neon(simd), simd, "neon")));
        paths.push(Self::of(Arch::Scalar, pulp::Scalar::new(), "scalar"));
        paths
    }

    fn of<S: Simd>(arch: Arch, _: S, name: &'static str) -> Self {
        Self { arch, name, lanes: S::F32_LANES, registers: S::REGISTER_COUNT }
    }

    /// The path `REGULUS_SIMD` names, or the fastest.
    ///
    /// # Errors
    ///
    /// When this processor does not have it.
    pub fn chosen() -> Result<Self, NoSuchPath> {
        static CHOSEN: OnceLock<Result<Path, NoSuchPath>> = OnceLock::new();
        let requested = || std::env::var_os(VARIABLE).filter(|name| !name.is_empty()).map(|name| name.to_string_lossy().into_owned());
        CHOSEN.get_or_init(|| Self::choose(requested())).clone()
    }

    fn choose(requested: Option<String>) -> Result<Self, NoSuchPath> {
        let paths = Self::all();
        match requested {
            None => Ok(paths[0]),
            Some(requested) => paths.iter().find(|path| path.name == requested).copied().ok_or_else(|| {
                let available = paths.iter().map(|path| format!("`{}`", path.name)).collect::<Vec<_>>().join(", ");
                NoSuchPath { requested, available }
            }),
        }
    }

    /// Runs `operation` with the path's instructions.
    #[inline]
    pub fn run<Operation: WithSimd>(self, operation: Operation) -> Operation::Output {
        self.arch.dispatch(operation)
    }

    /// `count` rounded up to whole registers.
    #[must_use]
    pub const fn padded(self, count: usize) -> usize {
        count.next_multiple_of(self.lanes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_the_processor_lacks_is_an_error() {
        let error = Path::choose(Some("sse9".to_owned())).unwrap_err().to_string();
        assert!(error.starts_with("`REGULUS_SIMD` is `sse9`; expected one of ") && error.contains("`scalar`"), "{error}");
        assert_eq!(Path::choose(Some("scalar".to_owned())).unwrap().lanes, 1);
    }
}
