"""The journal of a collection."""

from __future__ import annotations

import pytest

from ganforge.base.errors import DataError
from ganforge.collecting.journal import CollectionJournal


def test_one_process_at_a_time(tmp_path):
    held = CollectionJournal(tmp_path / "o" / ".collect" / "journal.sqlite")
    with pytest.raises(DataError, match="another process"):
        CollectionJournal(tmp_path / "o" / ".collect" / "journal.sqlite")
    held.close()
    CollectionJournal(tmp_path / "o" / ".collect" / "journal.sqlite").close()


def test_a_damaged_journal_is_let_go(tmp_path):
    """The second call took it for one that another process holds."""
    path = tmp_path / "o" / ".collect" / "journal.sqlite"
    CollectionJournal(path).close()
    path.write_bytes(path.read_bytes()[:100] + b"\xff" * 5000)
    for _ in range(2):
        with pytest.raises(DataError, match="cannot be written"):
            CollectionJournal(path)
