"""The benchmark: what it counts, and that each of its tables comes out; how fast anything is, is asserted nowhere."""

import dataclasses
import random
import re

import pytest
import torch

from solutions.experiments import benchmark, plain
from solutions.experiments.benchmark import Products, seconds_of_products
from solutions.masking import sample_masks
from solutions.trainer.config import Config

TINY = Config(
    image_size=32,
    patch_size=8,
    dim=16,
    depth=1,
    heads=2,
    predictor_dim=8,
    predictor_depth=1,
    batch_size=8,
    group_size=4,
)
CPU = torch.device("cpu")


def test_products_are_counted_by_their_shapes_forward_and_backward():
    layer, inputs = torch.nn.Linear(6, 5), torch.randn(4, 6, requires_grad=True)
    with Products() as products:
        for _ in range(3):
            (layer(inputs) @ torch.randn(5, 7)).sum().backward()
    found = {(tuple(left), tuple(right)): count for (left, right), count in products.shapes.items()}
    expected = [((4, 6), (6, 5)), ((4, 5), (5, 7)), ((4, 7), (7, 5)), ((5, 4), (4, 6)), ((4, 5), (5, 6))]
    assert found == dict.fromkeys(expected, 3)
    assert seconds_of_products(lambda: layer(inputs).sum().backward(), torch.float32, CPU) > 0


def test_plain_masks_are_of_the_same_kind():
    """Sizes and contexts as sample_masks has them on average."""
    random.seed(0)
    ours, theirs = [], []
    for number in range(40):
        ours.append(sample_masks(8, 14, torch.Generator().manual_seed(number)))
        theirs.append(plain.draw_masks(8, 14))
    for context, targets in theirs:
        for seen, hidden in zip(context.tolist(), targets.flatten(1).tolist(), strict=True):
            assert len(set(seen)) == len(seen) > 10 and not set(seen) & set(hidden)
    for part in ("context", "targets"):
        means = [sum(getattr(masks, part).shape[-1] for masks in drawn) / 40 for drawn in (ours, theirs)]
        assert means[0] == pytest.approx(means[1], rel=0.15)


def test_each_table_comes_out(monkeypatch, capsys):
    small = dataclasses.replace(TINY, batch_size=16)
    monkeypatch.setattr(benchmark, "REFERENCE", TINY)
    monkeypatch.setattr(benchmark, "SMALL", small)
    monkeypatch.setattr(benchmark, "per_second", lambda function, device, least=0.0: function() is not benchmark)
    monkeypatch.setattr("sys.argv", ["benchmark", "--quick", "--rounds", "2", "--precision", "fp32"])
    assert benchmark.main() == 0
    printed = capsys.readouterr().out
    assert len(re.findall(r"^ratio +[\d.]+ x \([\d.]+ to [\d.]+, 2 pairs\)$", printed, re.MULTILINE)) == 2
    for words in ("GEMM peak, fp32", "at their own shapes", "batches of 16 in groups of 4", "% of the quiet rate"):
        assert words in printed
    benchmark.parts(small, CPU)
    benchmark.loss_curves(dataclasses.replace(TINY, precision="fp32"), CPU, 2)
    printed = capsys.readouterr().out
    assert "whole / step" in printed and "its data alone" in printed and "fp32, other seed" in printed
