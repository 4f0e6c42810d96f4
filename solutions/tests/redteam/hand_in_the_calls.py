# Hands in the file of what runs beside it, with its stand-ins under the names of the exercises. The point is as in
# hand_in_the_stand_ins.
# lesson: vision_transformer
# status: graded
# points: 1
# says: 'stand_in' is too many

from pathlib import Path


def build(folder, reference):
    calls = Path("@COURSE@/checks/calls/vision_transformer.py").read_text()
    names = {"Attention": "StandInAttention", "MLP": "StandInMLP", "Block": "StandInBlock"}
    given = [f"# %%\n{name} = {stand_in}" for name, stand_in in {**names, "gather_tokens": "take_once"}.items()]
    (folder / "02_vision_transformer.py").write_text("\n\n".join(["# %%\n" + calls, *given]))
