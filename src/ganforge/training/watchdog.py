"""Steps whose numbers are not finite: they are undone and counted, without a transfer from the device."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

EVERY = 50  # steps between looks at the counts; each look waits for the device
LIMIT = 3.0  # the strain of a phase at which training goes back
RELIEF = 0.1  # decrease of the strain by a good step, so that more than about every tenth bad step is too many


class Watch:
    """Judges each step of each phase, on the device, without waiting for it.

    The strain of a phase grows by 1 with each bad step and shrinks by RELIEF with each good one: three bad steps in a
    row reach LIMIT, and so do bad steps that occur again and again."""

    def __init__(self, phases: int, device: torch.device, skipped: int = 0, strain: Sequence[float] = ()) -> None:
        self.strain = torch.tensor(list(strain) or [0.0] * phases, device=device)
        self.worst = self.strain.max()
        self.skipped = torch.tensor(skipped, dtype=torch.int64, device=device)

    def judge(self, phase: int, numbers: Iterable[Tensor]) -> Tensor:
        """Whether any of the tensors is not finite, counted for phase number `phase`: a bool scalar on the device."""
        bad = ~torch.nn.utils.get_total_norm(numbers).isfinite()
        strain = self.strain[phase]
        strain.copy_(torch.where(bad, strain + 1, (strain - RELIEF).clamp(min=0)))
        self.worst = torch.maximum(self.worst, strain)
        self.skipped += bad
        return bad

    def strained(self, limit: float = LIMIT) -> bool:
        """Whether a phase has reached the limit since the last look. Waits for the device."""
        worst, self.worst = float(self.worst), self.strain.max()
        return worst >= limit


class Buffers:
    """The buffers of a module (running statistics, vectors of spectral norms, counts), to undo a bad step.

    They are copied as one flat tensor for each dtype. A module has to change its buffers in place, not replace them."""

    def __init__(self, module: nn.Module) -> None:
        kept = module.state_dict(keep_vars=True)
        self.groups: dict[torch.dtype, list[Tensor]] = defaultdict(list)
        for name, buffer in module.named_buffers():
            if name in kept:
                self.groups[buffer.dtype].append(buffer)

    def copies(self) -> list[Tensor]:
        """The current values, one flat tensor for each dtype."""
        return [torch.cat([buffer.flatten() for buffer in group]) for group in self.groups.values()]

    @torch.no_grad()
    def go_back(self, bad: Tensor, before: list[Tensor], after: list[Tensor]) -> None:
        """Write the copies `before` where `bad`, a bool scalar, is true, else the copies `after`."""
        for group, old, new in zip(self.groups.values(), before, after, strict=True):
            parts = torch.where(bad, old, new).split([buffer.numel() for buffer in group])
            torch._foreach_copy_(group, [part.view(buffer.shape) for part, buffer in zip(parts, group, strict=True)])
