"""JAX, with images and kernels channels last and max-pool by reshape.

Words of a variant: step (one step a call), scan or unroll (8 steps a call, the latter without a loop);
conv (XLA's convolution) or patches (slices and a matrix product).
"""

import os
import time

from common import BETA_1, BETA_2, EPSILON, LAMBDA, RATE, SAMPLES, THREADS, main, weights

os.environ.setdefault("XLA_FLAGS", f"--xla_cpu_multi_thread_eigen=true intra_op_parallelism_threads={THREADS}")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
import jax  # noqa: E402  reads the environment
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

STEPS_A_CALL = 8


def conv(variant, x, kernel):
    if "patches" not in variant:
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    height, width = x.shape[1] - 2, x.shape[2] - 2
    slices = [x[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return jnp.concatenate(slices, axis=3) @ kernel.reshape(-1, kernel.shape[3])


def pool(x):
    b, h, w, c = x.shape
    return x[:, : h // 2 * 2, : w // 2 * 2].reshape(b, h // 2, 2, w // 2, 2, c).max(axis=(2, 4))


def logits_of(variant, values, x):
    for kernel, bias in (values[0:2], values[2:4]):
        x = pool(jax.nn.relu(conv(variant, x, kernel) + bias))
    x = jax.nn.relu(x.reshape(len(x), -1) @ values[4] + values[5])
    return x @ values[6] + values[7]


def trainer(variant, batch, images, labels, start):
    per_call = 1 if start or "step" in variant else STEPS_A_CALL
    images = images[..., None]
    random = np.random.default_rng(0)

    def objective(values, x, y):
        logits = jax.nn.log_softmax(logits_of(variant, values, x))
        data_loss = -jnp.take_along_axis(logits, y[:, None], axis=1).mean()
        return data_loss + LAMBDA / (2 * SAMPLES) * sum(jnp.sum(kernel**2) for kernel in values[::2])

    def step(state, examples):
        values, means, squares, count = state
        loss, gradients = jax.value_and_grad(objective)(values, *examples)
        count = count + 1
        means = [BETA_1 * m + (1 - BETA_1) * g for m, g in zip(means, gradients)]
        squares = [BETA_2 * v + (1 - BETA_2) * g * g for v, g in zip(squares, gradients)]
        first, second = 1 - BETA_1**count, 1 - BETA_2**count
        values = [p - RATE * (m / first) / (jnp.sqrt(v / second) + EPSILON) for p, m, v in zip(values, means, squares)]
        return (values, means, squares, count), loss

    def steps_of(state, x, y):
        if per_call == 1:
            return step(state, (x[0], y[0]))
        state, losses = jax.lax.scan(step, state, (x, y), unroll="unroll" in variant)
        return state, losses[-1]

    call = jax.jit(steps_of, donate_argnums=0)
    values = [jnp.asarray(value) for value in weights()]
    state = (values, [jnp.zeros_like(p) for p in values], [jnp.zeros_like(p) for p in values], jnp.float32(0))

    def run(steps):
        nonlocal state
        calls = max(1, steps // per_call)
        begun = time.perf_counter()
        order = random.permutation(len(labels))[: calls * per_call * batch].reshape(calls, per_call, batch)
        for indices in order:
            state, loss = call(state, images[indices], labels[indices])
        loss.block_until_ready()
        return calls * per_call, loss, time.perf_counter() - begun

    return run


def predictor(variant, batches):
    values = weights()
    call = jax.jit(lambda x: logits_of(variant, values, x))
    return lambda x: call(x).block_until_ready(), [jnp.asarray(images[..., None]) for images in batches]


if __name__ == "__main__":
    main(jax.__version__, trainer, predictor)
