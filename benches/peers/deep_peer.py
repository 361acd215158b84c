"""One measurement of a peer of `deep.py`, which calls this in a process of its own: the words of `python3 deep_peer.py JSON` are its settings.

Prints one line of JSON: images/s in training (the median of two epochs after the first one) and inference (the median of calls in five seconds), and the
peak of resident memory in MB up to the end of training. The images are random, which changes no speed.
"""

import json
import os
import resource
import statistics
import sys
import time

SETTINGS = json.loads(sys.argv[1])
NETWORK, BATCH, IMAGES, SIDE, THREADS = (SETTINGS[key] for key in ("network", "batch", "images", "side", "threads"))
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, str(THREADS))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
RATE, MOMENTUM, CLASSES = 0.01, 0.9, 10
STEPS = IMAGES // BATCH


def measured(epoch, predicting):
    """The line of numbers. `epoch` trains one and may be None; `predicting` makes what infers a batch, whose images are not in memory before."""
    result = {}
    if epoch:
        epoch()
        result["training"] = STEPS * BATCH / statistics.median(seconds(epoch) for _ in range(2))
        result["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    predict = predicting()
    predict()
    times, begun = [], time.perf_counter()
    while len(times) < 3 or time.perf_counter() - begun < 5:
        times.append(seconds(predict))
    return {**result, "inference": SETTINGS["infer"] / statistics.median(times)}


def seconds(call):
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def torch_network():
    from torch import nn

    def convolution(inputs, outputs, *then):
        return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(), *then

    class Residual(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.layers = nn.Sequential(*convolution(channels, channels), *convolution(channels, channels))

        def forward(self, x):
            return x + self.layers(x)

    if NETWORK == "resnet9":
        layers = [*convolution(3, 64), *convolution(64, 128, nn.MaxPool2d(2)), Residual(128), *convolution(128, 256, nn.MaxPool2d(2))]
        layers += [*convolution(256, 512, nn.MaxPool2d(2)), Residual(512), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(512, CLASSES)]
        return nn.Sequential(*layers)
    if NETWORK == "resnet18":
        import torchvision

        return torchvision.models.resnet18(num_classes=CLASSES)
    from efficientnet_lite_pytorch import EfficientNet

    return EfficientNet.from_name("efficientnet-lite0", image_size=[SIDE, SIDE], num_classes=CLASSES)


def torch_peer():
    import torch
    from torch.nn import functional as F

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    form = torch.channels_last if SETTINGS["channels_last"] else torch.contiguous_format
    images, labels = torch.randn(IMAGES, 3, SIDE, SIDE).contiguous(memory_format=form), torch.randint(CLASSES, (IMAGES,))
    model = torch_network().to(memory_format=form)
    called = torch.compile(model) if SETTINGS["compiled"] else model
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM, nesterov=True, weight_decay=1 / IMAGES)
    cast = lambda: torch.autocast("cpu", torch.bfloat16, SETTINGS["half"])

    def epoch():
        model.train()
        for first in range(0, STEPS * BATCH, BATCH):
            optimizer.zero_grad()
            with cast():
                loss = F.cross_entropy(called(images[first : first + BATCH]), labels[first : first + BATCH])
            loss.backward()
            optimizer.step()

    def predicting():
        some = torch.randn(SETTINGS["infer"], 3, SIDE, SIDE).contiguous(memory_format=form)
        model.eval()

        def predict():
            with torch.no_grad(), cast():
                called(some)

        return predict

    return measured(epoch, predicting)


def keras_peer():
    """ResNet-9. Layouts are channels-last, as TensorFlow has them on CPUs."""
    import numpy as np
    import tensorflow as tf
    import keras
    from keras import layers

    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    tf.config.threading.set_inter_op_parallelism_threads(THREADS)
    if SETTINGS["half"]:
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
    penalty = {"kernel_regularizer": keras.regularizers.L2(1 / (2 * IMAGES))}

    def convolution(x, channels, pool=False):
        x = layers.Conv2D(channels, 3, padding="same", use_bias=False, **penalty)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        return layers.MaxPooling2D(2)(x) if pool else x

    def residual(x, channels):
        return layers.Add()([x, convolution(convolution(x, channels), channels)])

    x = begun = keras.Input((SIDE, SIDE, 3))
    x = residual(convolution(convolution(x, 64), 128, True), 128)
    x = residual(convolution(convolution(x, 256, True), 512, True), 512)
    model = keras.Model(begun, layers.Dense(CLASSES, dtype="float32", **penalty)(layers.GlobalMaxPooling2D()(x)))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.SGD(RATE, MOMENTUM, nesterov=True), loss=loss, steps_per_execution=STEPS, jit_compile=SETTINGS["compiled"])
    images, labels = np.random.default_rng(0).standard_normal((STEPS * BATCH, SIDE, SIDE, 3), np.float32), np.arange(STEPS * BATCH) % CLASSES
    call = tf.function(lambda x: model(x, training=False), jit_compile=SETTINGS["compiled"])

    def predicting():
        some = tf.random.normal((SETTINGS["infer"], SIDE, SIDE, 3))
        return lambda: call(some).numpy()

    return measured(lambda: model.fit(images, labels, batch_size=BATCH, verbose=0), predicting)


def onnx_peer():
    """ONNX Runtime infers the network of PyTorch as PyTorch exports it. The normalizations are folded into the convolutions by ONNX Runtime."""
    import tempfile

    import numpy as np
    import onnxruntime
    import torch

    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        some = torch.randn(SETTINGS["infer"], 3, SIDE, SIDE)
        torch.onnx.export(torch_network().eval(), (some,), file.name, dynamo=True, external_data=False, verbose=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
        session = onnxruntime.InferenceSession(file.name, options, providers=["CPUExecutionProvider"])
    inputs = {session.get_inputs()[0].name: np.asarray(some)}
    return measured(None, lambda: lambda: session.run(None, inputs))


if __name__ == "__main__":
    print(json.dumps({"torch": torch_peer, "keras": keras_peer, "onnx": onnx_peer}[SETTINGS["peer"]]()))
