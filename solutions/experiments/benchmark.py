"""How fast is the trainer? `python -m solutions.experiments.benchmark`: everything is measured in one run, and
what is printed to compare is a ratio.

The yardstick is a plain fp32 trainer of the same architecture, written with torch's ordinary
layers, with masks drawn in Python loops and images resized by F.interpolate. The two take turns, so
that a machine that slows down slows both.
"""

import argparse
import dataclasses
import multiprocessing
import random
import resource
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from data import load_images
from solutions.masking import Masks, sample_masks
from solutions.predictor import Predictor, jepa_loss
from solutions.teacher import teacher_targets, update_teacher
from solutions.trainer.machine import choose_precision
from solutions.training import IJEPA, parameter_groups, train_step
from solutions.vision_transformer import VisionTransformer


@dataclasses.dataclass
class Setting:
    """The architecture that is timed."""

    image_size: int = 224
    patch_size: int = 16
    dim: int = 192
    depth: int = 6
    heads: int = 3
    predictor_dim: int = 96
    predictor_depth: int = 3
    batch_size: int = 32

    @property
    def grid_size(self) -> int:
        return self.image_size // self.patch_size


def build(setting: Setting) -> IJEPA:
    """The course's IJEPA of this size."""
    torch.manual_seed(0)
    student = VisionTransformer(setting.image_size, setting.patch_size, setting.dim, setting.depth, setting.heads)
    return IJEPA(
        student,
        Predictor(setting.grid_size, setting.dim, setting.predictor_dim, setting.predictor_depth, setting.heads),
    )


# The plain trainer


def plain_blocks(dim: int, depth: int, heads: int) -> nn.Sequential:
    layer = dict(dim_feedforward=4 * dim, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
    return nn.Sequential(*(nn.TransformerEncoderLayer(dim, heads, **layer) for _ in range(depth)), nn.LayerNorm(dim))


class PlainEncoder(nn.Module):
    def __init__(self, s: Setting):
        super().__init__()
        self.patch = nn.Conv2d(3, s.dim, s.patch_size, s.patch_size)
        self.register_buffer("positions", torch.randn(1, s.grid_size**2, s.dim))
        self.blocks = plain_blocks(s.dim, s.depth, s.heads)

    def forward(self, images: Tensor, keep: Tensor | None = None) -> Tensor:
        tokens = self.patch(images).flatten(2).transpose(1, 2) + self.positions
        if keep is not None:
            tokens = torch.stack([t[k] for t, k in zip(tokens, keep, strict=True)])
        return self.blocks(tokens)


class PlainPredictor(nn.Module):
    def __init__(self, s: Setting):
        super().__init__()
        self.embed, self.out = nn.Linear(s.dim, s.predictor_dim), nn.Linear(s.predictor_dim, s.dim)
        self.mask_token = nn.Parameter(torch.randn(1, 1, s.predictor_dim))
        self.register_buffer("positions", torch.randn(s.grid_size**2, s.predictor_dim))
        self.blocks = plain_blocks(s.predictor_dim, s.predictor_depth, s.heads)

    def forward(self, tokens: Tensor, context: Tensor, targets: Tensor) -> Tensor:
        seen, blocks = self.embed(tokens) + self.positions[context], []
        for m in range(targets.shape[1]):
            joined = torch.cat([seen, self.mask_token + self.positions[targets[:, m]]], dim=1)
            blocks.append(self.out(self.blocks(joined)[:, seen.shape[1] :]))
        return torch.stack(blocks, dim=1)


def plain_masks(batch_size: int, grid: int) -> Masks:
    """Masks in Python loops over images and patches."""

    def size(scale: tuple[float, float], ratio: tuple[float, float]) -> tuple[int, int]:
        area, aspect = random.uniform(*scale) * grid**2, random.uniform(*ratio)
        return min(grid, round((area * aspect) ** 0.5)), min(grid, round((area / aspect) ** 0.5))

    def block(height: int, width: int) -> list[int]:
        top, left = random.randint(0, grid - height), random.randint(0, grid - width)
        return [r * grid + c for r in range(top, top + height) for c in range(left, left + width)]

    target_size, context_size = size((0.15, 0.2), (0.75, 1.5)), size((0.85, 1.0), (1.0, 1.0))
    contexts, targets = [], []
    for _ in range(batch_size):
        context: list[int] = []
        while len(context) <= min(10, grid**2 // 8):
            blocks = [block(*target_size) for _ in range(4)]
            hidden = {i for b in blocks for i in b}
            context = [i for i in block(*context_size) if i not in hidden]
        contexts.append(context)
        targets.append(blocks)
    length = min(map(len, contexts))
    return Masks(torch.tensor([random.sample(c, length) for c in contexts]), torch.tensor(targets))


def plain_step(model: IJEPA, images: Tensor, masks: Masks, optimizer: torch.optim.Optimizer) -> Tensor:
    with torch.no_grad():
        tokens = F.layer_norm(model.teacher(images), (model.student.positions.shape[-1],))
        truth = torch.stack([t[k] for t, k in zip(tokens, masks.targets, strict=True)])
    loss = F.mse_loss(model.predictor(model.student(images, masks.context), masks.context, masks.targets), truth)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        for t, s in zip(model.teacher.parameters(), model.student.parameters(), strict=True):
            t.copy_(0.996 * t + 0.004 * s)
    return loss.detach()


# Measuring


def seconds(function: Callable[[], object], repeats: int = 5) -> float:
    """Median seconds of a call, after one to warm up."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def gemm_peak(dtype: torch.dtype) -> float:
    """The highest FLOP/s of a matrix product that this machine shows, over a few sizes."""
    best = 0.0
    for n in (512, 1024, 2048):
        a, b = torch.randn(n, n).to(dtype), torch.randn(n, n).to(dtype)
        best = max(best, 2 * n**3 / seconds(lambda a=a, b=b: a @ b))
    return best


class Trainer:
    """Whole steps of the course's trainer, from uint8 photographs to the moved teacher."""

    def __init__(self, setting: Setting, precision: str, model: IJEPA | None = None):
        self.setting = setting
        self.images = load_images("photos", setting.image_size)
        self.model = model or build(setting)
        self.optimizer = torch.optim.AdamW(parameter_groups(self.model), lr=1e-3)
        self.autocast = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")
        self.number = 0

    def step(self) -> Tensor:
        s, self.number = self.setting, self.number + 1
        images = self.images.batch(self.images.indices_at(self.number, s.batch_size))
        masks = sample_masks(s.batch_size, s.grid_size, torch.Generator().manual_seed(self.number))
        with self.autocast:
            return train_step(self.model, images, masks, self.optimizer, 0.996)


def compare(setting: Setting, precision: str, rounds: int) -> None:
    """The trainer against the plain one, and against the peak of the machine."""
    fast = Trainer(setting, precision)
    plain = IJEPA(PlainEncoder(setting), PlainPredictor(setting))
    optimizer = torch.optim.AdamW(plain.parameters(), lr=1e-3)
    native = torch.randint(0, 255, (setting.batch_size, 3, 256, 256), dtype=torch.uint8)

    def plain_whole() -> None:
        images = torch.stack(
            [F.interpolate(i[None] / 255, setting.image_size, mode="bilinear", antialias=True)[0] for i in native]
        )
        plain_step(plain, images, plain_masks(setting.batch_size, setting.grid_size), optimizer)

    fast.step(), plain_whole()
    times: dict[str, list[float]] = {"fast": [], "plain": []}
    for _ in tqdm(range(rounds), desc="trainer and plain trainer in turns", leave=False):
        for name, function in (("fast", fast.step), ("plain", plain_whole)):
            start = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - start)
    mine, theirs = statistics.median(times["fast"]), statistics.median(times["plain"])
    with FlopCounterMode(display=False) as counter:
        fast.step()
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    peak = gemm_peak(dtype)
    print(f"\nthis trainer, {precision:<5} {setting.batch_size / mine:8.1f} images/s")
    print(f"plain modules, fp32 {setting.batch_size / theirs:8.1f} images/s")
    print(f"ratio               {theirs / mine:8.2f} x")
    flops = counter.get_total_flops()
    print(f"GEMM peak, {precision:<5}    {peak / 1e9:8.1f} GFLOP/s; the products of a step are {flops / 1e9:.0f} GFLOP")
    print(f"fraction of it      {flops / mine / peak:8.2f}")


def parts(setting: Setting, precision: str) -> None:
    """Where the time of a step goes, each part timed alone."""
    trainer = Trainer(setting, precision)
    model, images, grid = trainer.model, trainer.images, setting.grid_size
    batch = images.batch(images.indices_at(0, setting.batch_size))
    masks = sample_masks(setting.batch_size, grid, torch.Generator().manual_seed(0))

    def forward() -> Tensor:
        return model.predictor(model.student(batch, keep=masks.context), masks.context, masks.targets)

    with trainer.autocast:
        whole = seconds(trainer.step)
        with torch.no_grad():
            tokens = model.student(batch, keep=masks.context)
        row = {
            "masks": seconds(lambda: sample_masks(setting.batch_size, grid, torch.Generator().manual_seed(0))),
            "crop and resize": seconds(lambda: images.batch(images.indices_at(0, setting.batch_size))),
            "teacher": seconds(lambda: teacher_targets(model.teacher, batch, masks.targets)),
            "student": seconds(lambda: model.student(batch, keep=masks.context)),
            "predictor": seconds(lambda: model.predictor(tokens, masks.context, masks.targets)),
        }
        truth = teacher_targets(model.teacher, batch, masks.targets)
        row["backward"] = seconds(lambda: jepa_loss(forward(), truth).backward()) - row["student"] - row["predictor"]
    row["optimiser"] = seconds(trainer.optimizer.step)
    row["EMA"] = seconds(lambda: update_teacher(model.teacher, model.student, 0.996))
    print(f"\npart of a step ({setting.batch_size} images)      ms    share")
    for name, time_of_part in row.items():
        print(f"  {name:<28} {1000 * time_of_part:8.1f}  {time_of_part / whole:6.1%}")
    print(f"  {'whole step':<28} {1000 * whole:8.1f}  {sum(row.values()) / whole:6.1%} accounted for")


def one_setting(setting: Setting, precision: str) -> tuple[float, float]:
    """In a process of its own: (images/s, peak memory in GB)."""
    per_step = seconds(Trainer(setting, precision).step, repeats=2)
    return setting.batch_size / per_step, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def sweep(setting: Setting, precision: str) -> None:
    """Cost against image size and batch size, each in a fresh process so that peak memory is its
    own.
    """
    sizes = [dataclasses.replace(setting, image_size=n) for n in (96, 160, 224, 320, 384)]
    batches = [dataclasses.replace(setting, batch_size=n) for n in (8, 16, 32, 64, 128)]
    print("image size  batch   images/s   against 224 px, batch 32   peak memory")
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        base, _ = pool.apply(one_setting, (setting, precision))
        for s in tqdm(sizes + batches, desc="sizes", leave=False):
            rate, memory = pool.apply(one_setting, (s, precision))
            tqdm.write(f"{s.image_size:>10} {s.batch_size:>6} {rate:>10.1f} {rate / base:>22.2f} x {memory:>13.2f} GB")


def loss_curves(setting: Setting, steps: int) -> None:
    """The same steps in fp32 and in bf16, beside fp32 with other weights: is the difference smaller
    than that of two seeds?
    """
    curves = {}
    for name, precision, seed in (("fp32", "fp32", 0), ("bf16", "bf16", 0), ("fp32, other weights", "fp32", 1)):
        model = build(setting)
        if seed:
            torch.manual_seed(seed)
            for module in model.modules():
                if isinstance(module, nn.Linear | nn.Conv2d):
                    module.reset_parameters()
            model.teacher.load_state_dict(model.student.state_dict())
        trainer = Trainer(setting, precision, model)
        curves[name] = [trainer.step().item() for _ in tqdm(range(steps), desc=f"loss curve, {name}", leave=False)]
    print(f"\nloss over {steps} steps        first     last    largest gap to fp32")
    for name, curve in curves.items():
        gap = max(abs(a - b) for a, b in zip(curve, curves["fp32"], strict=True))
        print(f"  {name:<20} {curve[0]:9.4f} {curve[-1]:9.4f} {gap:12.4f}")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m solutions.experiments.benchmark",
        description="Time the trainer; a run takes about ten minutes, more where bf16 is slow.",
    )
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    parser.add_argument("--rounds", type=int, default=6, help="turns of the trainer and the plain one (default: 6)")
    arguments = parser.parse_args()
    precision = choose_precision(torch.device("cpu")) if arguments.precision == "auto" else arguments.precision
    setting = Setting()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}")
    print(f"{setting}\n")
    sweep(setting, precision)  # first: a child's peak memory counts from its parent's size
    compare(setting, precision, arguments.rounds)
    parts(setting, precision)
    loss_curves(dataclasses.replace(setting, image_size=96), 20)
    return 0


if __name__ == "__main__":
    sys.exit(main())
