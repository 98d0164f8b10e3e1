"""Stores at addresses that fsspec knows (s3://, gs://, https://, memory://), through a bounded cache on the local
disk."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from pathlib import Path

from ganforge.base.errors import InputError, StoreError
from ganforge.base.files import atomic_file, file_sha256
from ganforge.store.stamps import Stamps, cache_folder

LIMIT = 20 << 30


def is_address(path: str | Path) -> bool:
    """Whether a store's path is an address such as s3://bucket/store."""
    return "://" in str(path)


class Cache:
    """Files of one remote folder; the least recently used shards go when `limit` bytes are passed.

    The folder is GANFORGE_CACHE (~/.cache/ganforge), the limit GANFORGE_CACHE_BYTES (20 GiB). Every file is compared
    with its SHA-256 before it takes its place, and again where it changed there."""

    def __init__(self, address: str) -> None:
        try:
            from fsspec.core import url_to_fs
        except ImportError:
            raise InputError(f'{address} needs fsspec. Install it with: pip install "ganforge[cloud]"') from None
        try:
            self.files, self.root = url_to_fs(address)
        except (ImportError, ValueError, OSError) as error:
            raise InputError(f"{address} cannot be opened: {error}") from error
        self.address = address
        self.folder = cache_folder() / "stores" / hashlib.sha256(address.encode()).hexdigest()[:16]
        try:
            self.limit = int(os.environ.get("GANFORGE_CACHE_BYTES", LIMIT))
        except ValueError:
            raise InputError("GANFORGE_CACHE_BYTES takes a whole number of bytes.") from None
        self.stamps = Stamps(self.folder)
        self.lock = threading.RLock()
        self.used: dict[str, int] = {}

    def get(
        self, name: str, sha256: str | None = None, skip: int = 0, required: bool = True, again: bool = False
    ) -> set[str]:
        """Have `name` in the folder; returns the names of shards that had to go for it.

        Without a hash it is fetched anew each time, and so is what was damaged in the folder; `again` reads it whatever
        its stamp says. `skip` bytes at the start are not part of the hash."""
        target = self.folder / name
        if sha256 is not None and target.is_file():
            try:
                self.stamps.compare(name, sha256, skip, again)
                return set()
            except FileNotFoundError:  # another process needed its room just now
                pass
            except ValueError:
                target.unlink(missing_ok=True)
        dropped: set[str] = set()
        source = f"{self.root.rstrip('/')}/{name}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if name.startswith("images-"):
                dropped = self._make_room(int(self.files.size(source)))
            with atomic_file(target) as partial:
                self.files.get_file(source, str(partial))
                if sha256 is not None and file_sha256(partial, skip) != sha256:
                    raise StoreError(f"{self.address}/{name} has another SHA-256 than the manifest says.")
            if sha256 is not None:
                with contextlib.suppress(FileNotFoundError):
                    self.stamps.note(name, sha256)
        except FileNotFoundError as error:
            if required:
                raise StoreError(f"{self.address} lacks {name}.") from error
            target.unlink(missing_ok=True)
        except StoreError:
            raise
        except Exception as error:  # every back end has its own
            raise StoreError(
                f"{self.address}/{name} cannot be fetched: {str(error).splitlines()[0] if str(error) else error!r}"
            ) from error
        return dropped

    def touch(self, name: str) -> None:
        """Remember that a shard was used just now."""
        self.used.pop(name, None)
        self.used[name] = 1

    def _make_room(self, size: int) -> set[str]:
        """Remove the least recently used shards until `size` more bytes are within the limit."""
        sizes: dict[str, int] = {}
        for path in self.folder.glob("images-*.npy"):
            with contextlib.suppress(FileNotFoundError):  # another process makes room, too
                sizes[path.name] = path.stat().st_size
        total = sum(sizes.values())
        order = [name for name in sorted(sizes) if name not in self.used] + [
            name for name in self.used if name in sizes
        ]
        dropped: set[str] = set()
        for name in order:
            if total + size <= self.limit:
                break
            total -= sizes[name]
            with contextlib.suppress(PermissionError):  # Windows keeps what another process has open
                (self.folder / name).unlink(missing_ok=True)
            self.used.pop(name, None)
            dropped.add(name)
        return dropped
