"""What is logged reaches those who listen, and nobody else."""

from __future__ import annotations

import logging

import pytest

import ganforge
from ganforge.base.logs import printed
from ganforge.cli import main
from ganforge.media.spec import Spec
from ganforge.testing import make_store


def test_only_what_is_named_is_printed(capsys):
    with printed("ganforge.a", "50% "):
        logging.getLogger("ganforge.a.b").info("95% of it")
        logging.getLogger("ganforge.a").debug("not this")
        logging.getLogger("ganforge.b").info("nor this")
    logging.getLogger("ganforge.a").info("nor this")
    assert capsys.readouterr() == ("50% 95% of it\n", "")


def test_a_reader_who_has_gone_is_an_error(monkeypatch):
    def gone(*_: object, **__: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("builtins.print", gone)
    with printed(), pytest.raises(BrokenPipeError):
        logging.getLogger("ganforge.a").info("a line")


def losses(line: str) -> str:
    """Of a report, without the speed before them and the share of other programs behind them."""
    return line.split("/s")[1].partition("(")[0].rstrip()


def test_training_is_heard_by_python_and_by_the_command_line_alike(tmp_path, capsys, logged):
    make_store(tmp_path / "store", Spec(8, 8, 1), 60)
    words = ["train", "gan", str(tmp_path / "store"), "--images", "32", "--train.batch", "16", "--model.width", "8"]
    words += ["--size", "small"]
    assert main([*words, "--train.precision", "fp32", "-o", str(tmp_path / "a")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [*logged, f"Next: ganforge measure {tmp_path / 'a'}"]
    assert len(logged) == 3, "the size of a checkpoint, and two reports"
    settings = {"images": 32, "batch": 16, "precision": "fp32", "model": {"width": 8}, "size": "small"}
    ganforge.train("gan", tmp_path / "store", tmp_path / "b", **settings)
    size, *reports = capsys.readouterr().out.splitlines()
    assert size == logged[0] and [losses(line) for line in reports] == [losses(line) for line in logged[1:3]]
    ganforge.train("gan", tmp_path / "store", tmp_path / "c", **settings, verbose=False)
    assert capsys.readouterr() == ("", "")
    assert len(logged) == 9
