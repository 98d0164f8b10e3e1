"""Mistakes that a user can repair. Each message says what came, what was expected and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class GanforgeError(Exception):
    """Any mistake that a user can repair; the command line prints its message alone, without a traceback."""

    exit_code = 1


class InputError(GanforgeError):
    """A word, a number or a path on the command line that does not fit."""


class DataError(GanforgeError):
    """Pictures, or a folder of them, that cannot be used."""


class StoreError(GanforgeError):
    """A prepared data set that is missing, unfinished or changed."""


class RunError(GanforgeError):
    """A run folder that is missing, unfinished, changed or made for something else."""


class Stopped(GanforgeError):
    """The user stopped a run; its state is saved, and the same command goes on from there."""

    exit_code = 3


class Diverged(GanforgeError):
    """Training met numbers that are not finite, again after going back to the last checkpoint."""

    exit_code = 4


class Collapsed(GanforgeError):
    """Training made samples that are alike or ever worse, again after going back to a better checkpoint."""

    exit_code = 5


def is_short(error: BaseException) -> bool:
    """Whether an error, or the one behind it, says that there is not enough memory."""
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "memory" in str(error)):
        return True
    return error.__cause__ is not None and is_short(error.__cause__)


def check_text(text: str) -> None:
    """InputError for a path or a word that holds bytes that are no UTF-8: no table and no TOML file could hold it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(f"{text!r} holds bytes that are no UTF-8, which no table can hold. Rename it.") from None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """' Did you mean dcgan?' for the nearest known word, or the list of what there is.

    >>> did_you_mean("dcgn", ["gan", "dcgan", "vae"])
    ' Did you mean dcgan?'
    """
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if near:
        return f" Did you mean {near[0]}?"
    return f" There is: {', '.join(known)}." if known else ""
