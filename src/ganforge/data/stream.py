"""Training batches: picture n of the stream is a pure function of (seed, n), whatever the batch size or the device."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ganforge.data.store import Store
from ganforge.errors import DataError
from ganforge.images import Batch, to_float
from ganforge.seeds import Indices, permuted, uniform

_BLOCK = 8192
RESIDENT_BYTES = 1 << 30


class Stream:
    """The training pictures of a store in keyed order, on a device.

    Every epoch is its own permutation. Sets up to RESIDENT_BYTES live on an accelerator as uint8; on a CPU, and above
    that, batches are gathered from the memory map.
    """

    def __init__(self, store: Store, seed: int, device: torch.device, mirror: bool = False) -> None:
        if not len(store.train):
            raise DataError(f"{store.path} holds no training pictures. Prepare it with a smaller --heldout.")
        self.store, self.seed, self.device, self.mirror = store, seed, device, mirror
        self.block: tuple[int, Indices] = (-1, np.zeros(0, np.int64))
        self.resident: Tensor | None = None
        if device.type != "cpu" and len(store.train) * store.spec.pixels <= RESIDENT_BYTES:
            self.resident = torch.from_numpy(store.read(store.train)).to(device)

    def order(self, start: int, count: int) -> Indices:
        """Which training picture (0..len(train)-1) stands at positions start..start+count-1 of the endless stream."""
        parts = []
        while count:
            number, offset = divmod(start, _BLOCK)
            if self.block[0] != number:
                self.block = number, self._order(number * _BLOCK)
            part = self.block[1][offset : offset + count]
            parts.append(part)
            start, count = start + len(part), count - len(part)
        return np.concatenate(parts)

    def _order(self, start: int) -> Indices:
        size = len(self.store.train)
        positions = np.arange(start, start + _BLOCK)
        out = np.empty(_BLOCK, np.int64)
        epochs = positions // size
        for epoch in np.unique(epochs):
            here = epochs == epoch
            out[here] = permuted(self.seed, f"order/{epoch}", size, positions[here] - epoch * size)
        return out

    def batch(self, seen: int, count: int) -> Batch:
        """Pictures seen..seen+count-1 of the stream."""
        chosen = self.order(seen, count)
        rows = self.store.train[chosen]
        if self.resident is not None:
            pixels = self.resident[torch.from_numpy(chosen).to(self.device)]
        else:
            pixels = torch.from_numpy(self.store.read(rows)).to(self.device)
        images = to_float(pixels)
        if self.mirror:
            flip = torch.from_numpy(uniform(self.seed, "mirror", np.arange(seen, seen + count)) < 0.5)
            images[flip.to(self.device)] = images[flip.to(self.device)].flip(3)
        labels = torch.from_numpy(self.store.labels[rows]).to(self.device) if self.store.labelled else None
        return Batch(images, labels, seen)
