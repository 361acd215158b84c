//! The numbers of tensors that lie in the machine's own memory.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::{TensorData, read_sync};
use regulus_kernels::buffers;
use regulus_kernels::image::channels_last;

/// A backend whose tensors can be read as slices.
pub trait Host: Backend {
    /// Calls `read` with the numbers of a float32 tensor from its first element on, and with the steps from one element to the next in each
    /// dimension.
    fn read<R>(tensor: &FloatTensor<Self>, read: impl FnOnce(&[f32], &[usize]) -> R) -> R;

    /// Whether nothing else holds the tensor's memory, and [`take`] gives it without a copy.
    fn is_sole_owner(tensor: &FloatTensor<Self>) -> bool;
}

/// Keeps the memory of tensors that are no longer needed for the next ones, where nothing else holds it. They must be outputs of the kernels: the memory of a batch's images would be
/// taken in at each step, and never asked for.
pub(super) fn recycle<B: Host>(tensors: impl IntoIterator<Item = FloatTensor<B>>) {
    for tensor in tensors {
        // Images stored channels-last that are seen channels-first.
        let tensor =
            if tensor.shape().num_dims() == 4 && !B::is_sole_owner(&tensor) { B::float_permute(tensor, &[0, 2, 3, 1]) } else { tensor };
        if B::is_sole_owner(&tensor) {
            buffers::recycle(take::<B>(tensor));
        }
    }
}

/// Calls `read` with the elements of a tensor in order.
pub(super) fn in_order<B: Host, R>(tensor: &FloatTensor<B>, read: impl FnOnce(&[f32]) -> R) -> R {
    let shape = tensor.shape();
    let count = shape.num_elements();
    B::read(tensor, |numbers, strides| {
        let mut step = 1;
        let ordered = shape.iter().zip(strides).rev().all(|(size, stride)| {
            let expected = step;
            step *= size;
            *size == 1 || *stride == expected
        });
        if ordered {
            return read(&numbers[..count]);
        }
        // Images stored channels-first that are seen channels-last.
        if let (&[_, height, width, channels], &[image, row, column, channel]) = (shape.as_slice(), strides)
            && [image, row, column, channel] == [channels * height * width, width, 1, height * width]
        {
            return read(&channels_last(&numbers[..count], height * width, channels, rayon::current_num_threads()));
        }
        let mut ordered = Vec::with_capacity(count);
        for mut element in 0..count {
            let mut at = 0;
            for (size, stride) in shape.iter().zip(strides).rev() {
                at += element % size * stride;
                element /= size;
            }
            ordered.push(numbers[at]);
        }
        read(&ordered)
    })
}

/// Takes the elements of a tensor, without a copy where nothing else holds them.
pub(super) fn take<B: Host>(tensor: FloatTensor<B>) -> Vec<f32> {
    let data = read_sync(B::float_into_data(tensor)).map_err(|error| error.to_string());
    let numbers = data.and_then(|data| data.try_into_vec().map_err(|error| format!("{error:?}")));
    numbers.unwrap_or_else(|error| unreachable!("a float32 tensor in memory can be read: {error}"))
}

/// The elements of a tensor in memory of the kernels: its own where nothing else holds it, or a copy.
pub(super) fn take_or_copy<B: Host>(tensor: FloatTensor<B>) -> Vec<f32> {
    if B::is_sole_owner(&tensor) {
        return take::<B>(tensor);
    }
    in_order::<B, _>(&tensor, |numbers| {
        let mut copy = buffers::any(numbers.len());
        copy.copy_from_slice(numbers);
        copy
    })
}

/// A tensor of these elements, in order.
pub(super) fn give<B: Host>(numbers: Vec<f32>, shape: impl Into<burn::tensor::Shape>, device: &B::Device) -> FloatTensor<B> {
    B::float_from_data(TensorData::new(numbers, shape), device)
}

#[cfg(feature = "flex")]
impl Host for burn::backend::Flex {
    fn read<R>(tensor: &FloatTensor<Self>, read: impl FnOnce(&[f32], &[usize]) -> R) -> R {
        let strides: Option<Vec<usize>> = tensor.layout().strides().iter().map(|stride| usize::try_from(*stride).ok()).collect();
        if let Some(strides) = strides {
            return read(&tensor.storage::<f32>()[tensor.layout().start_offset()..], &strides);
        }
        // A flipped tensor.
        Self::read(&tensor.to_contiguous(), read)
    }

    fn is_sole_owner(tensor: &FloatTensor<Self>) -> bool {
        tensor.is_unique() && tensor.layout().is_contiguous() && tensor.layout().start_offset() == 0
    }
}

#[cfg(feature = "ndarray")]
#[expect(deprecated, reason = "Burn's older CPU backend is offered for comparison")]
impl Host for burn::backend::NdArray {
    fn read<R>(tensor: &FloatTensor<Self>, read: impl FnOnce(&[f32], &[usize]) -> R) -> R {
        let burn::backend::ndarray::NdArrayTensor::F32(storage) = tensor else {
            unreachable!("the kernels are given float32 tensors, not {:?}", tensor.dtype())
        };
        let view = storage.view();
        let strides: Option<Vec<usize>> = view.strides().iter().map(|stride| usize::try_from(*stride).ok()).collect();
        if let (Some(strides), Some(numbers)) = (strides, view.as_slice_memory_order()) {
            return read(numbers, &strides);
        }
        let ordered = view.as_standard_layout();
        let strides: Vec<usize> = ordered.strides().iter().map(|stride| stride.unsigned_abs()).collect();
        read(ordered.as_slice().unwrap_or_default(), &strides)
    }

    fn is_sole_owner(tensor: &FloatTensor<Self>) -> bool {
        let burn::backend::ndarray::NdArrayTensor::F32(storage) = tensor else { return false };
        storage.is_unique() && storage.view().is_standard_layout()
    }
}
