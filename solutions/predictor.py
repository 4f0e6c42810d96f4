# %% [markdown]
# # Lesson 5: the predictor

# %%
import torch
from torch import Tensor, nn

from checks import check
from solutions.patch_embedding import sincos_position_embedding
from solutions.vision_transformer import Block, gather_tokens


# %% exercise="Predictor"
class Predictor(nn.Module):
    """A narrow transformer that infers the teacher's view of the targets from the student's view of
    the context.

    `.predictor_embed` Linear D -> W, `.mask_token` [1, 1, W] (a trained parameter, truncated normal
    of std .02), `.predictor_pos_embed` [1, N, W] (part of the state dict, never trained),
    `.predictor_blocks`, `.predictor_norm` LayerNorm eps 1e-6, `.predictor_proj` Linear W -> D; W =
    predictor_dim.

    forward(context_tokens [B, Nc, D], context [B, Nc], targets [B, M, Nt]) -> predictions [B, M,
    Nt, D] in the order of targets. A context token gets the position of its patch; a query for a
    target patch is the mask token plus the position of that patch. Each target block is predicted
    from the context alone: blocks do not see each other.
    """

    def __init__(self, grid_size: int, dim: int, predictor_dim: int, depth: int, num_heads: int):
        super().__init__()
        ### BEGIN SOLUTION
        self.predictor_embed = nn.Linear(dim, predictor_dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, predictor_dim))
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        self.register_buffer("predictor_pos_embed", sincos_position_embedding(grid_size, predictor_dim)[None])
        self.predictor_blocks = nn.ModuleList(Block(predictor_dim, num_heads) for _ in range(depth))
        self.predictor_norm = nn.LayerNorm(predictor_dim, eps=1e-6)
        self.predictor_proj = nn.Linear(predictor_dim, dim)
        ### END SOLUTION

    def forward(self, context_tokens: Tensor, context: Tensor, targets: Tensor) -> Tensor:
        ### BEGIN SOLUTION
        num_blocks, length = targets.shape[1:]
        positions = self.predictor_pos_embed.expand(len(context), -1, -1)
        seen = self.predictor_embed(context_tokens) + gather_tokens(positions, context)
        queries = self.mask_token + gather_tokens(positions, targets.flatten(1))
        # one row a target block: the context is repeated, so that no block attends to another
        seen = seen.repeat_interleave(num_blocks, dim=0)
        queries = queries.unflatten(1, (num_blocks, length)).flatten(0, 1)
        tokens = torch.cat([seen, queries], dim=1)
        for block in self.predictor_blocks:
            tokens = block(tokens)
        predictions = self.predictor_proj(self.predictor_norm(tokens[:, -length:]))
        return predictions.unflatten(0, (-1, num_blocks))
        ### END SOLUTION


# %%
if __name__ == "__main__":
    check("Predictor")


# %% exercise="jepa_loss"
def jepa_loss(predictions: Tensor, targets: Tensor) -> Tensor:
    """The squared L2 distance in representation space, averaged over all elements -> scalar.

    predictions and targets [B, M, Nt, D]; raises ValueError if their shapes differ.
    """
    ### BEGIN SOLUTION
    if predictions.shape != targets.shape:
        raise ValueError(f"predictions {list(predictions.shape)} and targets {list(targets.shape)} must have one shape")
    return (predictions - targets).square().mean()
    ### END SOLUTION


# %%
if __name__ == "__main__":
    check("jepa_loss")
