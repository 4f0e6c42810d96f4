"""Weights in either form, by VisionTransformer's names."""

from pathlib import Path

from solutions.pretrained import from_huggingface
from solutions.published.files import Weights, is_huggingface, read_huggingface, read_official, renamed


def read_weights(path: Path, network: str = "encoder") -> Weights:
    """What is published at the path; network: which one of an archive. Raises WeightsError."""
    if is_huggingface(path):
        return renamed(read_huggingface(path), from_huggingface)
    return read_official(path, network)
