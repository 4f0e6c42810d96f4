"""The forward passes of lessons 2, 4 and 5 as training needs them: the same numbers, without what nobody reads.

Three things are left out: the student embeds the patches that it keeps and no others; the teacher's last block answers
for the target patches alone, and the predictor's for the queries alone (all tokens are still attended to). The lessons'
modules hold the weights, and their own forward passes say what must come out.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from solutions.predictor import Predictor
from solutions.vision_transformer import Block, VisionTransformer, gather_tokens


def student_tokens(student: VisionTransformer, patches: Tensor, context: Tensor) -> Tensor:
    """student(images, keep=context): patches [B, N, 3*P*P], context [B, Nc] -> [B, Nc, D]."""
    positions = student.pos_embed.expand(len(context), -1, -1)
    tokens = embed(student, gather_tokens(patches, context)) + gather_tokens(positions, context)
    for block in student.blocks:
        tokens = block(tokens)
    return student.norm(tokens)


def teacher_tokens(teacher: VisionTransformer, patches: Tensor) -> Tensor:
    """teacher(images): patches [B, N, 3*P*P] -> [B, N, D]."""
    return teacher.norm(teacher.blocks[-1](before_last(teacher, patches)))


def teacher_tokens_at(teacher: VisionTransformer, patches: Tensor, indices: Tensor) -> Tensor:
    """gather_tokens(teacher(images), indices): patches [B, N, 3*P*P], indices [B, K] -> [B, K, D]."""
    tokens = before_last(teacher, patches)
    return teacher.norm(block_at(teacher.blocks[-1], tokens, lambda tokens: gather_tokens(tokens, indices)))


def infer(predictor: Predictor, context_tokens: Tensor, context: Tensor, targets: Tensor) -> Tensor:
    """predictor(context_tokens [B, Nc, D], context [B, Nc], targets [B, M, Nt]) -> [B, M, Nt, D]."""
    batch, num_blocks, length = targets.shape
    positions = predictor.predictor_pos_embed.expand(batch, -1, -1)
    seen = predictor.predictor_embed(context_tokens) + gather_tokens(positions, context)
    queries = predictor.mask_token + gather_tokens(positions, targets.flatten(1))
    queries = queries.unflatten(1, (num_blocks, length)).flatten(0, 1)
    tokens = torch.cat([seen.repeat_interleave(num_blocks, dim=0), queries], dim=1)
    *first, last = predictor.predictor_blocks
    for block in first:
        tokens = block(tokens)
    answers = block_at(last, tokens, lambda tokens: tokens[:, -length:])
    return predictor.predictor_proj(predictor.predictor_norm(answers)).unflatten(0, (batch, num_blocks))


def embed(encoder: VisionTransformer, patches: Tensor) -> Tensor:
    """encoder.patch_embed on patches that are cut out already: [B, K, 3*P*P] -> [B, K, D]."""
    proj = encoder.patch_embed.proj
    return F.linear(patches, proj.weight.flatten(1), proj.bias)


def before_last(encoder: VisionTransformer, patches: Tensor) -> Tensor:
    """What enters the last block: [B, N, D]."""
    tokens = embed(encoder, patches) + encoder.pos_embed
    for block in encoder.blocks[:-1]:
        tokens = block(tokens)
    return tokens


def block_at(block: Block, tokens: Tensor, take: Callable[[Tensor], Tensor]) -> Tensor:
    """take(block(tokens)): the other tokens [B, N, D] are attended to, but their own answers are not worked out."""
    attn, dim = block.attn, tokens.shape[-1]
    head_dim = dim // attn.num_heads
    normed = block.norm1(tokens)
    queries = F.linear(take(normed), attn.qkv.weight[:dim], attn.qkv.bias[:dim]).unflatten(-1, (-1, head_dim))
    keys_and_values = F.linear(normed, attn.qkv.weight[dim:], attn.qkv.bias[dim:]).unflatten(-1, (2, -1, head_dim))
    query, (key, value) = queries.transpose(1, 2), keys_and_values.permute(2, 0, 3, 1, 4)  # [B, heads, ., head_dim]
    weights = (query * head_dim**-0.5 @ key.transpose(-2, -1)).softmax(dim=-1)
    tokens = take(tokens) + attn.proj((weights @ value).transpose(1, 2).flatten(2))
    return tokens + block.mlp(block.norm2(tokens))
