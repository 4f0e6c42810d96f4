# ruff: noqa: F811, F821, RUF100
"""Lesson 5: wrong answers that the checks must catch, right ones that they must accept."""

# %% wrong Predictor: a uniform mask token of the right spread | They are not normal
# - nn.init.trunc_normal_(self.mask_token, std=0.02)
# + nn.init.uniform_(self.mask_token, -0.0346, 0.0346)


# %% wrong Predictor: blocks in a plain list | a plain list hides the blocks
# - nn.ModuleList(Block(predictor_dim, num_heads) for _ in range(depth))
# + [Block(predictor_dim, num_heads) for _ in range(depth)]

# %% wrong Predictor: a mask token that is no parameter | wrap it in nn.Parameter
# - nn.Parameter(torch.zeros(1, 1, predictor_dim))
# + torch.zeros(1, 1, predictor_dim)

# %% wrong Predictor: the mask token as a buffer | wrap it in nn.Parameter
# - self.mask_token = nn.Parameter(torch.zeros(1, 1, predictor_dim))
# + self.register_buffer("mask_token", torch.zeros(1, 1, predictor_dim))

# %% wrong Predictor: a mask token for each patch | there is one, [1, 1, W], for all queries
# - torch.zeros(1, 1, predictor_dim)
# + torch.zeros(1, grid_size**2, predictor_dim)
# - self.mask_token + gather_tokens(positions, targets.flatten(1))
# + gather_tokens(self.mask_token + positions, targets.flatten(1))

# %% wrong Predictor: the mask token as wide as the encoder | so its width is W
# - torch.zeros(1, 1, predictor_dim)
# + torch.zeros(1, 1, dim)
# - self.mask_token + gather
# + self.predictor_embed(self.mask_token) + gather

# %% wrong Predictor: a mask token of one axis | two axes of size 1 in front
# - torch.zeros(1, 1, predictor_dim)
# + torch.zeros(predictor_dim)

# %% wrong Predictor: a mask token of two axes | two axes of size 1, not one
# - torch.zeros(1, 1, predictor_dim)
# + torch.zeros(1, predictor_dim)

# %% wrong Predictor: depth is ignored | depth is ignored
# - range(depth)
# + range(6)

# %% wrong Predictor: predictor_dim is ignored | predictor_dim is ignored
# - super().__init__()
# + super().__init__(); predictor_dim = dim

# %% wrong Predictor: trained positions | the positions are trained
# - self.register_buffer("predictor_pos_embed", sincos_position_embedding(grid_size, predictor_dim)[None])
# + self.predictor_pos_embed = nn.Parameter(sincos_position_embedding(grid_size, predictor_dim)[None])

# %% wrong Predictor: no final norm at all | predictor_norm is missing
# - self.predictor_norm = nn.LayerNorm(predictor_dim, eps=1e-6)
# + pass
# - self.predictor_norm(tokens[:, -length:])
# + tokens[:, -length:]

# %% wrong Predictor: a projection without bias | predictor_proj has no bias
# - nn.Linear(predictor_dim, dim)
# + nn.Linear(predictor_dim, dim, bias=False)

# %% wrong Predictor: no projection | predictor_proj is missing
# - self.predictor_proj = nn.Linear(predictor_dim, dim)
# + pass
# - self.predictor_proj(self.predictor_norm(tokens[:, -length:]))
# + self.predictor_norm(tokens[:, -length:])

# %% wrong Predictor: names of one's own | compare them with the docstring
# - self.predictor_embed = nn.Linear(dim, predictor_dim)
# + self.embed = nn.Linear(dim, predictor_dim)
# - self.predictor_embed(context_tokens)
# + self.embed(context_tokens)

# %% wrong Predictor: super().__init__ forgotten | `super().__init__()` must come first
# - super().__init__()
# + pass

# %% wrong Predictor: a plain attribute for the positions | the table is not in the state dict
# - self.register_buffer("predictor_pos_embed", sincos_position_embedding(grid_size, predictor_dim)[None])
# + self.predictor_pos_embed = sincos_position_embedding(grid_size, predictor_dim)[None]

# %% wrong Predictor: positions that are not saved | the table is not in the state dict
# - sincos_position_embedding(grid_size, predictor_dim)[None])
# + sincos_position_embedding(grid_size, predictor_dim)[None], persistent=False)

# %% wrong Predictor: positions in the encoder's width | has the encoder's width D
# - sincos_position_embedding(grid_size, predictor_dim)[None]
# + sincos_position_embedding(grid_size, 4 * dim)[None, :, :dim]

# %% wrong Predictor: no batch axis | an axis for the batch in front
# - sincos_position_embedding(grid_size, predictor_dim)[None]
# + sincos_position_embedding(grid_size, predictor_dim)

# %% wrong Predictor: a row for a cls token | there is no cls token here
# - sincos_position_embedding(grid_size, predictor_dim)[None])
# + nn.functional.pad(sincos_position_embedding(grid_size, predictor_dim), (0, 0, 1, 0))[None])
# - gather_tokens(positions, context)
# + gather_tokens(positions, context + 1)
# - gather_tokens(positions, targets.flatten(1))
# + gather_tokens(positions, targets.flatten(1) + 1)

# %% wrong Predictor: positions that stay at zero | all places look the same
# - sincos_position_embedding(grid_size, predictor_dim)[None]
# + torch.zeros(1, grid_size**2, predictor_dim)

# %% wrong Predictor: random positions | sincos_position_embedding(grid_size, predictor_dim)
# - sincos_position_embedding(grid_size, predictor_dim)[None]
# + 0.02 * torch.randn(1, grid_size**2, predictor_dim)

# %% wrong Predictor: a mask token of zeros | every value is the same
# - nn.init.trunc_normal_(self.mask_token, std=0.02)
# + pass

# %% wrong Predictor: trunc_normal_(t, 0.02) | is the mean
# - self.mask_token, std=0.02
# + self.mask_token, 0.02

# %% wrong Predictor: a standard normal mask token | the standard deviation is about 1, as where it is not set
# - torch.zeros(1, 1, predictor_dim)
# + torch.randn(1, 1, predictor_dim)
# - nn.init.trunc_normal_(self.mask_token, std=0.02)
# +

# %% wrong Predictor: a mask token of another size | Draw it with nn.init.trunc_normal_
# - std=0.02
# + std=0.2

# %% wrong Predictor: a uniform mask token | Draw it with nn.init.trunc_normal_
# - nn.init.trunc_normal_(self.mask_token, std=0.02)
# + nn.init.uniform_(self.mask_token, -0.02, 0.02)

# %% wrong Predictor: torch's default eps | eps is 1e-5 here
# - , eps=1e-6)
# + )

# %% wrong Predictor: no positions on the context | the context tokens get no positions
# - self.predictor_embed(context_tokens) + gather_tokens(positions, context)
# + self.predictor_embed(context_tokens)

# %% wrong Predictor: no positions on the queries | the queries get no positions
# - self.mask_token + gather_tokens(positions, targets.flatten(1))
# + self.mask_token.expand(len(context), num_blocks * length, -1)

# %% wrong Predictor: no positions at all | there are no positions at all
# - self.predictor_embed(context_tokens) + gather_tokens(positions, context)
# + self.predictor_embed(context_tokens)
# - self.mask_token + gather_tokens(positions, targets.flatten(1))
# + self.mask_token.expand(len(context), num_blocks * length, -1)

# %% wrong Predictor: the mask token is not added | add the mask token
# - self.mask_token + gather_tokens(positions, targets.flatten(1))
# + gather_tokens(positions, targets.flatten(1))

# %% wrong Predictor: the mask token on the context too | belongs to the queries alone
# - + gather_tokens(positions, context)
# + + gather_tokens(positions, context) + self.mask_token

# %% wrong Predictor: swapped positions | the positions are swapped
# - gather_tokens(positions, context)
# + gather_tokens(positions, targets.flatten(1)[:, : context.shape[1]])
# - gather_tokens(positions, targets.flatten(1))
# + gather_tokens(positions, context.repeat(1, num_blocks * length)[:, : num_blocks * length])

# %% wrong Predictor: positions of the first patches for the queries | of patches 0 to Nt - 1
# - gather_tokens(positions, targets.flatten(1))
# + positions[:, :length].repeat(1, num_blocks, 1)

# %% wrong Predictor: positions of the first patches for the context | of patches 0 to Nc - 1
# - gather_tokens(positions, context)
# + positions[:, : context.shape[1]]

# %% wrong Predictor: positions in reading order throughout | take the rows that context and targets name
# - gather_tokens(positions, context)
# + positions[:, : context.shape[1]]
# - gather_tokens(positions, targets.flatten(1))
# + positions[:, :length].repeat(1, num_blocks, 1)

# %% wrong Predictor: targets of the first image | the queries of all images get the positions of the first image
# - gather_tokens(positions, targets.flatten(1))
# + self.predictor_pos_embed[0][targets[0].flatten()].expand(len(context), -1, -1)

# %% wrong Predictor: context of the first image | the context of all images gets the positions of the first image
# - gather_tokens(positions, context)
# + self.predictor_pos_embed[:, context[0]]

# %% wrong Predictor: masks of the first image | all images get the positions of the first image
# - gather_tokens(positions, context)
# + self.predictor_pos_embed[:, context[0]]
# - gather_tokens(positions, targets.flatten(1))
# + self.predictor_pos_embed[0][targets[0].flatten()].expand(len(context), -1, -1)

# %% wrong Predictor: off by one for a cls token | there is no cls token
# - self.predictor_pos_embed.expand(len(context), -1, -1)
# + self.predictor_pos_embed.roll(1, dims=1).expand(len(context), -1, -1)

# %% wrong Predictor: indices past the end | indices run from 0 to size - 1
# - gather_tokens(positions, targets.flatten(1))
# + gather_tokens(positions, targets.flatten(1) + positions.shape[1])

# %% wrong Predictor: sorted targets | keep the order of targets
# - targets.flatten(1)
# + targets.sort(dim=2).values.flatten(1)

# %% wrong Predictor: the norm is not applied | the final norm is not applied
# - self.predictor_norm(tokens[:, -length:])
# + tokens[:, -length:]

# %% wrong Predictor: the blocks are not applied | the blocks are not applied
# - tokens = block(tokens)
# + block(tokens)

# %% wrong Predictor: only one of the blocks is applied | only the first of the blocks is applied
# - for block in self.predictor_blocks:
# + for block in self.predictor_blocks[:1]:

# %% wrong Predictor: one head | num_heads is ignored: there are 1 heads
# - Block(predictor_dim, num_heads)
# + Block(predictor_dim, 1)

# %% wrong Predictor: normalised predictions | the predictions are normalised
# - return predictions.unflatten(0, (-1, num_blocks))
# + return nn.functional.layer_norm(predictions, predictions.shape[-1:]).unflatten(0, (-1, num_blocks))

# %% wrong Predictor: the first tokens are read off | take the Nt tokens that were the queries
# - tokens[:, -length:]
# + tokens[:, :length]

# %% wrong Predictor: the end of the context is read off | take the Nt tokens that were the queries
# - torch.cat([seen, queries], dim=1)
# + torch.cat([queries, seen], dim=1)

# %% wrong Predictor: one token too early | starts one token too early
# - tokens[:, -length:]
# + tokens[:, -length - 1 : -1]

# %% wrong Predictor: context and queries are read off | the context is still there
# - tokens[:, -length:]
# + tokens

# %% wrong Predictor: context only, no queries | only the context enters the blocks
# - tokens = torch.cat([seen, queries], dim=1)
# + tokens = seen
# - tokens[:, -length:]
# + tokens

# %% wrong Predictor: the images attend to each other | the images of the batch see each other
# - tokens = torch.cat([seen, queries], dim=1)
# + tokens = torch.cat([seen, queries], dim=1); rows = len(tokens); tokens = tokens.flatten(0, 1)[None]
# - self.predictor_norm(tokens[:, -length:])
# + self.predictor_norm(tokens.unflatten(1, (rows, -1))[0, :, -length:])

# %% wrong Predictor: dropout | leave dropout out
# - self.predictor_embed(context_tokens) +
# + nn.functional.dropout(self.predictor_embed(context_tokens), 0.1) +

# %% wrong Predictor: flattened output | the output is [B, M, Nt, D]
# - predictions.unflatten(0, (-1, num_blocks))
# + predictions

# %% wrong Predictor: an axis squeezed away | the output is [B, M, Nt, D], also for M = 1
# - predictions.unflatten(0, (-1, num_blocks))
# + predictions.unflatten(0, (-1, num_blocks)).squeeze(1)

# %% wrong Predictor: all target blocks at once | the blocks are predicted together
# - seen = seen.repeat_interleave(num_blocks, dim=0)
# +
# - queries = queries.unflatten(1, (num_blocks, length)).flatten(0, 1)
# +
# - self.predictor_norm(tokens[:, -length:])
# + self.predictor_norm(tokens[:, context.shape[1] :])
# - predictions.unflatten(0, (-1, num_blocks))
# + predictions.unflatten(1, (num_blocks, length))

# %% wrong Predictor: repeat in place of repeat_interleave | with repeat_interleave, not with repeat
# - seen.repeat_interleave(num_blocks, dim=0)
# + seen.repeat(num_blocks, 1, 1)

# %% wrong Predictor: repeat_interleave in place of repeat | with repeat, not with repeat_interleave
# - queries.unflatten(1, (num_blocks, length)).flatten(0, 1)
# + queries.unflatten(1, (num_blocks, length)).transpose(0, 1).flatten(0, 1)
# - predictions.unflatten(0, (-1, num_blocks))
# + predictions.unflatten(0, (num_blocks, -1)).transpose(0, 1)

# %% wrong Predictor: block rows read as image rows | the rows go block by block
# - seen.repeat_interleave(num_blocks, dim=0)
# + seen.repeat(num_blocks, 1, 1)
# - queries.unflatten(1, (num_blocks, length)).flatten(0, 1)
# + queries.unflatten(1, (num_blocks, length)).transpose(0, 1).flatten(0, 1)

# %% wrong Predictor: blocks before images | here the blocks come first
# - predictions.unflatten(0, (-1, num_blocks))
# + predictions.unflatten(0, (-1, num_blocks)).transpose(0, 1)

# %% wrong Predictor: only the first block | only one block is predicted
# - num_blocks, length = targets.shape[1:]
# + targets = targets[:, :1]; num_blocks, length = targets.shape[1:]


# %% wrong Predictor: each block sees the ones before | in another way when there are others
class Predictor(nn.Module):
    def __init__(self, grid_size, dim, predictor_dim, depth, num_heads):
        super().__init__()
        self.predictor_embed = nn.Linear(dim, predictor_dim)
        self.mask_token = nn.Parameter(0.02 * torch.randn(1, 1, predictor_dim))
        self.register_buffer("predictor_pos_embed", sincos_position_embedding(grid_size, predictor_dim)[None])
        self.predictor_blocks = nn.ModuleList(Block(predictor_dim, num_heads) for _ in range(depth))
        self.predictor_norm = nn.LayerNorm(predictor_dim, eps=1e-6)
        self.predictor_proj = nn.Linear(predictor_dim, dim)

    def forward(self, context_tokens, context, targets):
        table = self.predictor_pos_embed[0]
        tokens = self.predictor_embed(context_tokens) + table[context]
        predictions = []
        for block in targets.unbind(1):
            tokens = torch.cat([tokens, self.mask_token + table[block]], dim=1)
            for layer in self.predictor_blocks:
                tokens = layer(tokens)
            predictions.append(self.predictor_proj(self.predictor_norm(tokens[:, -block.shape[1] :])))
        return torch.stack(predictions, dim=1)


# %% wrong Predictor: detached context tokens | the student would never learn
# - self.predictor_embed(context_tokens)
# + self.predictor_embed(context_tokens.detach())

# %% wrong Predictor: a detached mask token | the mask token is not used, or its graph is cut
# - self.mask_token + gather
# + self.mask_token.data + gather

# %% wrong Predictor: queries in float32 | something is turned into float32
# - return predictions.unflatten(0, (-1, num_blocks))
# + return predictions.unflatten(0, (-1, num_blocks)).float()

# %% wrong Predictor: a float32 buffer for the tokens | dtype
# - tokens = torch.cat([seen, queries], dim=1)
# + tokens = torch.cat([seen, queries], dim=1); empty = torch.zeros(tokens.shape); empty[:] = tokens; tokens = empty


# %% right Predictor: one block at a time, frozen positions
class Predictor(nn.Module):
    def __init__(self, grid_size, dim, predictor_dim, depth, num_heads):
        super().__init__()
        self.predictor_proj = nn.Linear(predictor_dim, dim)
        self.predictor_norm = nn.LayerNorm(predictor_dim, eps=1e-6)
        self.predictor_blocks = nn.Sequential(*[Block(predictor_dim, num_heads) for _ in range(depth)])
        self.predictor_embed = nn.Linear(dim, predictor_dim)
        table = sincos_position_embedding(grid_size, predictor_dim).unsqueeze(0)
        self.predictor_pos_embed = nn.Parameter(table, requires_grad=False)
        self.mask_token = nn.Parameter(torch.empty(1, 1, predictor_dim).normal_(std=0.02))

    def forward(self, context_tokens, context, targets):
        table = self.predictor_pos_embed[0]
        seen = self.predictor_embed(context_tokens) + table[context]
        return torch.stack([self.predict(seen, self.mask_token + table[block]) for block in targets.unbind(1)], 1)

    def predict(self, seen, queries):
        tokens = self.predictor_blocks(torch.cat([queries, seen], dim=1))
        return self.predictor_proj(self.predictor_norm(tokens)[:, : queries.shape[1]])


# %% right Predictor: rows block by block, tails cut at two standard deviations
class Predictor(nn.Module):
    def __init__(self, grid_size, dim, predictor_dim, depth, num_heads):
        super().__init__()
        self.predictor_embed = nn.Linear(dim, predictor_dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, predictor_dim))
        nn.init.trunc_normal_(self.mask_token, std=0.02, a=-0.04, b=0.04)
        self.register_buffer("predictor_pos_embed", sincos_position_embedding(grid_size, predictor_dim)[None])
        self.register_buffer("num_patches", torch.tensor(grid_size**2))
        self.predictor_blocks = nn.ModuleList([Block(predictor_dim, num_heads) for _ in range(depth)])
        self.predictor_norm = nn.LayerNorm(predictor_dim, eps=1e-6)
        self.predictor_proj = nn.Linear(predictor_dim, dim)
        for linear in (self.predictor_embed, self.predictor_proj):
            nn.init.trunc_normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)

    def forward(self, context_tokens, context, targets):
        B, M, Nt = targets.shape
        places = self.predictor_pos_embed.repeat(B, 1, 1)
        seen = self.predictor_embed(context_tokens) + gather_tokens(places, context)
        rows = torch.cat([targets[:, m] for m in range(M)])
        queries = self.mask_token.repeat(M * B, Nt, 1) + gather_tokens(places.repeat(M, 1, 1), rows)
        tokens = torch.cat([seen.repeat(M, 1, 1), queries], dim=1)
        for block in self.predictor_blocks:
            tokens = block(tokens)
        tokens = self.predictor_proj(self.predictor_norm(tokens))[:, seen.shape[1] :]
        return torch.stack(tokens.chunk(M), dim=1)


# %% right Predictor: loops over images and blocks
class Predictor(nn.Module):
    def __init__(self, grid_size, dim, predictor_dim, depth, num_heads):
        super().__init__()
        self.predictor_embed = nn.Linear(dim, predictor_dim)
        self.mask_token = nn.Parameter(torch.randn(1, 1, predictor_dim) * 0.02)
        self.register_buffer("predictor_pos_embed", sincos_position_embedding(grid_size, predictor_dim)[None])
        self.predictor_blocks = nn.ModuleList()
        for _ in range(depth):
            self.predictor_blocks.append(Block(predictor_dim, num_heads))
        self.predictor_norm = nn.LayerNorm(predictor_dim, 1e-6)
        self.predictor_proj = nn.Linear(predictor_dim, dim)

    def forward(self, context_tokens, context, targets):
        table = self.predictor_pos_embed.squeeze(0)
        images = []
        for tokens, here, blocks in zip(context_tokens, context, targets, strict=True):
            seen = self.predictor_embed(tokens) + table[here]
            one_image = []
            for block in blocks:
                x = torch.cat([seen, self.mask_token[0] + table[block]])[None]
                for layer in self.predictor_blocks:
                    x = layer(x)
                one_image.append(self.predictor_proj(self.predictor_norm(x[0, len(seen) :])))
            images.append(torch.stack(one_image))
        return torch.stack(images)


# %% wrong jepa_loss: summed over D | the squares are summed over D
# - .square().mean()
# + .square().sum(dim=-1).mean()

# %% wrong jepa_loss: summed | the squares are summed: take the mean
# - .square().mean()
# + .square().sum()

# %% wrong jepa_loss: only the batch is averaged | only the batch is averaged
# - .square().mean()
# + .square().sum() / len(targets)

# %% wrong jepa_loss: a square root | the square root is too much
# - .square().mean()
# + .square().mean().sqrt()

# %% wrong jepa_loss: L2 norm | the L2 distance of each patch, not squared
# - (predictions - targets).square().mean()
# + torch.linalg.vector_norm(predictions - targets, dim=-1).mean()

# %% wrong jepa_loss: L1 | absolute difference (L1)
# - .square()
# + .abs()

# %% wrong jepa_loss: smooth L1 | smooth L1, as in the official code
# - (predictions - targets).square().mean()
# + nn.functional.smooth_l1_loss(predictions, targets)

# %% wrong jepa_loss: cosine similarity | cosine similarity
# - (predictions - targets).square().mean()
# + 1 - nn.functional.cosine_similarity(predictions, targets, dim=-1).mean()

# %% wrong jepa_loss: both brought to length 1 | brought to length 1
# - (predictions - targets).square()
# + (nn.functional.normalize(predictions, dim=-1) - nn.functional.normalize(targets, dim=-1)).square()

# %% wrong jepa_loss: normalised predictions | the predictions are normalised
# - (predictions - targets)
# + (nn.functional.layer_norm(predictions, predictions.shape[-1:]) - targets)

# %% wrong jepa_loss: squared too late | square first
# - .square().mean()
# + .mean().square()

# %% wrong jepa_loss: nothing squared | the differences cancel
# - .square()
# +

# %% wrong jepa_loss: half of it | there is no factor 1/2
# - .square().mean()
# + .square().mean() / 2

# %% wrong jepa_loss: not reduced | nothing is averaged
# - .square().mean()
# + .square()

# %% wrong jepa_loss: only D is averaged | only the last axis is averaged
# - .square().mean()
# + .square().mean(dim=-1)

# %% wrong jepa_loss: one loss an image | one loss for each image
# - .square().mean()
# + .square().mean(dim=(1, 2, 3))

# %% wrong jepa_loss: a float | has no graph to go backward through
# - .mean()
# + .mean().item()

# %% wrong jepa_loss: other shapes broadcast | compare the two shapes first
# - if predictions.shape != targets.shape:
# + if False:


# %% wrong jepa_loss: cut to the shorter one | cutting to the shorter one
def jepa_loss(predictions, targets):
    length = min(predictions.shape[-2], targets.shape[-2])
    return nn.functional.mse_loss(predictions[..., :length, :], targets[..., :length, :])


# %% wrong jepa_loss: only the number of values is compared | compare the two shapes first
# - predictions.shape != targets.shape
# + predictions.numel() != targets.numel()
# - (predictions - targets)
# + (predictions.flatten() - targets.flatten())

# %% wrong jepa_loss: an assertion in place of the error | AssertionError
# - raise ValueError(f"predictions {list(predictions.shape)} and targets {list(targets.shape)} must have one shape")
# + assert False, "the shapes differ"

# %% wrong jepa_loss: the predictions are detached | the graph was cut
# - (predictions - targets)
# + (predictions.detach() - targets)

# %% wrong jepa_loss: the difference is taken of .data | the graph was cut
# - (predictions - targets)
# + (predictions.data - targets.data)


# %% right jepa_loss: F.mse_loss, targets detached
def jepa_loss(predictions, targets):
    if tuple(predictions.shape) != tuple(targets.shape):
        raise ValueError("shapes differ")
    return nn.functional.mse_loss(predictions, targets.detach())


# %% right jepa_loss: a sum, divided
def jepa_loss(predictions, targets):
    if predictions.size() != targets.size():
        raise ValueError
    return torch.sum((targets - predictions) ** 2) / targets.numel()


# %% right jepa_loss: einsum, a mean of means
def jepa_loss(predictions, targets):
    if list(predictions.shape) != list(targets.shape):
        raise ValueError("predictions and targets must have the same shape")
    gap = predictions - targets
    return (torch.einsum("bmnd,bmnd->bmn", gap, gap) / gap.shape[-1]).mean(dim=2).mean(dim=1).mean(dim=0)


# %% wrong Predictor: the positions of the context sorted | keep the order of context
# - gather_tokens(positions, context)
# + gather_tokens(positions, context.sort(dim=1).values)


# %% wrong Predictor: an embedding of another width | or has another shape: the check of the parameters says ! this name
# - self.predictor_embed = nn.Linear(dim, predictor_dim)
# + self.predictor_embed = nn.Linear(dim, dim)

# %% wrong block_mask: True and False exchanged | True is where a token may look
# - return (block == -1) | (block == block[:, None])
# + return ~((block == -1) | (block == block[:, None]))

# %% wrong block_mask: rows and columns exchanged | Rows and columns are exchanged
# - return (block == -1) | (block == block[:, None])
# + return (block[:, None] == -1) | (block == block[:, None])

# %% wrong block_mask: all tokens of a block look at each other, the context at all | The context looks at the queries
# - return (block == -1) | (block == block[:, None])
# + return (block == -1) | (block[:, None] == -1) | (block == block[:, None])

# %% wrong block_mask: every query sees all queries | The blocks see each other
# - return (block == -1) | (block == block[:, None])
# + return (block == -1) | (block[:, None] >= 0)

# %% wrong block_mask: the queries without the context | The queries don't look at the context
# - return (block == -1) | (block == block[:, None])
# + return block == block[:, None]

# %% wrong block_mask: the blocks interleaved | The queries stand block after block
# - .repeat_interleave(length)
# + .repeat(length)

# %% wrong block_mask: numbers to add to the scores | reads True and False as
# - return (block == -1) | (block == block[:, None])
# + return torch.where((block == -1) | (block == block[:, None]), 0.0, -torch.inf)


# %% right block_mask: filled block by block
def block_mask(num_context, num_blocks, length):
    size = num_context + num_blocks * length
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[:, :num_context] = True
    for start in range(num_context, size, length):
        mask[start : start + length, start : start + length] = True
    return mask


# %% right block_mask: with block_diag
def block_mask(num_context, num_blocks, length):
    own = torch.block_diag(torch.zeros(num_context, num_context), *[torch.ones(length, length)] * num_blocks)
    own[:, :num_context] = 1
    return own.bool()
