"""Published weights in an encoder of one's own: both forms, all precisions, within the memory, errors in a sentence."""

import io
import json
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from solutions import vision_transformer
from solutions.pretrained import from_huggingface, image_descriptor, load_huggingface, load_official
from solutions.published import assemble, shipped
from solutions.published.files import WeightsError, let_go, read_huggingface, read_official, renamed
from solutions.tests.helpers.published_files import (
    huggingface_state,
    in_memory_state,
    official_state,
    save_huggingface,
    save_official,
    save_safetensors,
    tokens,
)

ROOT = Path(__file__).parents[2]
HEADS = 2


def images_for(state: dict, count: int = 2) -> torch.Tensor:
    grid = round(state["pos_embed"].shape[1] ** 0.5)
    side = grid * state["patch_embed.proj.weight"].shape[-1]
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def expect_same(encoder: nn.Module, state: dict, heads: int = HEADS, tolerance: float = 1e-5) -> None:
    images = images_for(state)
    with torch.no_grad():
        torch.testing.assert_close(encoder(images), tokens(state, images, heads), atol=tolerance, rtol=tolerance)
    assert not encoder.training


# What is read


@pytest.mark.parametrize("network", ["encoder", "target_encoder"])
def test_an_official_archive_gives_the_network_that_is_asked_for(network, tmp_path):
    states = {"encoder": official_state(seed=0), "target_encoder": official_state(seed=1)}
    path = save_official(tmp_path / "a.pth.tar", states["encoder"], states["target_encoder"])
    expect_same(load_official(path, network, num_heads=HEADS), states[network])


def test_an_archive_in_the_format_before_2020_is_read(tmp_path):
    state = official_state()
    torch.save({"encoder": state}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    expect_same(load_official(tmp_path / "old.pth", num_heads=HEADS), state)


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_a_huggingface_folder_is_read_whole_and_in_shards(dtype, shards, tmp_path):
    state = {name: tensor.to(dtype) for name, tensor in official_state().items()}
    save_huggingface(tmp_path, huggingface_state(state), HEADS, shards)
    expect_same(load_huggingface(tmp_path), {name: tensor.float() for name, tensor in state.items()})


def test_the_names_that_transformers_has_in_memory_are_read_too(tmp_path):
    state = official_state()
    save_huggingface(tmp_path / "five", in_memory_state(state), HEADS)
    expect_same(load_huggingface(tmp_path / "five"), state)
    inside = {f"ijepa.{name}": tensor for name, tensor in huggingface_state(state).items()}
    save_huggingface(tmp_path / "inside", inside, HEADS)
    expect_same(load_huggingface(tmp_path / "inside" / "model.safetensors"), state)


def test_the_eps_of_a_config_is_the_norms(tmp_path):
    save_huggingface(tmp_path, huggingface_state(official_state()), HEADS)
    config = json.loads((tmp_path / "config.json").read_text()) | {"layer_norm_eps": 0.01}
    (tmp_path / "config.json").write_text(json.dumps(config))
    norms = [module for module in load_huggingface(tmp_path).modules() if isinstance(module, nn.LayerNorm)]
    assert [norm.eps for norm in norms] == [0.01] * 5


@pytest.mark.parametrize(("patch", "grid"), [(14, 2), (16, 4)])
def test_sizes_are_read_off_the_tensors_and_heads_off_the_width(patch, grid, tmp_path):
    state = official_state(dim=192, depth=1, patch=patch, grid=grid)
    expect_same(load_official(save_official(tmp_path / "a.pth", state)), state, heads=3)


def test_the_giants_wider_mlps_are_made_of_the_lessons_own(tmp_path):
    state = official_state(dim=44, hidden=192)
    expect_same(load_official(save_official(tmp_path / "g.pth", state), num_heads=4), state, heads=4)


def test_bf16_is_converted_and_close(tmp_path):
    state = official_state()
    encoder = load_official(save_official(tmp_path / "a.pth", state), num_heads=HEADS, dtype=torch.bfloat16)
    assert {tensor.dtype for tensor in encoder.state_dict().values()} == {torch.bfloat16}
    images = images_for(state)
    with torch.no_grad():
        difference = encoder(images.bfloat16()).float() - tokens(state, images, HEADS)
    assert difference.abs().mean() < 0.05
    assert image_descriptor(encoder, images).norm(dim=1) == pytest.approx(1, abs=1e-5)


def test_a_run_of_the_trainer_is_read_with_its_heads(tmp_path):
    state = official_state()
    torch.save({"teacher": state, "student": official_state(seed=1), "config": {"heads": HEADS}}, tmp_path / "c.pt")
    expect_same(load_official(tmp_path / "c.pt"), state)


def made_model(path: Path) -> Path:
    """An archive as the course's own model is."""
    state = {name: tensor.half() for name, tensor in official_state().items()}
    torch.save({"encoder": state, "predictor": {}, "encoder_sizes": [12, 4, 24, 2, HEADS], "points": []}, path)
    return path


@pytest.mark.parametrize("form", ["archive", "folder"])
def test_the_courses_own_model_is_read_and_written_in_the_other_form(form, tmp_path, monkeypatch):
    path = made_model(tmp_path / "ijepa.pt")
    for module in ("data.model", "solutions.published.shipped"):
        monkeypatch.setattr(f"{module}.MODEL", path)
    assert shipped.shipped_model() == path
    state = {name: tensor.half().float() for name, tensor in official_state().items()}
    encoder = load_official(path) if form == "archive" else load_huggingface(shipped.in_huggingface_layout(tmp_path))
    expect_same(encoder, state)


def test_a_copy_without_the_courses_model_writes_an_untrained_one(tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "MODEL", tmp_path / "nowhere")
    assert shipped.shipped_model() is None
    encoder = load_huggingface(shipped.in_huggingface_layout(tmp_path / "model"))
    torch.manual_seed(0)
    same = vision_transformer.VisionTransformer(32, 4, 96, 4, 3)
    for name, tensor in same.state_dict().items():
        assert torch.equal(tensor, encoder.state_dict()[name]), name


# What it goes into


def hand_made_lesson() -> SimpleNamespace:
    """A lesson 2 of another shape: numpy's table as a frozen parameter, a buffer of its own, attention by einsum."""

    class Attention(nn.Module):
        def __init__(self, dim, heads):
            super().__init__()
            self.heads, self.qkv, self.proj = heads, nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

        def forward(self, x):
            query, key, value = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(2)
            scores = torch.einsum("bqhd,bkhd->bhqk", query, key) / query.shape[-1] ** 0.5
            return self.proj(torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), value).flatten(2))

    class VisionTransformer(nn.Module):
        def __init__(self, image_size, patch_size, dim, depth, num_heads):
            super().__init__()
            self.patch_embed = nn.Module()
            self.patch_embed.proj = nn.Conv2d(3, dim, patch_size, patch_size)
            places = torch.arange((image_size // patch_size) ** 2).numpy()  # meta tensors have no numbers to give
            table = torch.from_numpy(np.outer(places, np.ones(dim)).astype(np.float32))
            self.pos_embed = nn.Parameter(table[None], requires_grad=False)
            self.register_buffer("scale", torch.tensor(1.0), persistent=False)
            blocks = [nn.Module() for _ in range(depth)]
            for block in blocks:
                block.norm1, block.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
                block.attn, block.mlp = Attention(dim, num_heads), vision_transformer.MLP(dim, 4 * dim)
            self.blocks, self.norm = nn.ModuleList(blocks), nn.LayerNorm(dim, eps=1e-6)

        def forward(self, images, keep=None):
            x = self.patch_embed.proj(images).flatten(2).mT + self.pos_embed
            for block in self.blocks:
                x = x + block.attn(block.norm1(x))
                x = x + block.mlp(block.norm2(x))
            return self.norm(x) * self.scale

    return SimpleNamespace(VisionTransformer=VisionTransformer, MLP=vision_transformer.MLP)


def test_an_encoder_of_another_shape_takes_the_weights(tmp_path):
    state, lesson = official_state(), hand_made_lesson()
    save_huggingface(tmp_path, huggingface_state(state), HEADS)
    weights = renamed(read_huggingface(tmp_path), from_huggingface)
    expect_same(assemble.assemble(lesson.VisionTransformer, lesson.MLP, weights, None, torch.float32), state)


def test_a_buffer_that_no_file_holds_keeps_its_numbers(tmp_path):
    class Counting(vision_transformer.VisionTransformer):
        def __init__(self, *sizes):
            super().__init__(*sizes)
            self.register_buffer("scale", torch.tensor(1.0), persistent=False)

        def forward(self, images, keep=None):
            return super().forward(images, keep) * self.scale

    state = official_state()
    weights = read_official(save_official(tmp_path / "a.pth", state))
    expect_same(assemble.assemble(Counting, vision_transformer.MLP, weights, HEADS, torch.float32), state)


@pytest.mark.parametrize("load", ["load_official", "load_huggingface"])
def test_an_encoder_trains_on_and_the_file_stays(load, tmp_path):
    state = official_state()
    if load == "load_official":
        path, file = save_official(tmp_path / "a.pth", state), tmp_path / "a.pth"
        encoder = load_official(path, num_heads=HEADS)
    else:
        save_huggingface(tmp_path, huggingface_state(state), HEADS)
        file, encoder = tmp_path / "model.safetensors", load_huggingface(tmp_path)
    content = file.read_bytes()
    before = {name: tensor.clone() for name, tensor in encoder.named_parameters()}
    encoder(images_for(state)).square().mean().backward()
    torch.optim.SGD(encoder.parameters(), lr=1.0).step()
    assert all(not torch.equal(before[name], tensor) for name, tensor in encoder.named_parameters())
    assert file.read_bytes() == content


# Memory

MEASURE = """
import sys, torch
from solutions.pretrained import load_huggingface
from solutions.tests.helpers.memory import peak
small, large, dtype = sys.argv[1], sys.argv[2], getattr(torch, sys.argv[3])
load_huggingface(small, 1, dtype)  # what torch imports for it is no weight
before = peak()
encoder = load_huggingface(large, 16, dtype)
with torch.no_grad():
    total = sum(float(tensor.flatten()[::1024].sum()) for tensor in encoder.parameters())  # a number of every page
print(peak() - before, sum(tensor.nbytes for tensor in encoder.state_dict().values()), total)
"""


def sparse_weights(path: Path, dim: int, depth: int) -> Path:
    """A .safetensors file with patches of 14 at 224 px, without any values written: it takes no room on the disk."""
    small = huggingface_state(official_state(dim=4, depth=depth, patch=14, grid=16))
    header, stop = {}, 0
    for name, tensor in small.items():
        wide = name != "embeddings.position_embeddings"  # whose first axes are no width
        sides = [side * dim // 4 if side in (4, 16) and (wide or side == 4) else side for side in tensor.shape]
        start, stop = stop, stop + 4 * math.prod(sides)
        header[name] = {"dtype": "F32", "shape": sides, "data_offsets": [start, stop]}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + stop)
    return path


def of_vit(dim: int, depth: int) -> int:
    """The numbers in an encoder, patches of 14 at 224 px: blocks, patches, positions, the last norm."""
    return depth * (12 * dim**2 + 13 * dim) + (3 * 14**2 + 1) * dim + 16**2 * dim + 2 * dim


@pytest.mark.parametrize(("dtype", "size", "depth"), [("float32", 4, 32), ("bfloat16", 2, 8)])  # the first is ViT-H
def test_weights_are_in_memory_once(dtype, size, depth, tmp_path):
    small = sparse_weights(tmp_path / "small.safetensors", 4, 1)
    large = sparse_weights(tmp_path / "large.safetensors", 1280, depth)
    command = [sys.executable, "-c", MEASURE, str(small), str(large), dtype]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    taken, weights, total = map(float, done.stdout.split())
    assert weights == size * of_vit(1280, depth)
    assert weights < taken < 1.15 * weights
    assert total == 0


def test_what_was_let_go_is_read_again(tmp_path):
    state = {"a": torch.randn(5000, 7), "b": torch.randn(3)}
    save_safetensors(tmp_path / "x.safetensors", state)
    mapped = read_huggingface(tmp_path / "x.safetensors").tensors
    own = state["a"].clone()
    for tensor in (*mapped.values(), own):
        let_go(tensor)
    assert torch.equal(own, state["a"])
    assert all(torch.equal(mapped[name], tensor) for name, tensor in state.items())


# Refusals


def test_too_little_memory_is_said_with_what_would_do(tmp_path, monkeypatch):
    path = save_official(tmp_path / "a.pth", official_state())
    monkeypatch.setattr(assemble, "free_memory", lambda: 1000)
    with pytest.raises(WeightsError, match=r"takes \d+ bytes of memory, and 1000 bytes are free.*--precision bf16"):
        load_official(path, num_heads=HEADS)


def saved(path: Path, value: object) -> Path:
    torch.save(value, path)
    return path


def cut(path: Path, share: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def without(state: dict, *names: str) -> dict:
    return {name: tensor for name, tensor in state.items() if name not in names}


DINO = {"cls_token": torch.zeros(1, 1, 8), "patch_embed.proj.weight": torch.zeros(8, 3, 4, 4)}
ARCHIVES = {
    "nothing there": (lambda path: path, "there is no"),
    "cut": (lambda path: cut(save_official(path, official_state()), 0.6), "not complete, its end is missing"),
    "no weights": (lambda path: (path.write_bytes(b"<html>404</html>"), path)[1], "no archive of weights"),
    "empty": (lambda path: (path.write_bytes(b""), path)[1], "damaged|no archive of weights"),
    "code": (lambda path: saved(path, {"encoder": io.StringIO}), "could run code"),
    "a list": (lambda path: saved(path, [1, 2]), "holds a list"),
    "DINOv2": (lambda path: saved(path, DINO | {"blocks.0.ls1.gamma": torch.zeros(8)}), "seems to be DINOv2"),
    "MAE": (lambda path: saved(path, {"model": DINO | {"decoder_embed.weight": torch.zeros(2)}}), "seems to be MAE"),
    "a class token": (lambda path: saved(path, {"state_dict": DINO}), "seems to be a ViT with a class token"),
    "V-JEPA": (
        lambda path: saved(path, {"encoder": {"module.backbone.patch_embed.proj.weight": torch.zeros(8, 3, 2, 4, 4)}}),
        "seems to be V-JEPA, which is for video",
    ),
    "ResNet": (lambda path: saved(path, {"layer1.0.conv1.weight": torch.zeros(8)}), "seems to be ResNet"),
    "CLIP": (lambda path: saved(path, {"visual.proj": torch.zeros(8)}), "seems to be CLIP"),
    "something": (lambda path: saved(path, {"encoder": {"w": torch.zeros(8)}}), "shows no size of an encoder"),
    "a name missing": (
        lambda path: save_official(path, without(official_state(), "norm.weight", "blocks.1.mlp.fc2.bias")),
        r"blocks.1.mlp.fc2.bias \(MLP, lesson 2\), norm.weight \(VisionTransformer, lesson 2\) are missing in the file",
    ),
    "many missing": (
        lambda path: save_official(
            path,
            without(
                official_state(),
                *(f"blocks.1.{n}.{k}" for n in ("norm1", "attn.qkv", "attn.proj", "norm2") for k in ("weight", "bias")),
            ),
        ),
        r"\(Attention, lesson 2\), .* and 3 more are missing",
    ),
    "one too many": (
        lambda path: save_official(path, official_state() | {"head.weight": torch.zeros(3)}),
        r"head.weight \(no piece of I-JEPA's encoder\) is not in the encoder",
    ),
    "other shapes": (
        lambda path: save_official(path, official_state() | {"norm.bias": torch.zeros(3)}),
        r"norm.bias \(\[3\] in the file, \[24\] in the encoder, VisionTransformer, lesson 2\)",
    ),
    "a strange width": (
        lambda path: save_official(path, official_state(dim=22)),
        r"VisionTransformer\(12, 4, 22, 2, 2\) can't be made \(ValueError",
    ),
    "not square": (
        lambda path: save_official(path, official_state() | {"pos_embed": torch.zeros(1, 8, 24)}),
        "other images than square ones",
    ),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_that_does_not_fit_is_refused_in_a_sentence(name, tmp_path):
    make, sentence = ARCHIVES[name]
    path = make(tmp_path / "archive.pth.tar")
    with pytest.raises(WeightsError, match=sentence) as caught:
        load_official(path, num_heads=HEADS)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_an_unknown_number_of_heads_is_asked_for(tmp_path):
    with pytest.raises(WeightsError, match=r"how many attention heads.*24 wide: give num_heads"):
        load_official(save_official(tmp_path / "a.pth", official_state()))


def whole(folder: Path) -> Path:
    return save_huggingface(folder, huggingface_state(official_state()), HEADS)


def spoiled(folder: Path, **entry: object) -> Path:
    """One entry of the header of a whole folder is changed."""
    path = whole(folder) / "model.safetensors"
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["layernorm.bias"] |= entry
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])
    return folder


def sharded_without(folder: Path) -> Path:
    save_huggingface(folder, huggingface_state(official_state()), HEADS, shards=3)
    (folder / "model-00002-of-00003.safetensors").unlink()
    return folder


FOLDERS = {
    "no weights": (lambda folder: (folder.mkdir(), folder)[1], "holds no model.safetensors"),
    "cut": (lambda folder: cut(whole(folder) / "model.safetensors", 0.7).parent, r"not complete: it has .* of .*;"),
    "cut in its header": (lambda folder: cut(whole(folder) / "model.safetensors", 0.01).parent, "or not complete"),
    "empty": (lambda folder: cut(whole(folder) / "model.safetensors", 0).parent, "no safetensors file"),
    "a shard missing": (sharded_without, "lacks model-00002-of-00003.safetensors: download all of its 3 files"),
    "a damaged header": (lambda folder: spoiled(folder, shape=[25]), "damaged header, at layernorm.bias"),
    "a shape of halves": (lambda folder: spoiled(folder, shape=[48, 0.5]), "damaged header"),
    "too deep": (
        lambda folder: (
            (whole(folder) / "model.safetensors").write_bytes(b"\x40\x0d\x03" + bytes(5) + b"[" * 200_000),
            folder,
        )[1],
        "no safetensors file",
    ),
    "a place before it": (lambda folder: spoiled(folder, data_offsets=[-96, 0]), "damaged header"),
    "eight bits": (lambda folder: spoiled(folder, dtype="I8"), "layernorm.bias as I8: float32, float16 or bfloat16"),
    "DINOv2": (
        lambda folder: save_huggingface(folder, {"encoder.layer.0.layer_scale1.lambda1": torch.zeros(3)}),
        "seems to be DINOv2",
    ),
    "no attention": (
        lambda folder: save_huggingface(
            folder, {n: t for n, t in huggingface_state(official_state()).items() if ".attention." not in n}, HEADS
        ),
        r"blocks.0.attn.qkv.weight \(Attention, lesson 2\), .* are missing in the file",
    ),
    "a damaged config": (
        lambda folder: ((whole(folder) / "config.json").write_text("{"), folder)[1],
        "config.json can't be read as JSON",
    ),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_that_does_not_fit_is_refused_in_a_sentence(name, tmp_path):
    make, sentence = FOLDERS[name]
    folder = make(tmp_path / "model")
    with pytest.raises(WeightsError, match=sentence) as caught:
        load_huggingface(folder)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


def test_each_form_names_the_function_that_reads_it(tmp_path):
    with pytest.raises(WeightsError, match="load_huggingface reads it"):
        load_official(whole(tmp_path / "model"))
    with pytest.raises(WeightsError, match="load_official reads archives"):
        load_huggingface(save_official(tmp_path / "a.pth", official_state()))
