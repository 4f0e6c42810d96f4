"""The yardstick of the benchmark: an I-JEPA trainer of torch's ordinary layers, in float32, as one writes it first.

Masks are drawn in Python loops over images and patches, images are resized one by one, and every layer works on every
token. The official code is of this kind.
"""

from __future__ import annotations

import random

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from solutions.masking import Masks
from solutions.trainer.config import Config
from solutions.training import IJEPA


def layers(dim: int, depth: int, heads: int) -> nn.Sequential:
    layer = dict(dim_feedforward=4 * dim, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
    return nn.Sequential(*(nn.TransformerEncoderLayer(dim, heads, **layer) for _ in range(depth)), nn.LayerNorm(dim))


class Encoder(nn.Module):
    def __init__(self, c: Config):
        super().__init__()
        self.patch = nn.Conv2d(3, c.dim, c.patch_size, c.patch_size)
        self.register_buffer("positions", torch.randn(1, c.grid_size**2, c.dim))
        self.blocks = layers(c.dim, c.depth, c.heads)

    def forward(self, images: Tensor, keep: Tensor | None = None) -> Tensor:
        tokens = self.patch(images).flatten(2).transpose(1, 2) + self.positions
        if keep is not None:
            tokens = torch.stack([t[k] for t, k in zip(tokens, keep, strict=True)])
        return self.blocks(tokens)


class Predictor(nn.Module):
    def __init__(self, c: Config):
        super().__init__()
        self.embed, self.out = nn.Linear(c.dim, c.predictor_dim), nn.Linear(c.predictor_dim, c.dim)
        self.mask_token = nn.Parameter(torch.randn(1, 1, c.predictor_dim))
        self.register_buffer("positions", torch.randn(c.grid_size**2, c.predictor_dim))
        self.blocks = layers(c.predictor_dim, c.predictor_depth, c.predictor_heads)

    def forward(self, tokens: Tensor, context: Tensor, targets: Tensor) -> Tensor:
        seen, blocks = self.embed(tokens) + self.positions[context], []
        for m in range(targets.shape[1]):
            joined = torch.cat([seen, self.mask_token + self.positions[targets[:, m]]], dim=1)
            blocks.append(self.out(self.blocks(joined)[:, seen.shape[1] :]))
        return torch.stack(blocks, dim=1)


def draw_masks(batch_size: int, grid: int) -> Masks:
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


def train_step(model: IJEPA, images: Tensor, masks: Masks, optimizer: torch.optim.Optimizer) -> Tensor:
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


class Trainer:
    """Whole steps: images of 256 pixels are resized, or those of the size that is trained on are taken as they are."""

    def __init__(self, config: Config):
        self.config = config
        self.model = IJEPA(Encoder(config), Predictor(config))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=config.lr)
        side = 256 if config.image_size > 64 else config.image_size
        self.pixels = torch.randint(0, 255, (config.batch_size, 3, side, side), dtype=torch.uint8)

    def step(self) -> Tensor:
        size = self.config.image_size
        images = [F.interpolate(i[None] / 255, size, mode="bilinear", antialias=True)[0] for i in self.pixels]
        masks = draw_masks(self.config.batch_size, self.config.grid_size)
        return train_step(self.model, torch.stack(images), masks, self.optimizer)
