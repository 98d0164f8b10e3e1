"""The modules of composed networks against the rules of their shapes."""

from __future__ import annotations

import pytest
import torch

from ganforge.base.errors import InputError
from ganforge.compose.blueprint import check
from ganforge.compose.catalogue import ALSO, LAYERS, ROWS
from ganforge.compose.network import Network, sparse

WORDS = {"height": 28, "width": 28, "channels": 1, "pixels": 784, "latent": 16, "code": 16, "classes": 5}
SHAPES = {1: (48,), 2: (12, 16), 3: (16, 12, 8)}
MORE = {  # settings beside the example's own
    "convolution": [
        "convolution 6 kernel=5 stride=3 padding=2 dilation=2 groups=2 bias=no",
        "convolution 8 4 2 1 spectral=yes",
    ],
    "transposed_convolution": ["transposed_convolution 6 kernel=5 stride=3 padding=1 extra=2 bias=no"],
    "dense": ["dense 7 bias=no", "dense 7 spectral=yes"],
    "max_pooling": ["max_pooling 3 stride=2 padding=1"],
    "up_sampling": ["up_sampling 3 mode=bilinear"],
    "rnn": ["rnn 7 last=yes"],
    "lstm": ["lstm 7 last=yes"],
    "bidirectional": ["bidirectional 7 last=yes", "bidirectional 7 cell=rnn", "bidirectional 7 cell=lstm"],
    "transformer": ["transformer 2 expand=1 causal=yes"],
    "residual": ["residual 16", "residual 6 kernel=5 norm=group", "residual 6 norm=none", "residual 6 norm=instance"],
    "crop": ["crop 5 height/4"],
    "reshape": ["reshape 2 24", "reshape 48", "reshape 3 4 4", "reshape 3x4x4"],
    "unpatches": ["unpatches 2 rows=3"],
}


def cases():
    for row in ROWS:
        for line in (row.example, *MORE.get(row.name, [])):
            for rank, shape in SHAPES.items():
                line_ = line.replace("from=stem", "from=input").replace("from=2", "from=input")
                line_ = line_.replace("reshape 64 7 7", "reshape 3 8 2").replace("crop height width", "crop 8 8")
                line_ = line_.replace("unpatches 4 rows=7", "unpatches 4 rows=6")
                try:
                    steps = check("net", [line_], shape, WORDS)
                except InputError:
                    continue
                yield pytest.param(steps, shape, id=f"{line_} on {rank}")


CASES = list(cases())


@pytest.mark.parametrize(("steps", "shape"), CASES)
def test_the_table_says_what_the_module_does(steps, shape):
    torch.manual_seed(0)
    network = Network(steps, WORDS["classes"])
    x = torch.randn(4, *shape, requires_grad=True)
    y = network(x, torch.tensor([0, 1, 2, 4]))
    assert tuple(y.shape) == (4, *steps[-1].shape_out)
    assert sum(p.numel() for p in network.parameters()) == steps[-1].parameters
    y.square().sum().backward()
    assert x.grad is not None and x.grad.isfinite().all()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, f"nothing reaches {name}"
    with torch.autocast("cpu", torch.bfloat16):
        assert network(x, torch.tensor([0, 1, 2, 4])).shape == y.shape


def test_every_layer_was_compared():
    assert {param.values[0][0].layer for param in CASES} == LAYERS.keys()
    assert len(ROWS) == len(LAYERS)
    assert set(ALSO.values()) <= LAYERS.keys()


def test_sparse_keeps_the_largest():
    x = torch.randn(5, 9, 4, 3)
    y = sparse(x, 2)
    assert torch.equal((y != 0).sum(1), torch.full((5, 4, 3), 2))
    assert torch.equal(y.amax(1), x.amax(1))
