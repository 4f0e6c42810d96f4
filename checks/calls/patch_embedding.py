"""What runs beside a learner's patch embedding: functions of (lesson, ...) that a check calls through `learner`."""

import torch


def patchify(lesson, images, patch_size):
    return lesson.patchify(images, patch_size)


def unpatchify(lesson, patches, patch_size, grid_size):
    return lesson.unpatchify(patches, patch_size, grid_size)


def trained_parameters(lesson, image_size, patch_size, dim):
    """PatchEmbedding({image_size}, {patch_size}, {dim}).named_parameters()"""
    layer = lesson.PatchEmbedding(image_size, patch_size, dim)
    return {name: list(value.shape) for name, value in layer.named_parameters() if value.requires_grad}


def tokens(lesson, image_size, patch_size, weight, bias, images):
    """PatchEmbedding({image_size}, {patch_size}, dim)(images {images}) with .proj.weight {weight}, .proj.bias {bias}"""
    return embedding(lesson, image_size, patch_size, weight, bias)(images)


def gradients(lesson, image_size, patch_size, weight, bias, images):
    """PatchEmbedding({image_size}, {patch_size}, dim)(images {images}).sum().backward()"""
    layer = embedding(lesson, image_size, patch_size, weight, bias)
    images.requires_grad_()
    layer(images).sum().backward()
    return {"images": images.grad, "proj.weight": layer.proj.weight.grad, "proj.bias": layer.proj.bias.grad}


def embedding(lesson, image_size, patch_size, weight, bias):
    layer = lesson.PatchEmbedding(image_size, patch_size, len(bias))
    with torch.no_grad():
        layer.proj.weight.copy_(weight)
        layer.proj.bias.copy_(bias)
    return layer


def sincos_position_embedding(lesson, grid_size, dim):
    return lesson.sincos_position_embedding(grid_size, dim)


def sincos_as_float32(lesson, grid_size, dim):
    """sincos_position_embedding(grid_size {grid_size}, dim {dim})"""
    return torch.as_tensor(lesson.sincos_position_embedding(grid_size, dim)).float()
