"""The small I-JEPA that comes with the course: `load_model()`."""

from pathlib import Path
from typing import Any

import torch

MODEL = Path(__file__).parent / "model" / "ijepa.pt"  # experiments/small_model.py makes it, model/README.md is its card


def load_model() -> dict[str, Any]:
    """The small I-JEPA that comes with the course, for VisionTransformer and Predictor as lessons 2 and 5 build them.

    Returns {
        "encoder": the teacher's state dict, float32, "predictor": the predictor's,
        "encoder_sizes": the arguments of VisionTransformer, "predictor_sizes": those of Predictor, in order,
        "points": what was measured while it was trained, a dict for each milestone, with "images" seen,
        "held_out_loss", "knn", "logistic" and more
    }. Nothing in the file is run: it is read as plain tensors and containers.
    """
    model = torch.load(MODEL, weights_only=True)
    for part in ("encoder", "predictor"):
        model[part] = {name: tensor.float() for name, tensor in model[part].items()}
    return model
