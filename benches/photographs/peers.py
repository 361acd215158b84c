"""The same images with other tools: EfficientNet-Lite0 in PyTorch as features for scikit-learn's logistic regression, and histograms of gradients with an SVM.

    pip install torch scikit-learn scikit-image pillow safetensors efficientnet-lite-pytorch==0.1.0
    python3 benches/photographs/peers.py DIR --weights FILE [--set balanced|imbalanced] [--seeds N] [--size 128]

FILE is what `regulus data fetch efficientnet_lite0` stores. Features are the output of the global average pool of images of size×size pixels (bicubic), normalized by
(pixel - 127)/128. The logistic regression has C = 1 on the features as they are; the SVM an RBF kernel and C = 10 on standardized histograms of 64×64 grey images with 9
orientations and cells of 8×8. Both are also run with class_weight="balanced" for the imbalanced set. All training images are used, and nothing is chosen.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from safetensors.torch import load_file
from skimage.feature import hog
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from measured import table


def read(folder, of_image):
    classes = sorted(path.name for path in folder.iterdir())
    files = [(path, label) for label, name in enumerate(classes) for path in sorted((folder / name).iterdir())]
    return np.stack([of_image(Image.open(path)) for path, _ in files]), np.array([label for _, label in files]), classes


def square(image, size):
    """The middle of an image."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BICUBIC)


def gradients(image):
    return hog(np.asarray(square(image, 64).convert("L")), orientations=9, pixels_per_cell=(8, 8), cells_per_block=(2, 2))


@torch.no_grad()
def features(network, images):
    found = [network.extract_features((torch.tensor(part).permute(0, 3, 1, 2).float() - 127) / 128).mean((2, 3)) for part in np.array_split(images, max(1, len(images) // 50))]
    return torch.cat(found).numpy()


def measured(model, train, test, classes, seconds):
    started = time.perf_counter()
    model.fit(*train)
    matrix = confusion_matrix(test[1], model.predict(test[0]))
    recalls = (matrix.diagonal() / matrix.sum(1)).tolist()
    return matrix.diagonal().sum() / matrix.sum(), recalls, seconds + time.perf_counter() - started, classes


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("dir", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--set", choices=("balanced", "imbalanced"), default="balanced")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--size", type=int, default=128)
    args = parser.parse_args()
    network = EfficientNet.from_name("efficientnet-lite0", image_size=[args.size, args.size])
    network.load_state_dict(load_file(args.weights), strict=False)
    network.eval()
    weightings = [None] if args.set == "balanced" else [None, "balanced"]
    rows = {}
    for seed in range(args.seeds):
        folders = [args.dir / str(seed) / args.set / split for split in ("train", "test")]
        for name, of_image, make in (
            ("EfficientNet-Lite0 features, logistic regression", lambda image: np.asarray(square(image.convert("RGB"), args.size)), lambda weight: LogisticRegression(C=1, max_iter=5000, class_weight=weight)),
            ("histogram of gradients, SVM", gradients, lambda weight: make_pipeline(StandardScaler(), SVC(C=10, class_weight=weight))),
        ):
            started = time.perf_counter()
            (train, train_labels, classes), (test, test_labels, _) = (read(folder, of_image) for folder in folders)
            if "features" in name:
                train, test = features(network, train), features(network, test)
            seconds = time.perf_counter() - started
            for weight in weightings:
                label = name + (", class_weight=\"balanced\"" if weight else "")
                result = measured(make(weight), (train, train_labels), (test, test_labels), classes, seconds)
                rows.setdefault(label, []).append(result)
    table(rows.items(), None if args.set == "balanced" else "cat")


main()
