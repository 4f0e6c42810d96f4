"""What the pictures of diagnostics must show, by torch's own svd and by copying patches, and what mistakes show."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from checks.tool.expect import Mistakes


def draw_tokens(batch: int, patches: int) -> tuple[Tensor, Tensor]:
    """Tokens [B, N, 7] with a few strong directions and a mean far from 0, and what they score in these, [B*N, 7]."""
    scores = torch.randn(batch * patches, 7, dtype=torch.float64)
    scores = torch.linalg.qr(scores - scores.mean(dim=0)).Q  # sums of columns are 0, and they are orthogonal
    directions = torch.linalg.qr(torch.randn(7, 7, dtype=torch.float64)).Q
    strengths = torch.tensor([20.0, 12.0, 7.0, 0.4, 0.3, 0.2, 0.1], dtype=torch.float64)
    tokens = (scores * strengths) @ directions.T + 3 * torch.randn(7, dtype=torch.float64)
    return tokens.float().unflatten(0, (batch, patches)), scores


def scaled(scores: Tensor) -> Tensor:
    """Each column to 0..1."""
    low, high = scores.aminmax(dim=0)
    return (scores - low) / (high - low)


def components(rows: Tensor, center: bool = True) -> Tensor:
    """The scores of rows [R, D] in all their principal components, strongest first: [R, D]."""
    left, strengths, _ = torch.linalg.svd(rows - rows.mean(dim=0) * center, full_matrices=False)
    return left * strengths


def painted(values: Tensor, rows: int, columns: int) -> Tensor:
    """The first three columns of values [B*N, D] as the colours of a picture [B, rows, columns, 3]."""
    return values[:, :3].float().reshape(-1, rows, columns, 3)


def as_signed(picture: Tensor, got: Tensor, dims: tuple[int, ...] = (0, 1, 2)) -> Tensor:
    """The picture with each component as it is or mirrored, whichever is nearer to got: signs are free."""
    if not isinstance(got, Tensor) or got.shape != picture.shape:
        return picture
    off, mirrored = ((got - side).abs().sum(dim=dims, keepdim=True) for side in (picture, 1 - picture))
    return torch.where(off <= mirrored, picture, 1 - picture)


def is_scaled_wrongly(got: Tensor, right: Tensor) -> bool:
    """Whether got would be right but for the scale of its components."""
    if not isinstance(got, Tensor) or got.shape != right.shape:
        return False
    again = scaled(got.flatten(0, 2)).view_as(got)
    right = scaled(right.flatten(0, 2)).view_as(got)
    return torch.allclose(again, as_signed(right, again), atol=1e-3)


def likely_in_colours(tokens: Tensor, right: Tensor, got: Tensor) -> str:
    """What is likely wrong with a picture that shows no mistake of colour_mistakes."""
    own = painted(torch.cat([components(image.double()) for image in tokens]), *right.shape[1:3])
    if is_scaled_wrongly(got, right):
        return (
            "The components are right, their scale is not: each has its own smallest value at 0 and its own "
            "largest at 1, over all images."
        )
    if isinstance(got, Tensor) and got.ndim and all(map(is_scaled_wrongly, got.split(1), own.split(1))):
        return "Each image has its own directions: take one PCA for all, or their colours can't be compared."
    return "Centre all B*N tokens, project them on three directions, scale each to 0..1: x - low over high - low."


def colour_mistakes(tokens: Tensor, scores: Tensor, grid: int, got: Tensor) -> Mistakes:
    """Mistakes in the picture of tokens [B, grid*grid, 7], with the signs that are nearest to got."""
    batch, rows = len(tokens), tokens.flatten(0, 1).double()
    right, low, high = painted(scaled(scores), grid, grid), scores.quantile(0.01, dim=0), scores.quantile(0.99, dim=0)
    alone = painted(torch.cat([scaled(part) for part in scores.chunk(batch)]), grid, grid)
    values = {
        **{sentence: scaled(wrong) for sentence, wrong in wrong_components(rows, scores).items()},
        "The largest values are cut off: 0 is the smallest value and 1 the largest.": (
            (scores - low) / (high - low)
        ).clamp(0, 1),
    }
    return {
        **{sentence: as_signed(painted(wrong, grid, grid), got) for sentence, wrong in values.items()},
        "Each image is scaled by itself: take the smallest and largest value of all images.": as_signed(
            alone, got, (1, 2)
        ),
        "Rows and columns are swapped: patch 1 is to the right of patch 0.": as_signed(right.transpose(1, 2), got),
        "The colours come first: they are the last axis.": torch.Size([batch, 3, grid, grid]),
        "The patches are still in one row: lay them out on the grid.": torch.Size([batch, grid * grid, 3]),
    }


def wrong_components(rows: Tensor, scores: Tensor) -> dict[str, Tensor]:
    """What is taken for the components of rows [R, D]; the right ones are scores [R, D]."""
    centred = rows - rows.mean(dim=0)
    return {
        "The rows are not centred: subtract the mean token before you look for directions.": components(
            rows, center=False
        ),
        "The three components are in reverse: eigh gives the strongest last.": scores[:, [2, 1, 0]],
        "These are the weakest components: eigh gives the strongest last.": components(rows).flip(1),
        "Rows of eigenvectors are taken for directions: eigh gives them as columns.": centred
        @ torch.linalg.eigh(centred.T @ centred).eigenvectors[-3:].flip(0).T,
        "Columns of Vh are taken for directions: svd gives them as rows, Vh[:3].": centred
        @ torch.linalg.svd(centred, full_matrices=False).Vh[:, :3],
        "These are the second, third and fourth component.": scores[:, 1:4],
        "All three colours are the first component.": scores[:, [0, 0, 0]],
        "These are the first three features: find the directions of most variation first.": rows,
        "The features are divided by their std before the PCA: they are only centred.": components(
            rows / rows.std(dim=0)
        ),
        "The tokens are normalised before the PCA: they are only centred.": components(F.layer_norm(rows, [7])),
        "The tokens are brought to length 1 before the PCA: they are only centred.": components(F.normalize(rows)),
    }


def oblong_mistakes(scores: Tensor, rows: int, columns: int, got: Tensor) -> Mistakes:
    """Mistakes in one picture of rows and columns."""
    return {
        "rows and columns are swapped: grid_size is (rows, columns).": torch.Size([1, columns, rows, 3]),
        "The patches run down the columns: rows come first.": as_signed(
            painted(scaled(scores), columns, rows).transpose(1, 2), got
        ),
    }


class Scene(NamedTuple):
    """The inputs of imagine, in its order."""

    predictions: Tensor
    targets: Tensor
    images: Tensor
    bank_tokens: Tensor
    bank_images: Tensor
    patch_size: int = 2


def draw_scene(batch: int, blocks: int, rows: int, columns: int, bank: int) -> Scene:
    """Targets that lie apart, two a block, and predictions whose nearest bank token is clearly the nearest.

    On a grid of 3 x 3 other ways to choose a bank token show, on others they don't.
    """
    patches = rows * columns
    targets = torch.rand(batch, patches).argsort(dim=1)[:, : blocks * 2].unflatten(1, (blocks, 2))
    while True:
        bank_tokens = torch.randn(bank, patches, 4) * torch.rand(bank, patches, 1).mul(2).exp()
        if (rows, columns) == (3, 3):
            predictions = torch.randn(batch, blocks, 2, 4) * 2
        else:
            chosen = torch.randint(patches, (batch, blocks, 2)) + patches * (torch.arange(2) % bank)  # of each image
            predictions = bank_tokens.flatten(0, 1)[chosen] + 1e-2 * torch.randn(batch, blocks, 2, 4)
        images, bank_images = (torch.randn(count, 3, rows * 2, columns * 2) for count in (batch, bank))
        scene = Scene(predictions, targets, images, bank_tokens, bank_images)
        near = distances(predictions, bank_tokens).topk(2, largest=False).values
        clear, right = bool((near[..., 1] - near[..., 0]).min() > 1e-3), nearest(scene)
        others = wrong_patches(scene).values() if (rows, columns) == (3, 3) and bank > 1 else []
        if clear and not any(torch.equal(other, right) for other in others):
            return scene


def distances(predictions: Tensor, bank_tokens: Tensor) -> Tensor:
    """The squared distance of each prediction to each bank token, [B, M, Nt, K*N]."""
    return (predictions[:, :, :, None] - bank_tokens.flatten(0, 1)).square().sum(dim=-1)


def nearest(scene: Scene) -> Tensor:
    """The nearest bank token of each target, as a number in K*N: [B, M, Nt]."""
    return distances(scene.predictions, scene.bank_tokens).argmin(dim=-1)


def cut(image: Tensor, place: int) -> tuple[slice, slice, slice]:
    """Where patch `place` of 2 x 2 pixels lies in an image [3, H, W]."""
    row, column = divmod(place, image.shape[2] // 2)
    return slice(None), slice(2 * row, 2 * row + 2), slice(2 * column, 2 * column + 2)


def pasted(images: Tensor, targets: Tensor, bank_images: Tensor, chosen: Tensor) -> Tensor:
    """The images with bank patch chosen [B, M, Nt] at each target [B, M, Nt]."""
    images = images.clone()
    patches = images.shape[2] * images.shape[3] // 4
    for image, places, sources in zip(images, targets.flatten(1).tolist(), chosen.flatten(1).tolist(), strict=True):
        for place, source in zip(places, sources, strict=True):
            other = bank_images[source // patches]
            image[cut(image, place)] = other[cut(other, source % patches)]
    return images


def filled(scene: Scene) -> Tensor:
    """What imagine must give."""
    return pasted(scene.images, scene.targets, scene.bank_images, nearest(scene))


def has_a_patch(answer: Any, scene: Scene) -> bool:
    """Whether a patch of the answer that is no target is the image's own."""
    if not isinstance(answer, Tensor) or answer.shape != scene.images.shape:
        return False
    own, before = (F.unfold(pictures, 2, stride=2).transpose(1, 2) for pictures in (answer, scene.images))
    free = torch.ones(own.shape[:2], dtype=torch.bool).scatter_(1, scene.targets.flatten(1), False)
    return bool(((own == before).all(dim=2) & free).any())


def wrong_patches(scene: Scene) -> dict[str, Tensor]:
    """Numbers in K*N of other bank patches than the nearest, on a grid of 3 x 3."""
    predictions, tokens = scene.predictions, scene.bank_tokens.flatten(0, 1)
    distance, right, bank = distances(predictions, scene.bank_tokens), nearest(scene), len(scene.bank_tokens)
    cosine = F.normalize(predictions, dim=-1) @ F.normalize(tokens, dim=-1).T
    by_sum = torch.cdist(predictions.flatten(0, 2), tokens, p=1).view_as(distance)
    elsewhere = torch.arange(bank * 9) % 9 != scene.targets[..., None]
    mixed_up = right % bank * 9 + right // bank
    return {
        "These are the farthest tokens: the smallest distance is asked for.": distance.argmax(dim=-1),
        "Near is measured by the cosine: the squared distance is asked for.": cosine.argmax(dim=-1),
        "Near is measured by the scalar product: the squared distance is asked for.": (predictions @ tokens.T).argmax(
            dim=-1
        ),
        "Near is measured by the sum of absolute differences: the squared distance is asked for.": by_sum.argmin(
            dim=-1
        ),
        "The predictions are normalised: take them as they are.": distances(
            F.layer_norm(predictions, [4]), scene.bank_tokens
        ).argmin(dim=-1),
        "The bank's tokens are normalised again: they are already as the targets are.": distances(
            predictions, F.layer_norm(scene.bank_tokens, [4])
        ).argmin(dim=-1),
        "Only bank tokens at the target's own position are searched: search all.": distance.masked_fill(
            elsewhere, torch.inf
        ).argmin(dim=-1),
        "The patch is taken from the target's position in the nearest bank image: take the nearest token's own "
        "patch.": right // 9 * 9 + scene.targets,
        "The patches come from the first bank image: number n of the K*N tokens is patch n % N of image n // N.": (
            right % 9
        ),
        "Number n of the K*N tokens is patch n % N of image n // N: here image and patch are mixed up.": mixed_up,
    }


def paste_mistakes(scene: Scene) -> Mistakes:
    """Mistakes in what imagine gives, on a grid of 3 x 3."""
    targets, images, right = scene.targets, scene.images, nearest(scene)
    batch, blocks, size = targets.shape
    turned, turned_bank = targets % 3 * 3 + targets // 3, right // 9 * 9 + right % 3 * 3 + right % 9 // 3
    of_block = distances(scene.predictions.mean(dim=2, keepdim=True), scene.bank_tokens).argmin(dim=-1)
    first = torch.arange(9).repeat(batch, 1)[:, : blocks * size].view_as(targets)

    def paste(
        chosen: Tensor = right, targets: Tensor = targets, images: Tensor = images, source: Tensor = scene.bank_images
    ) -> Tensor:
        return pasted(images, targets, source, chosen)

    blank = paste(torch.zeros_like(targets), source=torch.zeros(1, 3, 6, 6))
    return {
        "The targets are not filled: this is images unchanged.": images,
        **{sentence: paste(chosen) for sentence, chosen in wrong_patches(scene).items()},
        "The patches come from images, not from bank_images.": paste(right % (batch * 9), source=images),
        "The bank's patches are counted down the columns: rows come first.": paste(turned_bank),
        "The targets are counted down the columns: rows come first.": paste(targets=turned),
        "Targets and bank are counted down the columns: rows come first.": paste(turned_bank, targets=turned),
        "Predictions and targets are in different order: block and patch are swapped in the predictions.": paste(
            right.transpose(1, 2).reshape(right.shape)
        ),
        "Predictions and targets are in different order: block and patch are swapped in the targets.": paste(
            targets=targets.transpose(1, 2).reshape(targets.shape)
        ),
        "All images get what is predicted for the first one.": paste(right[:1].expand_as(right)),
        "All images are filled at the first one's targets: each has its own.": paste(
            targets=targets[:1].expand_as(targets)
        ),
        "All images are filled at the targets of all (`patches[:, targets]`): each has its own.": paste(
            right.flatten(0, 1).expand(batch, -1, -1), targets.flatten(0, 1).expand(batch, -1, -1)
        ),
        "A block is filled with one patch, that of its mean prediction: each target has its own.": paste(
            of_block.expand_as(right)
        ),
        "The first patches are filled: fill those at the places in targets.": paste(targets=first),
        "The patches are added to the image: they replace what is there.": images + (paste() - blank),
        "All but the targets is blank: the rest of the image stays.": paste(images=torch.zeros_like(images)),
        "These are the patches alone: put the image together.": torch.Size([batch, 9, 12]),
    }


def turned_grid(right: Tensor) -> Mistakes:
    """The grid with rows and columns swapped."""
    return {"unpatchify needs grid_size = (H // patch_size, W // patch_size), rows first.": right.mT.shape}
