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
