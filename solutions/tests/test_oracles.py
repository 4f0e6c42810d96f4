"""Others' own encoders, saved by their own code, give here what they give there. Asked for by --oracles."""

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer as TimmViT
from transformers import IJepaConfig, IJepaModel

from solutions.pretrained import load_huggingface, load_official


def randomise(module: torch.nn.Module) -> None:
    """So that no bias is zero and no norm the identity."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape))


@pytest.mark.parametrize("saved_as", ["whole", "shards", "state_dict"])
def test_transformers_own_model_is_read_as_it_saves_it(saved_as, tmp_path):
    config = IJepaConfig(
        hidden_size=24,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=96,
        image_size=32,
        patch_size=8,
        layer_norm_eps=1e-6,
    )
    model = IJepaModel(config, add_pooling_layer=False).eval()
    randomise(model)
    if saved_as == "state_dict":
        from safetensors.torch import save_file

        config.save_pretrained(tmp_path)
        save_file(model.state_dict(), tmp_path / "model.safetensors")
    else:
        model.save_pretrained(tmp_path, max_shard_size="20KB" if saved_as == "shards" else "1GB")
        assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == (saved_as == "shards")
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = model(images).last_hidden_state
        torch.testing.assert_close(load_huggingface(tmp_path)(images), expected, atol=1e-5, rtol=1e-5)


def test_timms_vit_without_a_class_token_is_the_same_encoder(tmp_path):
    model = TimmViT(
        img_size=32,
        patch_size=8,
        embed_dim=24,
        depth=2,
        num_heads=2,
        class_token=False,
        global_pool="",
        num_classes=0,
    ).eval()
    randomise(model)
    torch.save({"encoder": {f"module.{name}": tensor for name, tensor in model.state_dict().items()}}, tmp_path / "a")
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = model(images)
        torch.testing.assert_close(load_official(tmp_path / "a", num_heads=2)(images), expected, atol=1e-5, rtol=1e-5)
