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

/// A path that was asked for and can't be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{VARIABLE}` is `{asked}`; expected one of {had}, the paths this processor has")]
pub struct NoSuchPath {
    asked: String,
    had: String,
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
        let asked = || std::env::var_os(VARIABLE).filter(|asked| !asked.is_empty()).map(|asked| asked.to_string_lossy().into_owned());
        CHOSEN.get_or_init(|| Self::choose(asked())).clone()
    }

    fn choose(asked: Option<String>) -> Result<Self, NoSuchPath> {
        let paths = Self::all();
        match asked {
            None => Ok(paths[0]),
            Some(asked) => paths.iter().find(|path| path.name == asked).copied().ok_or_else(|| {
                let had = paths.iter().map(|path| format!("`{}`", path.name)).collect::<Vec<_>>().join(", ");
                NoSuchPath { asked, had }
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
    fn a_path_the_processor_lacks_is_told() {
        let error = Path::choose(Some("sse9".to_owned())).unwrap_err().to_string();
        assert!(error.starts_with("`REGULUS_SIMD` is `sse9`; expected one of ") && error.contains("`scalar`"), "{error}");
        assert_eq!(Path::choose(Some("scalar".to_owned())).unwrap().lanes, 1);
    }
}
