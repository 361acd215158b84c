//! Steps of optimizers, in place on the CPU backends.

#![cfg_attr(feature = "ndarray", expect(deprecated, reason = "Burn's older CPU backend is offered for comparison"))]
#![cfg_attr(not(any(feature = "flex", feature = "ndarray")), expect(unused_variables, reason = "no backend of this build has them"))]

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::Tensor;
use regulus_kernels::update::{self, Adam, Descent, Moments};

use super::fused::path;
use super::host::{Host, give, in_order, recycle, take};

/// Steps of optimizers, which write over what they are given where nothing else holds it.
#[backend_extension(Flex: cfg(feature = "flex"), NdArray: cfg(feature = "ndarray"))]
pub trait InPlace: Backend {
    /// See [`adam`].
    fn adam(
        weights: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        constants: Adam,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// See [`descend`].
    fn descend(weights: FloatTensor<Self>, gradient: FloatTensor<Self>, rate: f32) -> FloatTensor<Self>;

    /// See [`descend_with_momentum`].
    fn descend_with_momentum(
        weights: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        velocity: FloatTensor<Self>,
        constants: Descent,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

/// One step of Adam: weights and both moments after it.
#[must_use]
pub fn adam<const D: usize>(
    weights: Tensor<D>,
    gradient: Tensor<D>,
    moments: [Tensor<D>; 2],
    constants: Adam,
) -> (Tensor<D>, [Tensor<D>; 2]) {
    let [first, second] = moments.map(Tensor::into_dispatch);
    let (weights, first, second) = <Dispatch as InPlace>::adam(weights.into_dispatch(), gradient.into_dispatch(), first, second, constants);
    (Tensor::from_dispatch(weights), [first, second].map(Tensor::from_dispatch))
}

/// One step of gradient descent.
#[must_use]
pub fn descend<const D: usize>(weights: Tensor<D>, gradient: Tensor<D>, rate: f32) -> Tensor<D> {
    Tensor::from_dispatch(<Dispatch as InPlace>::descend(weights.into_dispatch(), gradient.into_dispatch(), rate))
}

/// One step of gradient descent with momentum: weights and velocity after it.
#[must_use]
pub fn descend_with_momentum<const D: usize>(
    weights: Tensor<D>,
    gradient: Tensor<D>,
    velocity: Tensor<D>,
    constants: Descent,
) -> (Tensor<D>, Tensor<D>) {
    let (weights, gradient, velocity) = (weights.into_dispatch(), gradient.into_dispatch(), velocity.into_dispatch());
    let (weights, velocity) = <Dispatch as InPlace>::descend_with_momentum(weights, gradient, velocity, constants);
    (Tensor::from_dispatch(weights), Tensor::from_dispatch(velocity))
}

impl<B: Host> InPlace for B {
    fn adam(
        weights: FloatTensor<B>,
        gradient: FloatTensor<B>,
        first: FloatTensor<B>,
        second: FloatTensor<B>,
        constants: Adam,
    ) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
        let (shape, device) = (weights.shape(), weights.device());
        let [mut weights, mut first, mut second] = [weights, first, second].map(take::<B>);
        in_order::<B, _>(&gradient, |gradient| {
            let moments = Moments { first: &mut first, second: &mut second };
            update::adam(path(), constants, &mut weights, gradient, moments);
        });
        recycle::<B>([gradient]);
        let [weights, first, second] = [weights, first, second].map(|numbers| give::<B>(numbers, shape.clone(), &device));
        (weights, first, second)
    }

    fn descend(weights: FloatTensor<B>, gradient: FloatTensor<B>, rate: f32) -> FloatTensor<B> {
        let (shape, device) = (weights.shape(), weights.device());
        let mut weights = take::<B>(weights);
        in_order::<B, _>(&gradient, |gradient| update::descend(rate, &mut weights, gradient));
        recycle::<B>([gradient]);
        give::<B>(weights, shape, &device)
    }

    fn descend_with_momentum(
        weights: FloatTensor<B>,
        gradient: FloatTensor<B>,
        velocity: FloatTensor<B>,
        constants: Descent,
    ) -> (FloatTensor<B>, FloatTensor<B>) {
        let (shape, device) = (weights.shape(), weights.device());
        let [mut weights, mut velocity] = [weights, velocity].map(take::<B>);
        in_order::<B, _>(&gradient, |gradient| update::descend_with_momentum(constants, &mut weights, gradient, &mut velocity));
        recycle::<B>([gradient]);
        (give::<B>(weights, shape.clone(), &device), give::<B>(velocity, shape, &device))
    }
}
