"""PyTorch, in channels_last.

Words of a variant: eager, compile (torch.compile) or, to infer, script (TorchScript, frozen and optimized); iomp: Intel's OpenMP;
decay: the penalty as Adam's weight_decay, which has the same gradient; 1: one thread.
"""

import os
import sys
import time
from pathlib import Path

if len(sys.argv) > 2 and "iomp" in sys.argv[2].split("_") and "LD_PRELOAD" not in os.environ:
    library = Path(sys.prefix) / "lib/libiomp5.so"
    if not library.exists():
        sys.exit(f"{library} is missing: pip install intel-openmp")
    intel = {"LD_PRELOAD": str(library), "KMP_AFFINITY": "granularity=fine,compact,1,0", "KMP_BLOCKTIME": "1"}
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **intel})

from common import BETA_1, BETA_2, EPSILON, LAMBDA, RATE, SAMPLES, THREADS, main, weights

os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
import torch  # noqa: E402  reads the environment
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

torch.set_num_threads(THREADS)
torch.manual_seed(0)


def network():
    model = nn.Sequential(
        *(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(1600, 128), nn.ReLU(), nn.Linear(128, 10)),
    )
    values = [torch.from_numpy(value) for value in weights()]
    values[4] = values[4].reshape(5, 5, 64, 128).permute(2, 0, 1, 3).reshape(1600, 128)
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), values):
            parameter.copy_(value.permute(3, 2, 0, 1) if value.dim() == 4 else value.T if value.dim() == 2 else value)
    return model.to(memory_format=torch.channels_last)


def pixels(images):
    return torch.from_numpy(images).unsqueeze(1).to(memory_format=torch.channels_last)


def trainer(variant, batch, images, labels, _start):
    model, x, y = network(), pixels(images), torch.from_numpy(labels).long()
    kernels = [p for p in model.parameters() if p.dim() > 1]
    biases = [p for p in model.parameters() if p.dim() == 1]
    decay = LAMBDA / SAMPLES if "decay" in variant else 0.0
    groups = [{"params": kernels, "weight_decay": decay}, {"params": biases, "weight_decay": 0.0}]
    optimizer = torch.optim.Adam(groups, lr=RATE, betas=(BETA_1, BETA_2), eps=EPSILON, fused=True)

    def objective(x, y):
        data_loss = F.cross_entropy(model(x), y)
        return data_loss if "decay" in variant else data_loss + LAMBDA / (2 * SAMPLES) * sum(p.square().sum() for p in kernels)

    loss_of = torch.compile(objective) if "compile" in variant else objective

    def run(steps):
        begun = time.perf_counter()
        for indices in torch.randperm(len(y))[: steps * batch].split(batch):
            optimizer.zero_grad()
            loss = loss_of(x[indices], y[indices])
            loss.backward()
            optimizer.step()
        return steps, loss.item(), time.perf_counter() - begun

    return run


def predictor(variant, batches):
    if "1" in variant:
        torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    model, inputs = network().eval(), [pixels(images) for images in batches]
    if "script" in variant:
        model = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(model, inputs[0])))
    if "compile" in variant:
        torch._inductor.config.freezing = True
        model = torch.compile(model)
    return model, inputs


if __name__ == "__main__":
    main(torch.__version__, trainer, predictor)
