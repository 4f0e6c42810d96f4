"""Lesson 8: published weights in your own encoder, and one vector for an image."""

import torch

from checks.calls import pretrained as calls
from checks.expected import pretrained as oracle
from checks.tool.exercise import exercise
from checks.tool.expect import Later, expect_close, expect_equal, expect_that


@exercise("from_huggingface", points=2)
def test_from_huggingface_translates_the_names(learner):
    """Each tensor stands under VisionTransformer's name, with its own values; blocks have one digit or two."""
    for depth, dim in ((12, 2), (1, 4)):
        theirs, ours = oracle.published(depth, dim)
        mistakes = Later(oracle.translated_mistakes, ours)
        got = learner(calls.translated, theirs)
        oracle.expect_names(got, ours, learner.called)
        expect_equal(got, ours, called=learner.called, mistakes=mistakes, likely="A name belongs to another tensor.")


@exercise("from_huggingface", points=2)
def test_from_huggingface_joins_query_key_and_value(learner):
    """The three layers become one, in this order along the first axis: weights and biases."""
    theirs, _ = oracle.published(11, 3)
    expected, mistakes = oracle.joined(theirs, 11), Later(oracle.joined_mistakes, theirs, 11)
    got = learner(calls.stacked, theirs)
    expect_equal(got, expected, called=learner.called, mistakes=mistakes)


@exercise("from_huggingface")
def test_from_huggingface_copies_nothing_else(learner):
    """All but query, key and value share the memory of what was given, in any dtype; the dict stays as it was."""
    for dtype in (torch.float32, torch.bfloat16):
        theirs, _ = oracle.published(2, 2, dtype)
        thirds = {name for name in theirs if ".attention.attention." in name}
        got = learner(calls.storage_of_translated, theirs)
        expected = {"shared": {name: name not in thirds for name in theirs}, "as it was": True}
        likely = (
            "Pass the tensors on as they are, and leave the dict that is given alone: no clone, no .float(), no pop."
        )
        expect_equal(got, expected, called=learner.called, likely=likely)


@exercise("image_descriptor", points=2)
def test_image_descriptor_averages_the_tokens(learner):
    """Each image's vector is the average of its tokens, divided by its length."""
    for batch in (3, 1):
        weight, images = oracle.scene(batch)
        expected, mistakes = oracle.descriptor(weight, images), Later(oracle.descriptor_mistakes, weight, images)
        got = learner(calls.descriptor, weight, images)
        expect_close(got, expected, called=learner.called, mistakes=mistakes)


@exercise("image_descriptor")
def test_image_descriptor_goes_on_in_float32(learner):
    """An encoder in bfloat16 gets its images in bfloat16; what comes out is averaged in float32."""
    weight, images = oracle.scene(3, torch.bfloat16)
    expected, mistakes = oracle.descriptor(weight, images), Later(oracle.rounded_mistakes, weight, images)
    got = learner(calls.descriptor, weight, images)
    expect_close(got, expected, called=learner.called, mistakes=mistakes)


@exercise("image_descriptor")
def test_image_descriptor_keeps_no_graph(learner):
    """Nothing is trained: no graph hangs on the vectors, and the encoder is what it was."""
    weight, images = oracle.scene(3)
    expected = oracle.descriptor(weight, images)
    got = learner(calls.graph_of_descriptor, weight, images)
    vectors = got.pop("got")
    expect_that(
        isinstance(vectors, torch.Tensor) and vectors.shape == expected.shape,
        called=learner.called,
        expected=f"a tensor {list(expected.shape)}",
        got=str(list(vectors.shape)) if isinstance(vectors, torch.Tensor) else type(vectors).__name__,
        likely="One vector for each image.",
    )
    right = {"requires_grad": False, "gradients on afterwards": True, "weight": weight, "trained": True}
    mistakes = {
        "A graph hangs on the vectors, which keeps all that was computed in memory: work under `with "
        "torch.no_grad():`.": right | {"requires_grad": True},
        "Gradients stay switched off afterwards: use `with torch.no_grad():`.": right
        | {"gradients on afterwards": False},
        "The encoder is frozen: leave it as it is, and compute under `with torch.no_grad():`.": right
        | {"trained": False},
    }
    expect_equal(got, right, called=learner.called, mistakes=mistakes)
    expect_close(vectors, expected, called=learner.called, likely="The check of the average says more.")
