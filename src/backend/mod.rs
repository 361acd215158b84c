//! Backends and their devices. The only place that knows cargo features.

mod convolve;
mod epilogue;
pub mod fused;
mod fused_autodiff;
mod host;
pub mod optimizer_steps;
mod pool;
mod threads;

use burn::prelude::{Device, Tensor};
#[cfg(any(feature = "wgpu", feature = "vulkan", feature = "metal", feature = "cuda"))]
use burn::tensor::DeviceType;

pub use convolve::Walk;
pub use epilogue::{AffineKind, Epilogue};
pub use threads::{Threads, keep_awake};

use crate::config::{Backend, BackendKind, Implementation, Precision};
use regulus_kernels::algorithm::Algorithm;
use regulus_kernels::bf16::{self, Bf16};
use regulus_kernels::simd::{self, NoSuchPath};

/// The numbers of a tensor, in order, on the host.
#[must_use]
pub fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    // Burn's iterator over the elements looks at their type for each: 5 times as slow.
    let numbers = tensor.into_data().convert::<f32>().try_into_vec();
    numbers.unwrap_or_else(|error| unreachable!("float32 data is a list of float32: {error:?}"))
}

/// A backend or device that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The cargo feature was off.
    #[error("backend `{0}` is not in this build; rebuild with `cargo build --release --features {0}`, or use {1}")]
    NotBuilt(&'static str, String),
    /// There is no device for it.
    #[error("backend `{kind}` finds no device: {hint}")]
    NoDevice {
        /// The backend.
        kind: &'static str,
        /// What it needs.
        hint: &'static str,
    },
    /// There are devices, but not so many.
    #[error("`backend.device` is {index}, but backend `{kind}` has {count} (counted from 0); see `regulus backends`")]
    NoSuchDevice {
        /// The backend.
        kind: &'static str,
        /// The device asked for.
        index: usize,
        /// The devices there are.
        count: usize,
    },
    /// The vector instructions asked for can't be had.
    #[error(transparent)]
    Simd(#[from] NoSuchPath),
    /// The processor or system lacks the instructions for bfloat16.
    #[error(
        "`backend.precision` is `bf16`, but {0}; use `f32`, or the file that `regulus export` writes of a run, which is computed in float32"
    )]
    Bf16(bf16::Missing),
    /// The number of threads can't be had.
    #[error("cannot start {threads} threads: {problem}")]
    Threads {
        /// The threads asked for.
        threads: usize,
        /// Why.
        problem: String,
    },
}

/// Where to compute, and with what.
#[derive(Clone, Debug)]
pub struct ComputeDevice {
    /// The device.
    pub device: Device,
    /// Fused or stock operations; stock ones on all devices but CPUs.
    pub implementation: Implementation,
    /// The instructions for bfloat16, where convolutions multiply it.
    pub bf16: Option<Bf16>,
    /// The threads that compute.
    pub threads: Threads,
}

impl ComputeDevice {
    /// The algorithm of convolutions. Returns `None` for Burn's stock operations.
    #[must_use]
    pub fn algorithm(&self) -> Option<Algorithm> {
        let own = self.implementation.algorithm()?;
        Some(self.bf16.map_or(own, Algorithm::Bf16))
    }

    /// The same with autodiff.
    #[must_use]
    pub fn autodiff(self) -> Self {
        Self { device: self.device.autodiff(), ..self }
    }

    /// The same without autodiff.
    #[must_use]
    pub fn inner(self) -> Self {
        Self { device: self.device.inner(), ..self }
    }
}

/// A device that was found to be there.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The device, without autodiff.
    pub device: ComputeDevice,
    /// Its name.
    pub name: String,
    /// The vector instructions of the fused operations, where those are used.
    pub simd: Option<&'static str>,
}

/// Opens the device that `config` names, and starts a pool of threads for a CPU backend.
///
/// # Errors
///
/// When the backend is not in this build, has no such device, or the threads can't be started. Another backend is never taken in its
/// stead.
pub fn open(config: &Backend) -> Result<Opened, BackendError> {
    let kind = config.kind;
    let found = devices(kind).ok_or_else(|| {
        let built = BackendKind::ALL.into_iter().filter(|kind| devices(*kind).is_some());
        BackendError::NotBuilt(kind.name(), built.map(|kind| format!("`{}`", kind.name())).collect::<Vec<_>>().join(", "))
    })?;
    let count = found.len();
    let device = found.into_iter().nth(config.device).ok_or(match count {
        0 => BackendError::NoDevice { kind: kind.name(), hint: needs(kind) },
        _ => BackendError::NoSuchDevice { kind: kind.name(), index: config.device, count },
    })?;
    let path = simd::Path::chosen()?;
    let bf16 = match config.precision {
        Precision::F32 => None,
        Precision::Bf16 => Some(Bf16::try_new(path).map_err(BackendError::Bf16)?),
    };
    let name = device_name(kind, &device);
    let (implementation, threads) =
        if kind.is_cpu() { (config.kernels, Threads::start(config.threads)?) } else { (Implementation::Stock, Threads::of_caller()) };
    let simd = implementation.is_fused().then_some(path.name);
    Ok(Opened { device: ComputeDevice { device, implementation, bf16, threads }, name, simd })
}

/// The names of a backend's devices; none if the backend is not in this build.
#[must_use]
pub fn device_names(kind: BackendKind) -> Option<Vec<String>> {
    devices(kind).map(|devices| devices.iter().map(|device| device_name(kind, device)).collect())
}

/// What a backend needs to find a device.
#[must_use]
pub const fn needs(kind: BackendKind) -> &'static str {
    match kind {
        BackendKind::Flex | BackendKind::Ndarray => "any CPU",
        BackendKind::Wgpu => "a GPU with a Vulkan, Metal or DirectX 12 driver (on Debian without a GPU: `apt install mesa-vulkan-drivers`)",
        BackendKind::Vulkan => "a GPU with a Vulkan 1.3 driver",
        BackendKind::Metal => "an Apple GPU",
        BackendKind::Cuda => "an NVIDIA GPU with its driver",
    }
}

/// The devices of a backend, if it is in this build.
fn devices(kind: BackendKind) -> Option<Vec<Device>> {
    match kind {
        #[cfg(feature = "flex")]
        BackendKind::Flex => Some(vec![Device::flex()]),
        #[cfg(feature = "ndarray")]
        #[expect(deprecated, reason = "Burn's older CPU backend is offered for comparison")]
        BackendKind::Ndarray => Some(vec![Device::ndarray()]),
        #[cfg(feature = "wgpu")]
        BackendKind::Wgpu => Some(Device::enumerate(DeviceType::Wgpu).into_vec()),
        #[cfg(feature = "vulkan")]
        BackendKind::Vulkan => Some(Device::enumerate(DeviceType::Vulkan).into_vec()),
        #[cfg(feature = "metal")]
        BackendKind::Metal => Some(Device::enumerate(DeviceType::Metal).into_vec()),
        #[cfg(feature = "cuda")]
        BackendKind::Cuda => Some(Device::enumerate(DeviceType::Cuda).into_vec()),
        #[allow(unreachable_patterns, reason = "a build may have every backend")]
        _ => None,
    }
}

fn device_name(kind: BackendKind, device: &Device) -> String {
    #[cfg(any(feature = "wgpu", feature = "vulkan", feature = "metal", feature = "cuda"))]
    if let Some(identity) = device.identity() {
        return identity.name;
    }
    let _ = (kind, device);
    "CPU".to_owned()
}

/// A device for small computations on the host: a CPU, or the default device of a build without CPU backends.
pub(crate) fn host_device() -> Device {
    [BackendKind::Flex, BackendKind::Ndarray].into_iter().find_map(devices).into_iter().flatten().next().unwrap_or_default()
}

/// A CPU of this build, for tests of what is the same on every backend.
#[cfg(test)]
pub(crate) fn any_cpu() -> ComputeDevice {
    let cpu = [BackendKind::Flex, BackendKind::Ndarray].into_iter().find_map(devices);
    ComputeDevice {
        device: cpu.into_iter().flatten().next().expect("tests are built with a CPU backend"),
        implementation: Implementation::Fused,
        bf16: None,
        threads: Threads::start(0).expect("threads can be started"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_that_is_not_built_in_says_how_to_get_it() {
        let missing = BackendKind::ALL.into_iter().find(|kind| devices(*kind).is_none()).expect("no build has Metal and CUDA");
        let error = open(&Backend { kind: missing, ..Backend::default() }).unwrap_err().to_string();
        assert!(error.contains(&format!("--features {}", missing.name())), "{error}");
    }
}
