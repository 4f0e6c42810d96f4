"""The reference against independent oracles: torch's own layers, explicit loops, published names and formulas."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from solutions.diagnostics import effective_rank, feature_std, loss_baselines
from solutions.masking import sample_block, sample_block_size, sample_masks
from solutions.patch_embedding import PatchEmbedding, patchify, sincos_position_embedding, unpatchify
from solutions.predictor import Predictor, jepa_loss
from solutions.teacher import make_teacher, momentum_at, teacher_targets, update_teacher
from solutions.training import IJEPA, learning_rate_at, parameter_groups, train_step, weight_decay_at
from solutions.vision_transformer import VisionTransformer, gather_tokens


def torch_block(block: nn.Module, dim: int, heads: int) -> nn.Module:
    """The same block from torch.nn: an independent implementation with the weights of ours."""
    layer = nn.TransformerEncoderLayer(
        dim, heads, 4 * dim, dropout=0.0, activation="gelu", layer_norm_eps=1e-6, batch_first=True, norm_first=True
    )
    state = block.state_dict()
    layer.load_state_dict(
        {
            "self_attn.in_proj_weight": state["attn.qkv.weight"],
            "self_attn.in_proj_bias": state["attn.qkv.bias"],
            "self_attn.out_proj.weight": state["attn.proj.weight"],
            "self_attn.out_proj.bias": state["attn.proj.bias"],
            "linear1.weight": state["mlp.fc1.weight"],
            "linear1.bias": state["mlp.fc1.bias"],
            "linear2.weight": state["mlp.fc2.weight"],
            "linear2.bias": state["mlp.fc2.bias"],
            **{f"{name}.{kind}": state[f"{name}.{kind}"] for name in ("norm1", "norm2") for kind in ("weight", "bias")},
        }
    )
    return layer.train()  # train mode keeps torch from its fused inference kernel


def randomise(module: nn.Module, seed: int) -> None:
    """Give every parameter random values, so that no bias is zero and no norm is the identity."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=generator))


def positions(grid_size: int, dim: int) -> np.ndarray:
    """The sin-cos table, entry by entry from its formula."""
    table = np.zeros((grid_size**2, dim))
    for row in range(grid_size):
        for column in range(grid_size):
            for half, place in enumerate((column, row)):
                for k in range(dim // 4):
                    angle = place / 10000 ** (k / (dim / 4))
                    table[row * grid_size + column, half * dim // 2 + k] = math.sin(angle)
                    table[row * grid_size + column, half * dim // 2 + dim // 4 + k] = math.cos(angle)
    return table


@pytest.mark.parametrize(("shape", "patch"), [((2, 3, 12, 20), 4), ((1, 1, 6, 6), 3), ((3, 5, 7, 14), 7)])
def test_patchify_follows_the_index_formula(shape, patch):
    images = torch.randint(0, 255, shape, dtype=torch.uint8)
    patches = patchify(images, patch)
    columns = shape[3] // patch
    assert patches.dtype == torch.uint8
    for n in range(patches.shape[1]):
        r, c = n // columns * patch, n % columns * patch
        assert torch.equal(patches[:, n], images[:, :, r : r + patch, c : c + patch].flatten(1))
    assert torch.equal(unpatchify(patches, patch, (shape[2] // patch, columns)), images)


def test_patchify_refuses_patches_that_do_not_tile():
    with pytest.raises(ValueError, match="do not tile"):
        patchify(torch.zeros(1, 3, 8, 9), 4)


def test_patch_embedding_is_a_linear_map_of_patches():
    embed = PatchEmbedding(24, 8, 20)
    images = torch.randn(2, 3, 24, 24)
    expected = F.unfold(images, 8, stride=8).transpose(1, 2) @ embed.proj.weight.flatten(1).T + embed.proj.bias
    torch.testing.assert_close(embed(images), expected)
    assert sorted(embed.state_dict()) == ["proj.bias", "proj.weight"]


def test_positions_follow_the_formula():
    table = sincos_position_embedding(5, 24)
    assert table.dtype == torch.float32
    np.testing.assert_allclose(table.numpy(), positions(5, 24), atol=1e-6)
    with pytest.raises(ValueError, match="multiple of 4"):
        sincos_position_embedding(4, 10)


def test_encoder_equals_torch_layers_with_and_without_keep():
    model = VisionTransformer(24, 4, 32, 3, 4)
    randomise(model, 0)
    images = torch.randn(2, 3, 24, 24)
    keep = torch.stack([torch.randperm(36)[:11] for _ in range(2)])
    tokens = (
        F.conv2d(images, model.patch_embed.proj.weight, model.patch_embed.proj.bias, stride=4)
        .flatten(2)
        .transpose(1, 2)
    )
    tokens = tokens + torch.from_numpy(positions(6, 32)).float()
    for kept, expected in ((None, tokens), (keep, torch.stack([t[k] for t, k in zip(tokens, keep, strict=True)]))):
        for block in model.blocks:
            expected = torch_block(block, 32, 4)(expected)
        expected = F.layer_norm(expected, (32,), model.norm.weight, model.norm.bias, 1e-6)
        torch.testing.assert_close(model(images, keep=kept), expected, atol=1e-5, rtol=1e-5)


def test_state_dict_has_the_published_names():
    block = ["norm1.weight", "norm1.bias", "attn.qkv.weight", "attn.qkv.bias", "attn.proj.weight", "attn.proj.bias"]
    block += ["norm2.weight", "norm2.bias", "mlp.fc1.weight", "mlp.fc1.bias", "mlp.fc2.weight", "mlp.fc2.bias"]
    encoder = {"patch_embed.proj.weight", "patch_embed.proj.bias", "pos_embed", "norm.weight", "norm.bias"}
    assert set(VisionTransformer(8, 4, 8, 1, 1).state_dict()) == encoder | {f"blocks.0.{name}" for name in block}
    predictor = {"mask_token", "predictor_pos_embed"}
    predictor |= {f"predictor_{m}.{kind}" for m in ("embed", "norm", "proj") for kind in ("weight", "bias")}
    assert set(Predictor(2, 8, 4, 1, 1).state_dict()) == predictor | {f"predictor_blocks.0.{name}" for name in block}


def test_predictor_equals_a_loop_over_images_and_blocks():
    predictor = Predictor(6, 20, 16, 2, 2)
    randomise(predictor, 1)
    masks = sample_masks(3, 6, torch.Generator().manual_seed(0), num_targets=3)
    context_tokens = torch.randn(3, masks.context.shape[1], 20)
    got = predictor(context_tokens, masks.context, masks.targets)
    place = torch.from_numpy(positions(6, 16)).float()
    embed, norm, proj = predictor.predictor_embed, predictor.predictor_norm, predictor.predictor_proj
    layers = [torch_block(block, 16, 2) for block in predictor.predictor_blocks]
    for b in range(3):
        for m in range(3):
            seen = context_tokens[b] @ embed.weight.T + embed.bias + place[masks.context[b]]
            tokens = torch.cat([seen, predictor.mask_token[0] + place[masks.targets[b, m]]])[None]
            for layer in layers:
                tokens = layer(tokens)
            tokens = F.layer_norm(tokens[0, len(seen) :], (16,), norm.weight, norm.bias, 1e-6)
            torch.testing.assert_close(got[b, m], tokens @ proj.weight.T + proj.bias, atol=1e-5, rtol=1e-5)


def test_block_sizes_are_uniform_and_independent():
    generator = torch.Generator().manual_seed(0)
    sizes = torch.tensor([sample_block_size(64, (0.1, 0.4), (0.5, 2.0), generator) for _ in range(4000)]).double()
    area, ratio = sizes.prod(dim=1) / 64**2, sizes[:, 0] / sizes[:, 1]
    # mean of a uniform draw, within 6 standard errors; rounding moves an area by about 1 %
    assert abs(area.mean() - 0.25) < 6 * 0.3 / math.sqrt(12 * 4000) + 0.003
    assert abs(ratio.mean() - 1.25) < 6 * 1.5 / math.sqrt(12 * 4000) + 0.01
    assert abs(torch.corrcoef(torch.stack([area, ratio]))[0, 1]) < 6 / math.sqrt(4000)


def test_a_block_reaches_every_place():
    generator = torch.Generator().manual_seed(0)
    corners = set()
    for _ in range(600):
        rows, columns = sample_block(5, (2, 3), generator).nonzero().T
        assert (rows.max() - rows.min() + 1, columns.max() - columns.min() + 1, len(rows)) == (2, 3, 6)
        corners.add((int(rows.min()), int(columns.min())))
    assert corners == {(r, c) for r in range(4) for c in range(3)}


@pytest.mark.parametrize(("batch", "grid"), [(1, 14), (16, 14), (8, 8), (5, 6), (64, 4)])
def test_masks_keep_their_promises(batch, grid):
    for seed in range(20):
        context, targets = sample_masks(batch, grid, torch.Generator().manual_seed(seed))
        assert context.shape[0] == batch and targets.shape[:2] == (batch, 4)
        assert context.shape[1] > min(10, grid**2 // 8)
        for b in range(batch):
            seen, hidden = set(context[b].tolist()), set(targets[b].flatten().tolist())
            assert len(seen) == context.shape[1] and not seen & hidden
            for block in targets[b]:
                rows, columns = block // grid, block % grid
                height, width = rows.max() - rows.min() + 1, columns.max() - columns.min() + 1
                assert len(set(block.tolist())) == height * width == len(block)


def test_masks_do_not_favour_the_top_rows():
    counts = torch.zeros(14, 14)
    for seed in range(60):
        context, _ = sample_masks(64, 14, torch.Generator().manual_seed(seed))
        counts += torch.bincount(context.flatten(), minlength=196).view(14, 14)
    # the distribution is symmetric under both flips and the transpose of the expectation over sizes is close to it
    frequency = counts / (60 * 64)
    torch.testing.assert_close(frequency, frequency.flip(0), atol=0.06, rtol=0)
    torch.testing.assert_close(frequency, frequency.flip(1), atol=0.06, rtol=0)


def test_masks_refuse_what_leaves_no_context():
    with pytest.raises(ValueError, match="leave no context"):
        sample_masks(2, 6, torch.Generator().manual_seed(0), target_scale=(1.0, 1.0), target_aspect_ratio=(1.0, 1.0))


def test_teacher_is_a_separate_frozen_copy_and_follows_the_closed_form():
    student = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    frozen = nn.Parameter(torch.ones(2), requires_grad=False)
    student.register_parameter("frozen", frozen)
    teacher = make_teacher(student)
    storages = {t.data_ptr() for t in student.state_dict().values()}
    assert not storages & {t.data_ptr() for t in teacher.state_dict().values()}
    assert not teacher.training and student.training and not any(p.requires_grad for p in teacher.parameters())
    start = copy.deepcopy(teacher.state_dict())
    randomise(student, 2)
    student(torch.randn(8, 3))
    for _ in range(1000):
        update_teacher(teacher, student, 0.99)
    for name, s in student.state_dict().items():
        expected = s if not s.is_floating_point() else 0.99**1000 * start[name] + (1 - 0.99**1000) * s
        torch.testing.assert_close(teacher.state_dict()[name], expected.detach(), atol=1e-5, rtol=1e-5)


def test_teacher_targets_see_the_full_image_normalised():
    teacher = make_teacher(VisionTransformer(16, 4, 8, 1, 2))
    images, targets = torch.randn(2, 3, 16, 16), torch.tensor([[[0, 5], [3, 2]], [[1, 1], [15, 4]]])
    tokens = teacher(images)
    mean, variance = tokens.mean(dim=-1, keepdim=True), tokens.var(dim=-1, keepdim=True, unbiased=False)
    normal = (tokens - mean) / (variance + 1e-5).sqrt()
    expected = torch.stack([normal[b][targets[b]] for b in range(2)])
    got = teacher_targets(teacher, images, targets)
    torch.testing.assert_close(got, expected.detach())
    assert got.grad_fn is None


def test_schedules_at_their_ends_and_middle():
    assert momentum_at(0, 10) == 0.996 and momentum_at(10, 10) == 1.0 and momentum_at(5, 10) == pytest.approx(0.998)
    rates = [learning_rate_at(s, 100, 20) for s in (0, 10, 20, 60, 100)]
    assert rates == pytest.approx([2e-4, 6e-4, 1e-3, (1e-3 + 1e-6) / 2, 1e-6])
    assert [weight_decay_at(s, 100) for s in (0, 50, 100)] == pytest.approx([0.04, 0.22, 0.4])


def test_train_step_is_one_plain_step_and_then_the_teacher_moves():
    torch.manual_seed(0)
    model = IJEPA(VisionTransformer(16, 4, 8, 1, 2), Predictor(4, 8, 8, 1, 2))
    oracle = copy.deepcopy(model)
    images, masks = torch.randn(4, 3, 16, 16), sample_masks(4, 4, torch.Generator().manual_seed(0))
    optimizer = torch.optim.SGD(parameter_groups(model), lr=0.1)
    for p in model.student.parameters():
        p.grad = torch.full_like(p, 7.0)
    loss = train_step(model, images, masks, optimizer, 0.9)

    tokens = F.layer_norm(oracle.teacher(images), (8,))
    truth = torch.stack([tokens[b][masks.targets[b]] for b in range(4)])
    difference = oracle.predictor(oracle.student(images, keep=masks.context), masks.context, masks.targets) - truth
    expected = (difference**2).sum() / difference.numel()
    expected.backward()
    torch.testing.assert_close(loss, expected.detach())
    for part in ("student", "predictor"):
        before, after = dict(getattr(oracle, part).named_parameters()), dict(getattr(model, part).named_parameters())
        for name, p in before.items():
            decay = 0.04 if p.ndim > 1 else 0.0
            torch.testing.assert_close(after[name].detach(), (p - 0.1 * (p.grad + decay * p)).detach())
    for name, t in model.teacher.named_parameters():
        expected = 0.9 * oracle.teacher.get_parameter(name) + 0.1 * model.student.get_parameter(name)
        torch.testing.assert_close(t, expected.detach())


def test_parameter_groups_partition_what_is_trained():
    model = IJEPA(VisionTransformer(16, 4, 8, 1, 2), Predictor(4, 8, 8, 1, 2))
    decayed, plain = ({id(p) for p in group["params"]} for group in parameter_groups(model))
    names = {n: p for n, p in model.named_parameters() if not n.startswith("teacher")}
    assert decayed == {id(p) for n, p in names.items() if p.ndim > 1} and id(model.predictor.mask_token) in decayed
    assert plain == {id(p) for n, p in names.items() if p.ndim <= 1}


def test_gather_tokens_picks_per_image():
    tokens, indices = torch.randn(2, 5, 3), torch.tensor([[4, 0, 4], [1, 2, 3]])
    assert torch.equal(gather_tokens(tokens, indices), torch.stack([tokens[0][[4, 0, 4]], tokens[1][[1, 2, 3]]]))


def test_jepa_loss_refuses_shapes_that_would_broadcast():
    with pytest.raises(ValueError, match="one shape"):
        jepa_loss(torch.zeros(2, 1, 3), torch.zeros(2, 4, 3))


def test_baselines_are_what_they_say():
    torch.manual_seed(0)
    tokens, targets = torch.randn(6, 9, 4), torch.randint(0, 9, (6, 2, 3))
    predictions = torch.randn(6, 2, 3, 4)
    got = loss_baselines(predictions, tokens, targets)
    truth = np.array([[[tokens[b, p].numpy() for p in block] for block in targets[b]] for b in range(6)])
    assert got["loss"] == pytest.approx(((predictions.numpy() - truth) ** 2).mean())
    assert got["constant"] == pytest.approx(((truth - truth.mean(axis=(0, 1, 2))) ** 2).mean(), rel=1e-4)
    errors = []
    for p in range(9):
        here = truth[targets.numpy() == p]
        errors += list(((here - here.mean(axis=0)) ** 2).flatten()) if len(here) else []
    assert got["per_position"] == pytest.approx(np.mean(errors), rel=1e-4)
    other = np.array([[[tokens[b - 1, p].numpy() for p in block] for block in targets[b]] for b in range(6)])
    assert got["wrong_image"] == pytest.approx(((predictions.numpy() - other) ** 2).mean())


def test_spread_ignores_what_is_the_same_in_every_image():
    features = torch.randn(1, 20, 8).expand(30, -1, -1)
    assert feature_std(features) == 0
    noise = torch.randn(30, 20, 8)
    assert feature_std(features + 3 * noise) == pytest.approx(3 * noise.numpy().std(axis=0, ddof=1).mean(), rel=1e-4)


def test_effective_rank_counts_directions():
    torch.manual_seed(0)
    basis = torch.linalg.qr(torch.randn(16, 16)).Q
    rows = torch.linalg.qr(torch.randn(200, 16)).Q  # orthonormal columns: all singular values are those we choose
    for rank in (1, 4, 16):
        features = rows[:, :rank] @ basis[:rank]
        assert effective_rank(features) == pytest.approx(rank, rel=1e-3)
    singular = np.linalg.svd((features * torch.linspace(1, 2, 16)).numpy(), compute_uv=False)
    p = singular / singular.sum()
    assert effective_rank(features * torch.linspace(1, 2, 16)) == pytest.approx(
        np.exp(-(p * np.log(p)).sum()), rel=1e-3
    )
