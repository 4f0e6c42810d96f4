"""What a checkpoint that is no I-JEPA seems to be, by the names and shapes in it."""

from __future__ import annotations

import re
from collections.abc import Mapping

Shapes = Mapping[str, tuple[int, ...]]

# what it is, and a pattern that one of its names has; the first that fits is said
BY_NAME = (
    ("CLIP", r"(^|\.)(logit_scale|visual\.|vision_model\.)"),
    ("MAE, with its decoder", r"(^|\.)(decoder_blocks|decoder_embed|decoder\.decoder_layers|decoder_pos_embed)"),
    ("DINOv2", r"(^|\.)(register_tokens|ls1\.gamma|layer_scale1\.lambda1)$"),
    ("Swin or BEiT", r"relative_position_bias_table"),
    ("ResNet", r"(^|\.)layer1\.0\.conv1\.weight$"),
    ("a ViT with a class token (DINO's, MAE's or one trained with labels); I-JEPA has none", r"(^|\.)cls_token$"),
)


def seems(shapes: Shapes) -> str:
    """Its name, or "" if nothing in it is known to be another's."""
    if any("patch_embed" in name and len(shape) == 5 for name, shape in shapes.items()):
        return "V-JEPA, which is for video (its patches have a time axis)"
    for title, pattern in BY_NAME:
        if any(re.search(pattern, name) for name in shapes):
            return title
    return ""
