"""A2LC's label correction module as released, for comparison; facts from github.com/ngbrjyj/A2LC, d9ac41f."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise

import numpy as np
import torch

from fiftyone_plugin.correction.questions.candidates import Candidates

EPOCHS, LEARNING_RATE, BATCH, CONFIDENCE = 100, 1e-4, 8, 0.99  # of PASCAL
Place = tuple[int, int]  # image, row


def relabelled(
    candidates: Sequence[Candidates], asked_now: Collection[Place], asked: Collection[Place], *, seed: int
) -> list[tuple[int, int, int]]:
    """Train on the masks queried in this round and relabel masks that never were.

    The network ends in a softmax and is trained by a cross entropy that applies another one, as released.

    Args:
        candidates: of all images, with the labels as corrected in this round
        asked_now: this round's masks
        asked: masks of all rounds
        seed: of the weights and batches

    Returns:
        (image, row, class)
    """
    classes = candidates[0].num_classes
    rows = [(image, row) for image, row in asked_now if candidates[image].given[row] >= 0]
    if not rows:
        return []
    inputs = torch.from_numpy(np.stack([candidates[image].mean_probs[row] for image, row in rows]))
    targets = torch.tensor([int(candidates[image].given[row]) for image, row in rows])
    counts = np.bincount(targets.numpy(), minlength=classes)
    network = _train(inputs, targets, counts, seed)
    rarest = sorted(range(classes), key=lambda value: counts[value])[: classes // 2]
    found = []
    for image, each in enumerate(candidates):
        if not len(each):
            continue
        with torch.inference_mode():
            confidence, predicted = network(torch.from_numpy(each.mean_probs)).softmax(dim=1).max(dim=1)
        for row, (sure, value) in enumerate(zip(confidence.tolist(), predicted.tolist(), strict=True)):
            given = int(each.given[row])
            barred = value in rarest or given in (value, rarest[0])
            if sure >= CONFIDENCE and not barred and (image, row) not in asked:
                found.append((image, row, value))
    return found


def _train(inputs: torch.Tensor, targets: torch.Tensor, counts: np.ndarray, seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    classes = len(counts)
    weights = np.divide(counts.sum(), counts, out=np.zeros(classes), where=counts > 0)
    loss = torch.nn.CrossEntropyLoss(torch.tensor(weights / weights.sum(), dtype=torch.float32))
    sizes = (classes, 256, 128, 64, classes)
    layers: list[torch.nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [torch.nn.Linear(before, after), torch.nn.ReLU()]
    network = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    for _ in range(EPOCHS):
        order = torch.randperm(len(targets))
        for chosen in order.split(BATCH):
            optimizer.zero_grad()
            loss(network(inputs[chosen]).softmax(dim=1), targets[chosen]).backward()
            optimizer.step()
    return network
