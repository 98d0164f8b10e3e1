"""What is logged while a verb works. Every module logs to `logging.getLogger(__name__)`, so all of it arrives at the
logger `ganforge`; nothing is printed unless somebody listens."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def printed(name: str = "ganforge", prefix: str = "") -> Iterator[None]:
    """Print what the logger `name` and those below it log from INFO on, `prefix` before each line."""
    logger, handler = logging.getLogger(name), _Printer()
    handler.setFormatter(logging.Formatter(f"{prefix.replace('%', '%%')}%(message)s"))
    before = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


class _Printer(logging.Handler):
    """To the standard output of the moment, line by line. A reader who has gone is an error, as for `print`."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), flush=True)
