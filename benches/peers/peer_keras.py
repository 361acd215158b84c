"""Keras on TensorFlow.

Words of a variant: fit (Keras' loop, 50 steps a call), or to infer call (a tf.function) or frozen (with variables made constants);
graph (TensorFlow's graph) or xla (compiled); reshape: max-pool by reshape.
"""

import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
from common import BETA_1, BETA_2, EPSILON, LAMBDA, RATE, SAMPLES, THREADS, main, weights

import tensorflow as tf  # noqa: E402  reads the environment
import keras  # noqa: E402
from keras import layers  # noqa: E402

tf.config.threading.set_intra_op_parallelism_threads(THREADS)
tf.config.threading.set_inter_op_parallelism_threads(THREADS)
STEPS_A_CALL = 50


class ReshapePool(layers.Layer):
    def call(self, x):
        _, h, w, c = x.shape
        return tf.reduce_max(tf.reshape(x[:, : h // 2 * 2, : w // 2 * 2], [-1, h // 2, 2, w // 2, 2, c]), axis=[2, 4])


def network(variant):
    pool = ReshapePool if "reshape" in variant else lambda: layers.MaxPooling2D(2)
    penalty = {"kernel_regularizer": keras.regularizers.L2(LAMBDA / (2 * SAMPLES))}
    model = keras.Sequential(
        [
            *(keras.Input((28, 28, 1)), layers.Conv2D(32, 3, activation="relu", **penalty), pool()),
            *(layers.Conv2D(64, 3, activation="relu", **penalty), pool()),
            *(layers.Flatten(), layers.Dense(128, activation="relu", **penalty), layers.Dense(10, **penalty)),
        ]
    )
    model.set_weights(weights())
    return model


class Clock(keras.callbacks.Callback):
    """The seconds of the epoch, without what `fit` does before and after it."""

    def on_epoch_begin(self, epoch, logs=None):
        self.seconds = -time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds += time.perf_counter()


def trainer(variant, batch, images, labels, start):
    model, images = network(variant), images[..., None]
    model.compile(
        optimizer=keras.optimizers.Adam(RATE, beta_1=BETA_1, beta_2=BETA_2, epsilon=EPSILON),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        steps_per_execution=1 if start else STEPS_A_CALL,
        jit_compile="xla" in variant,
    )

    def run(steps):
        clock, count = Clock(), steps * batch
        history = model.fit(images[:count], labels[:count], batch_size=batch, shuffle=True, verbose=0, callbacks=[clock])
        return steps, history.history["loss"][-1], clock.seconds

    return run


def predictor(variant, batches):
    model, inputs = network(variant), [tf.constant(images[..., None]) for images in batches]
    call = tf.function(lambda x: model(x, training=False), jit_compile="xla" in variant)
    call = call.get_concrete_function(tf.TensorSpec(inputs[0].shape, tf.float32))
    if "frozen" in variant:
        from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

        call = convert_variables_to_constants_v2(call)
        return lambda x: call(x)[0].numpy(), inputs
    return lambda x: call(x).numpy(), inputs


if __name__ == "__main__":
    main(f"{tf.__version__}, Keras {keras.__version__}", trainer, predictor)
