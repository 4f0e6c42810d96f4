"""What runs beside a learner's diagnostics: functions of (lesson, ...) that a check calls through `learner`."""

import torch
from torch import Tensor


def spread(lesson, features):
    """feature_std(features {features})"""
    return number(lesson.feature_std(features))


def rank(lesson, features):
    """effective_rank(features {features})"""
    return number(lesson.effective_rank(features))


def baselines(lesson, predictions, teacher_tokens, targets):
    """loss_baselines(predictions {predictions}, teacher_tokens {teacher_tokens}, targets {targets})"""
    found = lesson.loss_baselines(predictions, teacher_tokens, targets)
    return {name: number(value) for name, value in found.items()} if isinstance(found, dict) else found


def accuracy(lesson, bank, bank_labels, queries, query_labels, k):
    """knn_accuracy(bank {bank}, bank_labels, queries {queries}, query_labels, k={k})"""
    return number(lesson.knn_accuracy(bank, bank_labels, queries, query_labels, k))


def accuracy_by_default(lesson, bank, bank_labels, queries, query_labels):
    """knn_accuracy(bank {bank}, bank_labels, queries {queries}, query_labels), without k"""
    return float(lesson.knn_accuracy(bank, bank_labels, queries, query_labels))


def accuracy_of_many(lesson, bank, bank_labels, queries, query_labels, k):
    """knn_accuracy(bank {bank}, bank_labels, queries {queries}, query_labels, k={k})"""
    return float(lesson.knn_accuracy(bank, bank_labels, queries, query_labels, k))


def votes(lesson, bank, bank_labels, queries, k, labels):
    """knn_accuracy(bank {bank}, bank_labels, one query, one label, k={k}) for queries {queries} and labels {labels}"""
    return torch.tensor(
        [
            [float(lesson.knn_accuracy(bank, bank_labels, query[None], torch.tensor([label]), k)) for label in labels]
            for query in queries
        ]
    )


def colours(lesson, tokens, grid_size):
    """pca_image(tokens {tokens}, grid_size {grid_size})"""
    found = lesson.pca_image(tokens, tuple(grid_size) if isinstance(grid_size, list) else grid_size)
    return found.float() if isinstance(found, Tensor) else found


def imagined(lesson, predictions, targets, images, bank_tokens, bank_images, patch_size):
    """imagine(predictions {predictions}, targets, images {images}, bank_tokens {bank_tokens}, bank_images, 2)"""
    return lesson.imagine(predictions, targets, images, bank_tokens, bank_images, patch_size)


def inputs_of_imagine(lesson, predictions, targets, images, bank_tokens, bank_images, patch_size):
    """imagine(predictions {predictions}, targets, images {images}, bank_tokens {bank_tokens}, bank_images, 2)"""
    answer = lesson.imagine(predictions, targets, images, bank_tokens, bank_images, patch_size)
    return {
        "answer": answer,
        "predictions": predictions,
        "targets": targets,
        "images": images,
        "bank_tokens": bank_tokens,
        "bank_images": bank_images,
    }


def number(value):
    return float(value) if isinstance(value, float) else value  # numpy's float64 is a float
