"""The verbs of the command line: each does what its words ask and returns the exit code, 0 where it returns none.

Nothing heavy is imported before one runs.
"""

from ganforge.commands.data import audit, clean, collect, prepare
from ganforge.commands.runs import directions, measure, project, restore, sample, settings, show, train
from ganforge.commands.tools import demo, doctor, layers, systems

__all__ = [
    "audit",
    "clean",
    "collect",
    "demo",
    "directions",
    "doctor",
    "layers",
    "measure",
    "prepare",
    "project",
    "restore",
    "sample",
    "settings",
    "show",
    "systems",
    "train",
]
