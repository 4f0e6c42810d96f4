# ruff: noqa
"""Lesson 2: wrong answers that the checks must catch, right ones that they must accept."""

# %% wrong Attention: not scaled | the scores are not scaled
# - query * head_dim**-0.5 @ key
# + query @ key

# %% wrong Attention: scaled by D | divided by sqrt(D):
# - head_dim**-0.5
# + dim**-0.5

# %% wrong Attention: divided by D | divided by D:
# - query * head_dim**-0.5
# + query / dim

# %% wrong Attention: divided without the square root | or twice by its square root
# - query * head_dim**-0.5
# + query / head_dim

# %% wrong Attention: query and key are both scaled | or twice by its square root
# - query * head_dim**-0.5 @ key.transpose(-2, -1)
# + (query * head_dim**-0.5) @ (key * head_dim**-0.5).transpose(-2, -1)

# %% wrong Attention: scaled the wrong way | multiplied by sqrt(D / heads)
# - head_dim**-0.5
# + head_dim**0.5

# %% wrong Attention: scaled by the number of heads | divided by sqrt(heads)
# - head_dim**-0.5
# + self.num_heads**-0.5

# %% wrong Attention: softmax before scaling | softmax comes before the scaling
# - weights = (query * head_dim**-0.5 @ key.transpose(-2, -1)).softmax(dim=-1)
# + weights = (query @ key.transpose(-2, -1)).softmax(dim=-1) * head_dim**-0.5

# %% wrong Attention: softmax over the queries | softmax runs over the queries
# - softmax(dim=-1)
# + softmax(dim=-2)

# %% wrong Attention: softmax over the heads | softmax runs over the heads
# - softmax(dim=-1)
# + softmax(dim=1)

# %% wrong Attention: softmax over the batch | softmax runs over the images
# - softmax(dim=-1)
# + softmax(dim=0)

# %% wrong Attention: no softmax | the softmax is missing
# - .softmax(dim=-1)

# %% wrong Attention: weights transposed | the attention weights are transposed
# - weights @ value
# + weights.mT @ value


# %% wrong Attention: causal | attention is causal
def _causal_mask(length):
    return torch.ones(length, length, dtype=torch.bool).tril()


class Attention(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        if dim % num_heads:
            raise ValueError("num_heads must divide dim")
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        B, N, D = x.shape
        q, k, v = self.qkv(x).view(B, N, 3, self.num_heads, D // self.num_heads).permute(2, 0, 3, 1, 4)
        scores = q @ k.mT / (D // self.num_heads) ** 0.5
        scores = scores.masked_fill(~_causal_mask(N), float("-inf"))
        return self.proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(B, N, D))


# %% wrong Attention: a token does not see itself | a token does not see itself
# - weights = (query * head_dim**-0.5 @ key.transpose(-2, -1)).softmax(dim=-1)
# + weights = (query * head_dim**-0.5 @ key.transpose(-2, -1) - 1e9 * torch.eye(length)).softmax(dim=-1)

# %% wrong Attention: dropout on the weights | leave dropout out
# - weights @ value
# + F.dropout(weights, 0.1) @ value

# %% wrong Attention: dropout on the result | leave dropout out
# - self.proj = nn.Linear(dim, dim)
# + self.proj, self.drop = nn.Linear(dim, dim), nn.Dropout(0.1)
# - return self.proj(gathered)
# + return self.drop(self.proj(gathered))

# %% wrong Attention: proj is not applied | .proj is not applied
# - self.proj(gathered)
# + gathered

# %% wrong Attention: no proj at all | .proj is missing
# - self.proj = nn.Linear(dim, dim)

# - self.proj(gathered)
# + gathered

# %% wrong Attention: qkv without bias | .qkv has a bias
# - nn.Linear(dim, 3 * dim)
# + nn.Linear(dim, 3 * dim, bias=False)

# %% wrong Attention: proj without bias | .proj has a bias
# - nn.Linear(dim, dim)
# + nn.Linear(dim, dim, bias=False)

# %% wrong Attention: no biases | both layers have a bias
# - nn.Linear(dim, 3 * dim)
# + nn.Linear(dim, 3 * dim, bias=False)
# - nn.Linear(dim, dim)
# + nn.Linear(dim, dim, bias=False)


# %% wrong Attention: three layers | 3*dim outputs in place of three layers
class Attention(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        if dim % num_heads:
            raise ValueError("num_heads must divide dim")
        self.num_heads = num_heads
        self.q, self.k, self.v, self.proj = (nn.Linear(dim, dim) for _ in range(4))

    def forward(self, x):
        q, k, v = (layer(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for layer in (self.q, self.k, self.v))
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


# %% wrong Attention: the scale is trained | 'scale' is too many
# - self.num_heads = num_heads
# + self.num_heads, self.scale = num_heads, nn.Parameter(torch.tensor((dim // num_heads) ** -0.5))
# - head_dim**-0.5
# + self.scale


# %% wrong Attention: nn.MultiheadAttention as it is | exactly two layers are trained
class Attention(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        if dim % num_heads:
            raise ValueError("num_heads must divide dim")
        self.attention = nn.MultiheadAttention(dim, num_heads, batch_first=True)

    def forward(self, tokens):
        return self.attention(tokens, tokens, tokens)[0]


# %% wrong Attention: one head | there is one head only
# - self.num_heads = num_heads
# + self.num_heads = 1

# %% wrong Attention: over the batch axis | attention runs over the batch axis
# - batch, length, dim = tokens.shape
# + length, batch, dim = tokens.shape
# - self.qkv(tokens)
# + self.qkv(tokens.transpose(0, 1))
# - return self.proj(gathered)
# + return self.proj(gathered).transpose(0, 1)

# %% wrong Attention: torch's attention without batch_first | attention runs over the batch axis
# - qkv = self.qkv(tokens).reshape(batch, length, 3, self.num_heads, head_dim)
# -         query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each [B, heads, N, head_dim]
# -         weights = (query * head_dim**-0.5 @ key.transpose(-2, -1)).softmax(dim=-1)  # [B, heads, N, N]
# -         gathered = (weights @ value).transpose(1, 2).reshape(batch, length, dim)
# -         return self.proj(gathered)
# + return F.multi_head_attention_forward(
# +     tokens, tokens, tokens, dim, self.num_heads, self.qkv.weight, self.qkv.bias, None, None, False, 0.0,
# +     self.proj.weight, self.proj.bias,
# + )[0]

# %% wrong Attention: between the heads of one token | the heads of one token see each other
# - permute(2, 0, 3, 1, 4)
# + permute(2, 0, 1, 3, 4)
# - (weights @ value).transpose(1, 2)
# + (weights @ value)

# %% wrong Attention: heads joined without the transpose | without swapping back
# - (weights @ value).transpose(1, 2)
# + (weights @ value)

# %% wrong Attention: heads joined as the fastest axis | head as the fastest axis: reshape
# - (weights @ value).transpose(1, 2)
# + (weights @ value).permute(0, 2, 3, 1)

# %% wrong Attention: heads cut by reshape alone | mixes heads and tokens
# - qkv = self.qkv(tokens).reshape(batch, length, 3, self.num_heads, head_dim)
# -         query, key, value = qkv.permute(2, 0, 3, 1, 4)
# + query, key, value = (part.reshape(batch, self.num_heads, length, head_dim) for part in self.qkv(tokens).chunk(3, -1))

# %% wrong Attention: heads cut and joined by reshape alone | and back mixes heads and tokens
# - qkv = self.qkv(tokens).reshape(batch, length, 3, self.num_heads, head_dim)
# -         query, key, value = qkv.permute(2, 0, 3, 1, 4)
# + query, key, value = (part.reshape(batch, self.num_heads, length, head_dim) for part in self.qkv(tokens).chunk(3, -1))
# - (weights @ value).transpose(1, 2)
# + (weights @ value)

# %% wrong Attention: all axes at once by reshape | [B, 3, heads, N, D/heads] mixes
# - reshape(batch, length, 3, self.num_heads, head_dim)
# + reshape(batch, 3, self.num_heads, length, head_dim)
# - permute(2, 0, 3, 1, 4)
# + transpose(0, 1)

# %% wrong Attention: three first by reshape | [3, B, heads, N, D/heads] mixes
# - reshape(batch, length, 3, self.num_heads, head_dim)
# + reshape(3, batch, self.num_heads, length, head_dim)
# - qkv.permute(2, 0, 3, 1, 4)
# + qkv

# %% wrong Attention: three first by reshape, then the heads | [3, B, N, heads, D/heads] mixes
# - reshape(batch, length, 3, self.num_heads, head_dim)
# + reshape(3, batch, length, self.num_heads, head_dim)
# - permute(2, 0, 3, 1, 4)
# + transpose(2, 3)

# %% wrong Attention: interleaved head by head | interleaved head by head
# - reshape(batch, length, 3, self.num_heads, head_dim)
# + reshape(batch, length, self.num_heads, 3, head_dim)
# - permute(2, 0, 3, 1, 4)
# + permute(3, 0, 2, 1, 4)

# %% wrong Attention: interleaved number by number | interleaved number by number
# - reshape(batch, length, 3, self.num_heads, head_dim)
# + reshape(batch, length, self.num_heads, head_dim, 3)
# - permute(2, 0, 3, 1, 4)
# + permute(4, 0, 2, 1, 3)

# %% wrong Attention: the head is the fastest axis | the head is the fastest axis of the split
# - reshape(batch, length, 3, self.num_heads, head_dim)
# + reshape(batch, length, 3, head_dim, self.num_heads)
# - permute(2, 0, 3, 1, 4)
# + permute(2, 0, 4, 1, 3)

# %% wrong Attention: keys first | from places 2, 1, 3
# - query, key, value = qkv
# + key, query, value = qkv

# %% wrong Attention: values first | from places 2, 3, 1
# - query, key, value = qkv
# + value, query, key = qkv

# %% wrong Attention: keys serve as values | from places 1, 2, 2
# - weights @ value
# + weights @ key

# %% wrong Attention: a residual inside | the residual belongs to Block
# - return self.proj(gathered)
# + return tokens + self.proj(gathered)

# %% wrong Attention: weights detached | cuts a part of the graph
# - weights @ value
# + weights.detach() @ value

# %% wrong Attention: no error | raise ValueError
# - if dim % num_heads:
# -             raise ValueError(f"{num_heads} heads do not divide dim {dim}")

# %% wrong Attention: an assertion | an assert raises another error
# - if dim % num_heads:
# -             raise ValueError(f"{num_heads} heads do not divide dim {dim}")
# + assert dim % num_heads == 0

# %% wrong Attention: the test is the wrong way round | ValueError
# - dim % num_heads
# + num_heads % dim

# %% wrong Attention: the batch is squeezed away | (of size 1) is missing
# - return self.proj(gathered)
# + return self.proj(gathered).squeeze(0)

# %% wrong Attention: always float32 | dtype is not kept
# - return self.proj(gathered)
# + return self.proj(gathered).float()

# %% wrong Attention: the weights are returned too | a tuple
# - return self.proj(gathered)
# + return self.proj(gathered), weights

# %% wrong Attention: heads left on an axis of their own | still have an axis of their own
# - .reshape(batch, length, dim)

# - return self.proj(gathered)
# + return gathered

# %% wrong Attention: nothing is returned | is the `return` missing
# - return self.proj(gathered)
# + self.proj(gathered)


# %% right Attention: scaled_dot_product_attention
class Attention(nn.Module):
    def __init__(self, dim, num_heads, dropout=0.0):
        super().__init__()
        if dim % num_heads != 0:
            raise ValueError("num_heads must divide dim")
        self.heads, self.dropout = num_heads, dropout
        self.qkv = nn.Linear(dim, dim * 3)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=-1))
        return self.proj(F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout).transpose(1, 2).flatten(2))


# %% right Attention: F.multi_head_attention_forward inside
class Attention(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        if dim % num_heads:
            raise ValueError("num_heads must divide dim")
        self.dim, self.num_heads = dim, num_heads
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, tokens):
        x = tokens.transpose(0, 1)
        out, _ = F.multi_head_attention_forward(
            x,
            x,
            x,
            self.dim,
            self.num_heads,
            self.qkv.weight,
            self.qkv.bias,
            None,
            None,
            False,
            0.0,
            self.proj.weight,
            self.proj.bias,
            training=self.training,
            need_weights=False,
        )
        return out.transpose(0, 1)


# %% right Attention: einsum, an identity dropout and a buffer for the scale
class Attention(nn.Module):
    def __init__(self, dim: int, num_heads: int, attn_drop: float = 0.0):
        super().__init__()
        if dim % num_heads:
            raise ValueError("num_heads must divide dim")
        self.h, self.d = num_heads, dim // num_heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=True)
        self.drop = nn.Dropout(attn_drop)
        self.proj = nn.Linear(dim, dim)
        self.register_buffer("scale", torch.tensor(self.d**-0.5), persistent=False)

    def forward(self, x, mask=None):
        B, N, _ = x.shape
        qkv = self.qkv(x).view(B, N, 3, self.h, self.d)
        scores = torch.einsum("bihd,bjhd->bhij", qkv[:, :, 0], qkv[:, :, 1]) * self.scale
        weights = self.drop(torch.softmax(scores, dim=3))
        return self.proj(torch.einsum("bhij,bjhd->bihd", weights, qkv[:, :, 2]).reshape(B, N, -1))


# %% right Attention: one head after the other, images in a loop
class Attention(nn.Module):
    def __init__(self, dim, num_heads):
        if dim % num_heads:
            raise ValueError("num_heads must divide dim")
        super().__init__()
        self.num_heads = num_heads
        self.proj = nn.Linear(dim, dim)
        self.qkv = nn.Linear(dim, dim * 3)

    def forward(self, x):
        size = x.shape[-1] // self.num_heads
        images = []
        for image in x:
            q, k, v = self.qkv(image).split(x.shape[-1], dim=-1)
            heads = []
            for h in range(self.num_heads):
                mine = slice(h * size, (h + 1) * size)
                scores = q[:, mine] @ k[:, mine].T / size**0.5
                weights = scores.exp() / scores.exp().sum(dim=-1, keepdim=True)
                heads.append(weights @ v[:, mine])
            images.append(torch.cat(heads, dim=-1))
        return self.proj(torch.stack(images))


# %% wrong MLP: tanh approximation | tanh approximation
# - F.gelu(self.fc1(tokens))
# + F.gelu(self.fc1(tokens), approximate="tanh")

# %% wrong MLP: sigmoid approximation | approximation x * sigmoid(1.702 x)
# - F.gelu(self.fc1(tokens))
# + (lambda h: h * torch.sigmoid(1.702 * h))(self.fc1(tokens))

# %% wrong MLP: ReLU | the activation is a ReLU
# - F.gelu
# + F.relu

# %% wrong MLP: SiLU | the activation is a SiLU
# - F.gelu
# + F.silu

# %% wrong MLP: no activation | activation between fc1 and fc2 is missing
# - F.gelu(self.fc1(tokens))
# + self.fc1(tokens)

# %% wrong MLP: activation after fc2 | activation comes after fc2
# - self.fc2(F.gelu(self.fc1(tokens)))
# + F.gelu(self.fc2(self.fc1(tokens)))

# %% wrong MLP: a second activation | second activation after fc2
# - self.fc2(F.gelu(self.fc1(tokens)))
# + F.gelu(self.fc2(F.gelu(self.fc1(tokens))))

# %% wrong MLP: activation before fc1 | comes before fc1
# - self.fc2(F.gelu(self.fc1(tokens)))
# + self.fc2(self.fc1(F.gelu(tokens)))

# %% wrong MLP: dropout | leave dropout out
# - self.fc2(F.gelu(self.fc1(tokens)))
# + F.dropout(self.fc2(F.gelu(self.fc1(tokens))), 0.1, self.training)

# %% wrong MLP: a residual inside | the residual belongs to Block
# - return self.fc2
# + return tokens + self.fc2

# %% wrong MLP: a norm inside | the norm belongs to Block
# - self.fc1(tokens)
# + self.fc1(F.layer_norm(tokens, tokens.shape[-1:]))

# %% wrong MLP: a norm of its own that is trained | too many
# - self.fc2 = nn.Linear(hidden_dim, dim)
# + self.fc2, self.norm = nn.Linear(hidden_dim, dim), nn.LayerNorm(dim)

# %% wrong MLP: 4*dim whatever is asked for | hidden_dim wide, not 4*dim
# - self.fc1 = nn.Linear(dim, hidden_dim)
# + self.fc1 = nn.Linear(dim, 4 * dim)
# - self.fc2 = nn.Linear(hidden_dim, dim)
# + self.fc2 = nn.Linear(4 * dim, dim)

# %% wrong MLP: 4*hidden_dim | hidden_dim wide, not 4*hidden_dim
# - self.fc1 = nn.Linear(dim, hidden_dim)
# + self.fc1 = nn.Linear(dim, 4 * hidden_dim)
# - self.fc2 = nn.Linear(hidden_dim, dim)
# + self.fc2 = nn.Linear(4 * hidden_dim, dim)

# %% wrong MLP: layers exchanged | here they are exchanged
# - self.fc1 = nn.Linear(dim, hidden_dim)
# + self.fc1 = nn.Linear(hidden_dim, dim)
# - self.fc2 = nn.Linear(hidden_dim, dim)
# + self.fc2 = nn.Linear(dim, hidden_dim)

# %% wrong MLP: no biases | both layers have a bias
# - nn.Linear(dim, hidden_dim)
# + nn.Linear(dim, hidden_dim, bias=False)
# - nn.Linear(hidden_dim, dim)
# + nn.Linear(hidden_dim, dim, bias=False)

# %% wrong MLP: other names | 'fc1.weight' is missing
# - self.fc1 = nn.Linear(dim, hidden_dim)
# + self.linear1 = nn.Linear(dim, hidden_dim)
# - self.fc2 = nn.Linear(hidden_dim, dim)
# + self.linear2 = nn.Linear(hidden_dim, dim)
# - self.fc2(F.gelu(self.fc1(tokens)))
# + self.linear2(F.gelu(self.linear1(tokens)))

# %% wrong MLP: super().__init__() forgotten | `super().__init__()` must come first
# - super().__init__()
# + pass


# %% right MLP: a Sequential with names
class MLP(nn.Sequential):
    def __init__(self, dim, hidden_dim):
        from collections import OrderedDict

        super().__init__(OrderedDict(fc1=nn.Linear(dim, hidden_dim), act=nn.GELU(), fc2=nn.Linear(hidden_dim, dim)))


# %% right MLP: GELU by hand, with erf
class MLP(nn.Module):
    def __init__(self, dim, hidden_dim, drop=0.0):
        super().__init__()
        self.fc2 = nn.Linear(hidden_dim, dim)
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.drop = nn.Dropout(drop)

    def forward(self, x):
        h = self.fc1(x)
        h = 0.5 * h * (1 + torch.erf(h / 2**0.5))
        return self.drop(self.fc2(h))


# %% right MLP: as matrix products
class MLP(nn.Module):
    def __init__(self, dim, hidden_dim):
        super().__init__()
        self.fc1, self.fc2, self.act = (
            nn.Linear(dim, hidden_dim),
            nn.Linear(hidden_dim, dim),
            nn.GELU(approximate="none"),
        )

    def forward(self, x):
        h = self.act(torch.einsum("bnd,hd->bnh", x, self.fc1.weight) + self.fc1.bias)
        return h @ self.fc2.weight.T + self.fc2.bias


# %% wrong Block: post-norm | this is post-norm
# - tokens = tokens + self.attn(self.norm1(tokens))
# + tokens = self.norm1(tokens + self.attn(tokens))
# - tokens + self.mlp(self.norm2(tokens))
# + self.norm2(tokens + self.mlp(tokens))

# %% wrong Block: the branches are normed | the norms come after attention and MLP
# - self.attn(self.norm1(tokens))
# + self.norm1(self.attn(tokens))
# - self.mlp(self.norm2(tokens))
# + self.norm2(self.mlp(tokens))

# %% wrong Block: no first residual | the residual around attention is missing
# - tokens = tokens + self.attn
# + tokens = self.attn

# %% wrong Block: no second residual | the residual around the MLP is missing
# - tokens + self.mlp
# + self.mlp

# %% wrong Block: no residuals | both residuals are missing
# - tokens = tokens + self.attn
# + tokens = self.attn
# - tokens + self.mlp
# + self.mlp

# %% wrong Block: norm1 is not applied | norm1 is not applied
# - self.attn(self.norm1(tokens))
# + self.attn(tokens)

# %% wrong Block: norm2 is not applied | norm2 is not applied
# - self.mlp(self.norm2(tokens))
# + self.mlp(tokens)

# %% wrong Block: norm1 used twice | norm1 is used twice
# - self.mlp(self.norm2(tokens))
# + self.mlp(self.norm1(tokens))

# %% wrong Block: one norm under two names | there is one norm for both halves
# - self.norm2 = nn.LayerNorm(dim, eps=1e-6)
# + self.norm2 = self.norm1

# %% wrong Block: one norm | there is one norm for both halves
# - self.norm2 = nn.LayerNorm(dim, eps=1e-6)

# - self.norm2(tokens)
# + self.norm1(tokens)

# %% wrong Block: norms exchanged | the norms are exchanged
# - self.norm1(tokens)
# + self.norm2(tokens)
# - self.mlp(self.norm2(tokens))
# + self.mlp(self.norm1(tokens))

# %% wrong Block: norms without weights | leave elementwise_affine=False out
# - self.norm1 = nn.LayerNorm(dim, eps=1e-6)
# + self.norm1 = nn.LayerNorm(dim, eps=1e-6, elementwise_affine=False)
# - self.norm2 = nn.LayerNorm(dim, eps=1e-6)
# + self.norm2 = nn.LayerNorm(dim, eps=1e-6, elementwise_affine=False)

# %% wrong Block: torch's default eps | the eps of norm1 is 1e-5, torch's default
# - self.norm1 = nn.LayerNorm(dim, eps=1e-6)
# + self.norm1 = nn.LayerNorm(dim)
# - self.norm2 = nn.LayerNorm(dim, eps=1e-6)
# + self.norm2 = nn.LayerNorm(dim)

# %% wrong Block: torch's default eps in norm2 | the eps of norm2 is 1e-5, torch's default
# - self.norm2 = nn.LayerNorm(dim, eps=1e-6)
# + self.norm2 = nn.LayerNorm(dim)

# %% wrong Block: eps 1e-12 | the eps of norm1 is 1e-12
# - self.norm1 = nn.LayerNorm(dim, eps=1e-6)
# + self.norm1 = nn.LayerNorm(dim, eps=1e-12)

# %% wrong Block: RMSNorm | 'norm1.bias' is missing
# - self.norm1 = nn.LayerNorm(dim, eps=1e-6)
# + self.norm1 = nn.RMSNorm(dim, eps=1e-6)

# %% wrong Block: a trained scale for each branch | 'gamma1' is too many
# - self.mlp = MLP(dim, 4 * dim)
# + self.mlp, self.gamma1 = MLP(dim, 4 * dim), nn.Parameter(torch.ones(dim))
# - tokens + self.mlp(self.norm2(tokens))
# + tokens + self.gamma1 * self.mlp(self.norm2(tokens))

# %% wrong Block: the first residual in place | changes the caller's tensor in place
# - tokens = tokens + self.attn
# + tokens += self.attn

# %% wrong Block: the second residual in place | changed in place that the gradient still needs
# - return tokens + self.mlp(self.norm2(tokens))
# + tokens += self.mlp(self.norm2(tokens))
# +         return tokens

# %% wrong Block: the residual is detached | cuts a part of the graph
# - tokens = tokens + self.attn
# + tokens = tokens.clone().detach() + self.attn

# %% wrong Block: the MLP first | the MLP comes before attention
# - tokens = tokens + self.attn(self.norm1(tokens))
# + tokens = tokens + self.mlp(self.norm2(tokens))
# - return tokens + self.mlp(self.norm2(tokens))
# + return tokens + self.attn(self.norm1(tokens))

# %% wrong Block: the MLP first, norms in order | each with the other's norm
# - tokens = tokens + self.attn(
# + tokens = tokens + self.mlp(
# - return tokens + self.mlp(
# + return tokens + self.attn(

# %% wrong Block: side by side | work side by side
# - tokens = tokens + self.attn(self.norm1(tokens))
# -         return tokens + self.mlp(self.norm2(tokens))
# + return tokens + self.attn(self.norm1(tokens)) + self.mlp(self.norm2(tokens))

# %% wrong Block: the first residual twice | the second residual adds the block's input
# - tokens = tokens + self.attn(self.norm1(tokens))
# -         return tokens + self.mlp(self.norm2(tokens))
# + half = tokens + self.attn(self.norm1(tokens))
# +         return tokens + self.mlp(self.norm2(half))

# %% wrong Block: residuals of normed tokens | the residuals add the normed tokens
# - tokens = tokens + self.attn(self.norm1(tokens))
# -         return tokens + self.mlp(self.norm2(tokens))
# + tokens = self.norm1(tokens)
# +         tokens = tokens + self.attn(tokens)
# +         tokens = self.norm2(tokens)
# +         return tokens + self.mlp(tokens)

# %% wrong Block: the MLP is forgotten | the MLP is not applied
# - return tokens + self.mlp(self.norm2(tokens))
# + return tokens

# %% wrong Block: width dim | 4*dim wide, not dim
# - MLP(dim, 4 * dim)
# + MLP(dim, dim)

# %% wrong Block: width 2*dim | 4*dim wide, not 2*dim
# - MLP(dim, 4 * dim)
# + MLP(dim, 2 * dim)

# %% wrong Block: one head | hand num_heads on to Attention
# - Attention(dim, num_heads)
# + Attention(dim, 1)

# %% wrong Block: dropout on the branches | leave dropout out
# - tokens + self.mlp(self.norm2(tokens))
# + tokens + F.dropout(self.mlp(self.norm2(tokens)), 0.1)

# %% wrong Block: the batch is squeezed away | (of size 1) is missing
# - tokens + self.mlp(self.norm2(tokens))
# + (tokens + self.mlp(self.norm2(tokens))).squeeze(0)


# %% right Block: out of place with clone, dropout of 0
class Block(nn.Module):
    def __init__(self, dim, num_heads, mlp_ratio=4, drop=0.0):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim=dim, num_heads=num_heads)
        self.drop = nn.Dropout(drop)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MLP(dim=dim, hidden_dim=dim * mlp_ratio)

    def forward(self, x, mask=None):
        y = x.clone()
        y = y + self.drop(self.attn(self.norm1(y)))
        z = self.norm2(y)
        return torch.add(y, self.drop(self.mlp(z)))


# %% right Block: residual branches in a loop, the MLP from torch's own parts
class Block(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        from collections import OrderedDict

        self.mlp = nn.Sequential(OrderedDict(fc1=nn.Linear(dim, 4 * dim), act=nn.GELU(), fc2=nn.Linear(4 * dim, dim)))
        self.attn = Attention(dim, num_heads)
        self.norm1, self.norm2 = (nn.LayerNorm(dim, eps=1e-6) for _ in range(2))

    def forward(self, tokens):
        for norm, branch in ((self.norm1, self.attn), (self.norm2, self.mlp)):
            tokens = branch(norm(tokens)) + tokens
        return tokens


# %% right Block: its own LayerNorm and helper class
class _Norm(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.zeros(dim))

    def forward(self, x):
        mean, var = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
        return (x - mean) / torch.sqrt(var + 1e-6) * self.weight + self.bias


class Block(nn.Module):
    def __init__(self, dim, num_heads):
        super(Block, self).__init__()
        self.norm1, self.norm2 = _Norm(dim), _Norm(dim)
        self.attn, self.mlp = Attention(dim, num_heads), MLP(dim, 4 * dim)

    def forward(self, x):
        half = x + self.attn(self.norm1(x))
        return half + self.mlp(self.norm2(half))


# %% right Block: it looks whether its parts are what it made
# - tokens = tokens + self.attn(self.norm1(tokens))
# + assert isinstance(self.attn, Attention) and isinstance(self.mlp, MLP)
# +         tokens = tokens + self.attn(self.norm1(tokens))


# %% wrong gather_tokens: on a float32 canvas | went through float32
def gather_tokens(tokens, indices):
    taken = torch.zeros(len(tokens), indices.shape[1], tokens.shape[2])
    for image in range(len(tokens)):
        taken[image] = tokens[image, indices[image]]
    return taken.to(tokens.dtype)


# %% wrong gather_tokens: one index list for all images | indices of image 0 are used for all images
# - return tokens.gather(1, indices[..., None].expand(-1, -1, tokens.shape[-1]))
# + return tokens[:, indices[0]]

# %% wrong gather_tokens: index_select of the flattened indices | the rows of indices are run together
# - return tokens.gather(1, indices[..., None].expand(-1, -1, tokens.shape[-1]))
# + return tokens.index_select(1, indices.flatten())

# %% wrong gather_tokens: every row for every image | takes every row of indices for every image
# - return tokens.gather(1, indices[..., None].expand(-1, -1, tokens.shape[-1]))
# + return tokens[:, indices]

# %% wrong gather_tokens: indexed along the batch | out of bounds
# - return tokens.gather(1, indices[..., None].expand(-1, -1, tokens.shape[-1]))
# + return tokens[indices]

# %% wrong gather_tokens: flattened without offsets | all tokens come from image 0
# - return tokens.gather(1, indices[..., None].expand(-1, -1, tokens.shape[-1]))
# + return tokens.reshape(-1, tokens.shape[-1])[indices]

# %% wrong gather_tokens: the index is not expanded | only the first entry of each token
# - .expand(-1, -1, tokens.shape[-1])

# %% wrong gather_tokens: the first entry everywhere | are its first one
# - return tokens.gather(1, indices[..., None].expand(-1, -1, tokens.shape[-1]))
# + return tokens.gather(1, indices[..., None]).expand(-1, -1, tokens.shape[-1])

# %% wrong gather_tokens: gathered along D | is out of bounds for dimension 2
# - return tokens.gather(1, indices[..., None].expand(-1, -1, tokens.shape[-1]))
# + return tokens.gather(2, indices[:, None].expand(-1, tokens.shape[1], -1))

# %% wrong gather_tokens: sorted | the indices are sorted
# - indices[..., None]
# + indices.sort(dim=1).values[..., None]


# %% wrong gather_tokens: a boolean mask | the indices are sorted
def gather_tokens(tokens, indices):
    mask = torch.zeros(tokens.shape[:2], dtype=torch.bool)
    mask.scatter_(1, indices, True)
    return tokens[mask].reshape(tokens.shape[0], -1, tokens.shape[-1])


# %% wrong gather_tokens: repeats are dropped | a repeated index is taken once
def gather_tokens(tokens, indices):
    rows = [list(dict.fromkeys(row)) for row in indices.tolist()]
    return torch.stack([image[row] for image, row in zip(tokens, rows)])


# %% wrong gather_tokens: off by one for a cls token | no cls token
# - tokens.gather(
# + F.pad(tokens, (0, 0, 1, 0)).gather(

# %% wrong gather_tokens: one added for a cls token | no cls token
# - indices[..., None]
# + (indices + 1).remainder(tokens.shape[1])[..., None]

# %% wrong gather_tokens: the first K | the first K tokens are taken
# - return tokens.gather(1, indices[..., None].expand(-1, -1, tokens.shape[-1]))
# + return tokens[:, : indices.shape[1]]

# %% wrong gather_tokens: detached | detach
# - return tokens.gather
# + return tokens.detach().gather


# %% wrong gather_tokens: by numpy | call numpy() on tensor that requires grad
def gather_tokens(tokens, indices):
    import numpy as np

    chosen = np.take_along_axis(tokens.numpy(), indices.numpy()[..., None], axis=1)
    return torch.from_numpy(chosen)


# %% wrong gather_tokens: into a new tensor of float32 | dtype is not kept
def gather_tokens(tokens, indices):
    out = torch.zeros(*indices.shape, tokens.shape[-1])
    for b in range(len(tokens)):
        for k in range(indices.shape[1]):
            out[b, k] = tokens[b, indices[b, k]]
    return out


# %% wrong gather_tokens: a view of the tokens | view
def gather_tokens(tokens, indices):
    B, N, D = tokens.shape
    return tokens.view(B * N, D)[indices + N * torch.arange(B)[:, None]]


# %% wrong gather_tokens: offsets added in place | change the caller's tensor in place
def gather_tokens(tokens, indices):
    B, N, D = tokens.shape
    indices += N * torch.arange(B)[:, None]
    return tokens.reshape(B * N, D)[indices]


# %% wrong gather_tokens: a list | a list
def gather_tokens(tokens, indices):
    return [image[row] for image, row in zip(tokens, indices)]


# %% wrong gather_tokens: images run together | the images are run together
def gather_tokens(tokens, indices):
    return torch.cat([image[row] for image, row in zip(tokens, indices)])


# %% wrong gather_tokens: axes swapped | the last two axes are swapped
# - tokens.shape[-1]))
# + tokens.shape[-1])).mT


# %% right gather_tokens: take_along_dim
def gather_tokens(tokens, indices):
    return torch.take_along_dim(tokens, indices.unsqueeze(-1), dim=1)


# %% right gather_tokens: advanced indexing
def gather_tokens(tokens, indices):
    return tokens[torch.arange(tokens.shape[0], device=tokens.device)[:, None], indices]


# %% right gather_tokens: a loop over images
def gather_tokens(tokens, indices):
    return torch.stack([tokens[b].index_select(0, indices[b]) for b in range(tokens.size(0))])


# %% right gather_tokens: one-hot matrix product
def gather_tokens(tokens, indices):
    return F.one_hot(indices, tokens.shape[1]).to(tokens.dtype) @ tokens


# %% right gather_tokens: flattened with offsets
def gather_tokens(tokens, indices):
    B, N, D = tokens.shape
    return tokens.reshape(B * N, D)[(indices + N * torch.arange(B).unsqueeze(1)).flatten()].reshape(B, -1, D)


# %% wrong VisionTransformer: no positions | the positions are not added
# - self.patch_embed(images) + self.pos_embed
# + self.patch_embed(images)

# %% wrong VisionTransformer: positions of the first K | get the positions of the first K
# - tokens = self.patch_embed(images) + self.pos_embed
# + tokens = self.patch_embed(images)
# - tokens = gather_tokens(tokens, keep)
# + tokens = gather_tokens(tokens, keep)
# +         tokens = tokens + self.pos_embed[:, : tokens.shape[1]]

# %% wrong VisionTransformer: positions of image 0's patches | positions of image 0's
# - tokens = self.patch_embed(images) + self.pos_embed
# + tokens = self.patch_embed(images)
# +         if keep is None:
# +             tokens = tokens + self.pos_embed
# - tokens = gather_tokens(tokens, keep)
# + tokens = gather_tokens(tokens, keep) + self.pos_embed[:, keep[0]]

# %% wrong VisionTransformer: positions only without keep | the kept patches have no positions
# - tokens = self.patch_embed(images) + self.pos_embed
# + tokens = self.patch_embed(images)
# +         if keep is None:
# +             tokens = tokens + self.pos_embed
# - tokens = gather_tokens(tokens, keep)
# + tokens = gather_tokens(tokens, keep)

# %% wrong VisionTransformer: positions after the blocks | added after the blocks
# - self.patch_embed(images) + self.pos_embed
# + self.patch_embed(images)
# - return self.norm(tokens)
# + return self.norm(tokens + (self.pos_embed if keep is None else gather_tokens(self.pos_embed.expand(len(keep), -1, -1), keep)))

# %% wrong VisionTransformer: positions before every block | before every block
# - tokens = self.patch_embed(images) + self.pos_embed
# + tokens = self.patch_embed(images)
# +         positions = self.pos_embed.expand(len(images), -1, -1)
# - tokens = gather_tokens(tokens, keep)
# + tokens, positions = gather_tokens(tokens, keep), gather_tokens(positions, keep)
# - tokens = block(tokens)
# + tokens = block(tokens + positions)

# %% wrong VisionTransformer: positions are trained | positions are never trained
# - self.register_buffer("pos_embed", sincos_position_embedding(image_size // patch_size, dim)[None])
# + self.pos_embed = nn.Parameter(sincos_position_embedding(image_size // patch_size, dim)[None])

# %% wrong VisionTransformer: learned positions that start at zero | positions are never trained
# - self.register_buffer("pos_embed", sincos_position_embedding(image_size // patch_size, dim)[None])
# + self.pos_embed = nn.Parameter(torch.zeros(1, (image_size // patch_size) ** 2, dim))

# %% wrong VisionTransformer: positions are zeros | the positions are all zeros
# - sincos_position_embedding(image_size // patch_size, dim)[None]
# + torch.zeros(1, (image_size // patch_size) ** 2, dim)

# %% wrong VisionTransformer: random positions | the table is sincos_position_embedding
# - sincos_position_embedding(image_size // patch_size, dim)[None]
# + 0.02 * torch.randn(1, (image_size // patch_size) ** 2, dim)

# %% wrong VisionTransformer: positions in a plain attribute | pos_embed is not in the state dict
# - self.register_buffer("pos_embed", sincos_position_embedding(image_size // patch_size, dim)[None])
# + self.pos_embed = sincos_position_embedding(image_size // patch_size, dim)[None]

# %% wrong VisionTransformer: a buffer that is not saved | pos_embed is not in the state dict
# - image_size // patch_size, dim)[None])
# + image_size // patch_size, dim)[None], persistent=False)

# %% wrong VisionTransformer: positions without batch axis | the table is [1, N, D]
# - dim)[None])
# + dim))

# %% wrong VisionTransformer: rows and columns exchanged | rows and columns are exchanged
# - sincos_position_embedding(image_size // patch_size, dim)[None]
# + sincos_position_embedding(image_size // patch_size, dim)[None].roll(dim // 2, dims=-1)

# %% wrong VisionTransformer: a grid of pixels | patches a side, not image_size
# - image_size // patch_size
# + image_size

# %% wrong VisionTransformer: a grid of patch_size | patches a side, not patch_size
# - image_size // patch_size
# + patch_size

# %% wrong VisionTransformer: no final norm | the final norm is not applied
# - return self.norm(tokens)
# + return tokens

# %% wrong VisionTransformer: the norm comes first | the norm comes before the blocks
# - self.patch_embed(images) + self.pos_embed
# + self.norm(self.patch_embed(images) + self.pos_embed)
# - return self.norm(tokens)
# + return tokens

# %% wrong VisionTransformer: the norm after every block | after every block
# - tokens = block(tokens)
# -         return self.norm(tokens)
# + tokens = self.norm(block(tokens))
# +         return tokens

# %% wrong VisionTransformer: torch's default eps | eps of the final norm is 1e-5
# - nn.LayerNorm(dim, eps=1e-6)
# + nn.LayerNorm(dim)

# %% wrong VisionTransformer: a cls token | there is no cls token
# - self.norm = nn.LayerNorm(dim, eps=1e-6)
# + self.norm, self.cls_token = nn.LayerNorm(dim, eps=1e-6), nn.Parameter(torch.zeros(1, 1, dim))
# - for block in self.blocks:
# + tokens = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
# +         for block in self.blocks:

# %% wrong VisionTransformer: a mask token that is never used | 'mask_token' is too many
# - self.norm = nn.LayerNorm(dim, eps=1e-6)
# + self.norm, self.mask_token = nn.LayerNorm(dim, eps=1e-6), nn.Parameter(torch.zeros(1, 1, dim))

# %% wrong VisionTransformer: a head on top | 'head.weight' is too many
# - self.norm = nn.LayerNorm(dim, eps=1e-6)
# + self.norm, self.head = nn.LayerNorm(dim, eps=1e-6), nn.Linear(dim, dim)
# - return self.norm(tokens)
# + return self.head(self.norm(tokens))

# %% wrong VisionTransformer: the tokens are averaged | averaged away
# - return self.norm(tokens)
# + return self.norm(tokens).mean(dim=1)

# %% wrong VisionTransformer: keep is not used | keep is not used
# - if keep is not None:
# -             tokens = gather_tokens(tokens, keep)

# %% wrong VisionTransformer: keep has no default | missing 1 required positional argument: 'keep'
# - keep: Tensor | None = None
# + keep: Tensor

# %% wrong VisionTransformer: keep is sorted | the patches come out sorted
# - gather_tokens(tokens, keep)
# + gather_tokens(tokens, keep.sort(dim=1).values)

# %% wrong VisionTransformer: one keep for all images | image 0's keep is used for all images
# - gather_tokens(tokens, keep)
# + tokens[:, keep[0]]

# %% wrong VisionTransformer: off by one for a cls token | no cls token, index 0 is the first patch
# - gather_tokens(tokens, keep)
# + gather_tokens(tokens, (keep + 1) % tokens.shape[1])

# %% wrong VisionTransformer: encodes first | keep comes too late
# - if keep is not None:
# -             tokens = gather_tokens(tokens, keep)

# - return self.norm(tokens)
# + tokens = self.norm(tokens)
# +         return tokens if keep is None else gather_tokens(tokens, keep)

# %% wrong VisionTransformer: the mean of all patches is let in | the dropped patches still enter the blocks
# - tokens = gather_tokens(tokens, keep)
# + tokens = torch.cat([gather_tokens(tokens, keep), tokens.mean(dim=1, keepdim=True)], dim=1)
# - return self.norm(tokens)
# + return self.norm(tokens) if keep is None else self.norm(tokens)[:, :-1]

# %% wrong VisionTransformer: dropped patches are set to zero | the other patches are set to 0
# - tokens = gather_tokens(tokens, keep)
# + tokens = tokens * torch.zeros(tokens.shape[:2]).scatter(1, keep, 1.0)[..., None].to(tokens.dtype)
# - return self.norm(tokens)
# + return self.norm(tokens) if keep is None else gather_tokens(self.norm(tokens), keep)

# %% wrong VisionTransformer: blocks in a plain list | the blocks stand in a plain list
# - nn.ModuleList(Block(dim, num_heads) for _ in range(depth))
# + [Block(dim, num_heads) for _ in range(depth)]

# %% wrong VisionTransformer: one block for all layers | one block is used again and again
# - nn.ModuleList(Block(dim, num_heads) for _ in range(depth))
# + nn.ModuleList([Block(dim, num_heads)] * depth)

# %% wrong VisionTransformer: one block, called depth times | one block is used again and again
# - nn.ModuleList(Block(dim, num_heads) for _ in range(depth))
# + nn.ModuleList([Block(dim, num_heads)])
# - for block in self.blocks:
# + for block in [self.blocks[0]] * 3:

# %% wrong VisionTransformer: one block too many | too many
# - range(depth)
# + range(depth + 1)

# %% wrong VisionTransformer: blocks in reverse | the blocks are applied in reverse
# - in self.blocks:
# + in reversed(self.blocks):

# %% wrong VisionTransformer: only the last block | only the last block is applied
# - tokens = block(tokens)
# -         return self.norm(tokens)
# + encoded = block(tokens)
# +         return self.norm(encoded)

# %% wrong VisionTransformer: one head | hand num_heads on to Block
# - Block(dim, num_heads)
# + Block(dim, 1)

# %% wrong VisionTransformer: dropout after the positions | leave dropout out
# - self.patch_embed(images) + self.pos_embed
# + F.dropout(self.patch_embed(images) + self.pos_embed, 0.1, self.training)

# %% wrong VisionTransformer: the patch embedding is not trained | the graph is cut
# - tokens = self.patch_embed(images) + self.pos_embed
# + with torch.no_grad():
# +             tokens = self.patch_embed(images) + self.pos_embed

# %% wrong VisionTransformer: a convolution of its own | 'patch_embed.proj.weight' is missing
# - self.patch_embed = PatchEmbedding(image_size, patch_size, dim)
# + self.patch_embed = nn.Conv2d(3, dim, patch_size, patch_size)
# - self.patch_embed(images)
# + self.patch_embed(images).flatten(2).transpose(1, 2)


# %% right VisionTransformer: a frozen parameter, advanced indexing, Sequential
class VisionTransformer(nn.Module):
    def __init__(self, image_size, patch_size, dim, depth, num_heads, in_chans=3):
        super().__init__()
        self.grid = image_size // patch_size
        self.patch_embed = PatchEmbedding(image_size, patch_size, dim)
        self.pos_embed = nn.Parameter(sincos_position_embedding(self.grid, dim).unsqueeze(0), requires_grad=False)
        self.blocks = nn.Sequential(*[Block(dim, num_heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, images, keep=None):
        x = self.patch_embed(images) + self.pos_embed
        if keep is not None:
            x = x[torch.arange(len(x))[:, None], keep]
        return self.norm(self.blocks(x))


# %% right VisionTransformer: positions gathered beside the tokens, its own norm class
class _LayerNorm(nn.LayerNorm):
    def __init__(self, dim):
        super().__init__(dim, eps=1e-6)


class VisionTransformer(nn.Module):
    def __init__(self, image_size: int, patch_size: int, dim: int, depth: int, num_heads: int, drop: float = 0.0):
        super().__init__()
        self.patch_embed = PatchEmbedding(image_size=image_size, patch_size=patch_size, dim=dim)
        table = torch.zeros(1, (image_size // patch_size) ** 2, dim)
        self.pos_embed = nn.Parameter(table, requires_grad=False)
        self.pos_embed.data.copy_(sincos_position_embedding(image_size // patch_size, dim))
        self.register_buffer("places", torch.arange(table.shape[1]), persistent=False)
        self.blocks = nn.ModuleList()
        for _ in range(depth):
            self.blocks.append(Block(dim=dim, num_heads=num_heads))
        self.norm = _LayerNorm(dim)
        self.drop = nn.Dropout(drop)
        self.apply(self._init_weights)

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)

    def forward(self, images, keep=None):
        tokens = self.patch_embed(images)
        if keep is None:
            keep = self.places.expand(len(tokens), -1)
        positions = torch.take_along_dim(self.pos_embed.expand_as(tokens), keep[..., None], dim=1)
        tokens = self.drop(torch.take_along_dim(tokens, keep[..., None], dim=1) + positions)
        for index in range(len(self.blocks)):
            tokens = self.blocks[index](tokens)
        return self.norm(tokens)


# %% right VisionTransformer: gather_tokens for everything, image by image
class VisionTransformer(nn.Module):
    def __init__(self, image_size, patch_size, dim, depth, num_heads):
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.blocks = nn.ModuleList([Block(dim, num_heads) for _ in range(depth)])
        self.register_buffer("pos_embed", sincos_position_embedding(image_size // patch_size, dim).reshape(1, -1, dim))
        self.patch_embed = PatchEmbedding(image_size, patch_size, dim)

    def encode(self, tokens):
        for block in self.blocks:
            tokens = block(tokens)
        return tokens

    def forward(self, images, keep=None):
        encoded = []
        for b in range(images.shape[0]):
            tokens = self.patch_embed(images[b : b + 1]) + self.pos_embed
            if keep is not None:
                tokens = gather_tokens(tokens, keep[b : b + 1])
            encoded.append(self.encode(tokens))
        return self.norm(torch.cat(encoded))


# %% right VisionTransformer: a block of its own, positions taken without gather_tokens
class _Layer(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(dim, eps=1e-6) for _ in range(2))
        self.attn, self.mlp = Attention(dim, num_heads), MLP(dim, 4 * dim)

    def forward(self, tokens):
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class VisionTransformer(nn.Module):
    def __init__(self, image_size, patch_size, dim, depth, num_heads):
        super().__init__()
        self.patch_embed = PatchEmbedding(image_size, patch_size, dim)
        self.register_buffer("pos_embed", sincos_position_embedding(image_size // patch_size, dim)[None])
        self.blocks = nn.ModuleList(_Layer(dim, num_heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, images, keep=None):
        tokens = self.patch_embed(images)
        if keep is None:
            tokens = tokens + self.pos_embed
        else:
            tokens = gather_tokens(tokens, keep) + self.pos_embed[0, keep]
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)


# %% wrong Attention: num_heads is not kept | nothing was set under this name ! docstring
# - self.num_heads = num_heads
# +


# %% wrong gather_tokens: a list of tensors | torch.stack
def gather_tokens(tokens, indices):
    return [image[row] for image, row in zip(tokens, indices)]


# %% wrong VisionTransformer: the truth of keep is asked for | is not None
# - if keep is not None:
# + if keep:


# %% wrong attention_in_pieces: the mean of the pieces | a softmax of its own
def attention_in_pieces(query, pieces):
    found = [(query @ key.T / query.shape[1] ** 0.5).softmax(dim=-1) @ value for key, value in pieces]
    return torch.stack(found).mean(dim=0)


# %% wrong attention_in_pieces: the last piece | what the last piece alone gives
def attention_in_pieces(query, pieces):
    for key, value in pieces:
        gathered = (query @ key.T / query.shape[1] ** 0.5).softmax(dim=-1) @ value
    return gathered


# %% wrong attention_in_pieces: scores without a scale | are not divided by the root of d
# - query @ key.T / query.shape[1] ** 0.5
# + query @ key.T

# %% wrong attention_in_pieces: nothing shrinks | The sums are never shrunk
# - shrink, weights = (largest - new).exp(), (scores - new).exp()
# + shrink, weights = 1, (scores - new).exp()

# %% wrong attention_in_pieces: the weighted values don't shrink | Only the sum of the weights is shrunk
# - gathered = shrink * gathered
# + gathered = gathered

# %% wrong attention_in_pieces: the sum of the weights doesn't shrink | Only the sum of the weighted values is shrunk
# - total = shrink * total
# + total = total

# %% wrong attention_in_pieces: each piece against its own maximum | the maximum of their own piece
# - new = torch.maximum(largest, scores.amax(dim=1, keepdim=True))
# + new = largest = scores.amax(dim=1, keepdim=True)

# %% wrong attention_in_pieces: no maximum | exp overflows
# - new = torch.maximum(largest, scores.amax(dim=1, keepdim=True))
# + new = largest = torch.zeros_like(largest)

# %% wrong attention_in_pieces: one maximum for all queries | Each query has a largest score of its own
# - scores.amax(dim=1, keepdim=True)
# + scores.amax()


# %% wrong attention_in_pieces: the pieces are joined | only m, s and g may last
def attention_in_pieces(query, pieces):
    keys, values = zip(*pieces)
    return (query @ torch.cat(keys).T / query.shape[1] ** 0.5).softmax(dim=-1) @ torch.cat(values)


# %% right attention_in_pieces: the logarithm of the sum in place of m and s
def attention_in_pieces(query, pieces):
    gathered, log_total = 0, torch.full((len(query),), float("-inf"), dtype=query.dtype)
    for key, value in pieces:
        scores = query @ key.T * query.shape[1] ** -0.5
        new = torch.logaddexp(log_total, scores.logsumexp(dim=1))
        gathered = gathered * (log_total - new).exp()[:, None] + (scores - new[:, None]).exp() @ value
        log_total = new
    return gathered


# %% right attention_in_pieces: a query at a time, a key at a time
def attention_in_pieces(query, pieces):
    import math

    states = [(-math.inf, 0.0, torch.zeros_like(row)) for row in query]
    for key, value in pieces:
        for i, row in enumerate(query):
            for k, v in zip(key, value):
                m, s, g = states[i]
                score = float(row @ k) / math.sqrt(len(row))
                new = max(m, score)
                shrink, weight = math.exp(m - new), math.exp(score - new)
                states[i] = new, shrink * s + weight, shrink * g + weight * v
    return torch.stack([g / s for _, s, g in states])


# %% right attention_in_pieces: the first piece starts the sums, by torch's own softmax
def attention_in_pieces(query, pieces):
    found = None
    for key, value in pieces:
        scores = query @ key.T / query.size(1) ** 0.5
        here, log_here = scores.softmax(dim=1) @ value, scores.logsumexp(dim=1, keepdim=True)
        if found is None:
            found, log_found = here, log_here
        else:
            share = torch.sigmoid(log_here - log_found)
            found, log_found = share * here + (1 - share) * found, torch.logaddexp(log_found, log_here)
    return found
