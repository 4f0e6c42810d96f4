# Hands in the stand-ins that lie beside it. They compute something else than is asked for; the point is for a Block
# that leaves its input as it was, which any module does that doesn't work in place.
# lesson: vision_transformer
# status: graded
# points: 1
# says: 'stand_in' is too many

from checks.calls.vision_transformer import StandInAttention, StandInBlock, StandInMLP, take_once


class Attention(StandInAttention):
    pass


class MLP(StandInMLP):
    pass


class Block(StandInBlock):
    pass


def gather_tokens(tokens, indices):
    return take_once(tokens, indices)
