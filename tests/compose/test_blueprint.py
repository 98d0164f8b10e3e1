"""Lists with mistakes are explained."""

from __future__ import annotations

import pytest

from ganforge.base.errors import InputError
from ganforge.compose.blueprint import check

WORDS = {"height": 28, "width": 28, "channels": 1, "pixels": 784, "latent": 16, "code": 16, "classes": 5}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["convolution 8"], ["layer 1 (convolution)", "a vector of 48 came", "a picture CxHxW", "reshape C H W"]),
        (["reshape 3 4 4", "dense 7"], ["layer 2 (dense)", "a picture of 3x4x4 came", "`flatten`"]),
        (["reshape 3 4 5"], ["60 numbers", "dense 60"]),
        (["dens 8"], ["layer 1", "Did you mean dense?"]),
        (["conv2d 8"], ["Did you mean convolution?"]),
        (["dense 8 unit=3"], ["'unit'", "Did you mean units?"]),
        (["dense"], ["units is missing", "dense 256"]),
        (["dense 8 yes no 4"], ["one setting too many"]),
        (["dense 8 units=9"], ["said twice"]),
        (["dense many"], ["units is 'many'", "whole number"]),
        (["dense heigth"], ["Did you mean height?"]),
        (["dense height/3"], ["28/3", "divisor of 28"]),
        (["dense 0"], ["it takes 1 to 65536"]),
        (["dense 8 bias=perhaps"], ["yes or no"]),
        (["dropout 1.5"], ["it takes 0 to 1"]),
        (["dropout much"], ["takes a number"]),
        (["reshape 3 4 4", "convolution 8 kernel=7 padding=0"], ["7 or more pixels", "smaller kernel"]),
        (["reshape 3 4 4", "group_norm 2"], ["that 2 divides", "Say 1 instead"]),
        (["reshape 6 8", "self_attention heads=3"], ["that 3 divides", "Say 2 instead"]),
        (["reshape 3 4 4", "patches 3"], ["that 3 divides"]),
        (["sparse 100"], ["keep=48 or less"]),
        (["dense 8 name=a", "add from=b"], ["no layer is called 'b'"]),
        (["dense 8", "add from=2"], ["refers to itself", "loop"]),
        (["dense 8", "add from=end", "dense 8 name=end"], ["layer 3, which comes later", "loop"]),
        (["dense 8 name=a", "dense 9 name=a"], ["another layer is called a too"]),
        (
            ["dense 8 name=a", "dense 9", "add from=a"],
            ["layer 3 (add)", "a vector of 9 came", "needs 8", "concatenate"],
        ),
        (["dense 8", "add from=9"], ["there is no layer 9"]),
        (["dense 8 name=2"], ["'2' is no name"]),
        (["dense 60000", "dense 60000"], ["too many"]),
        ([], ["has no layers"]),
        (["dense 8"] * 1001, ["the limit is 1,000"]),
        (["up_sampling mode=cubic"], ["mode is 'cubic'", "There is: nearest, bilinear"]),
    ],
)  # fmt: skip
def test_a_wrong_list_is_explained(lines, message):
    with pytest.raises(InputError) as caught:
        check("net", lines, (48,), WORDS)
    for part in message:
        assert part in str(caught.value)
    assert str(caught.value).startswith("net")
    assert "\n" not in str(caught.value)


def test_labels_are_needed_where_they_are_used():
    with pytest.raises(InputError, match="a store with labels"):
        check("net", ["embedding 8"], (48,), {**WORDS, "classes": 0})
