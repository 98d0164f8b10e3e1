"""A collection under way: list each source in the journal, then fetch or copy its pictures in rounds, until there are
enough."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganforge.base.errors import DataError, InputError
from ganforge.base.files import file_sha256
from ganforge.base.images import Pixels, write_image
from ganforge.collecting.folder import WORK, blobs_path, journal_path
from ganforge.collecting.journal import CollectionJournal, Item
from ganforge.collecting.public_set import collect_public_set
from ganforge.collecting.recipe import CollectionRecipe, RecipeSource
from ganforge.collecting.rows import row_of_listed, rows_of_files
from ganforge.sources.decode import identify, magic
from ganforge.sources.entry import Skip, Source
from ganforge.sources.source import open_source
from ganforge.store import provenance
from ganforge.web import lists
from ganforge.web.settings import Failed, LimitReached, Refused

if TYPE_CHECKING:
    from ganforge.web.fetch import Client
    from ganforge.web.guard import Resolve

_WAITING = 512
"""Fetches that may wait for their turn at the same time."""


class Collection:
    """Collects the sources of a recipe into the journal and the blobs of a folder, which `folder.finish` then moves."""

    def __init__(
        self,
        recipe: CollectionRecipe,
        folder: Path,
        *,
        originals: Path | None,
        progress: Callable[[str], None],
        resolve: Resolve | None,
    ) -> None:
        """`originals` is a folder that has the files of a public set already; `progress` takes lines of text; `resolve`
        replaces the system's resolver of names. DataError where the folder cannot be written."""
        self.recipe, self.folder, self.originals = recipe, folder, originals
        self.progress, self.resolve = progress, resolve
        self.blobs = blobs_path(folder)
        self.journal = CollectionJournal(journal_path(folder))
        self.blobs.mkdir(exist_ok=True)
        self.notes: list[str] = []
        """Sentences that the user should read."""
        self.unfinished = False
        """Whether the limit on the bytes of all files ended it."""
        self._client: Client | None = None

    async def run(self) -> None:
        """Collect all sources, one after another."""
        sources = self.recipe.sources
        states = [_state(source.path) for source in sources if source.kind in ("local", "list")]
        self.journal.begin([self.recipe.selection(), states], self.recipe.permissions())
        async with contextlib.AsyncExitStack() as stack:
            if any(source.kind in ("list", "api") for source in sources):
                self._client = await stack.enter_async_context(self._new_client())
            try:
                for n, source in enumerate(sources):
                    await self._collect(n, source)
            except LimitReached as reached:
                self.unfinished = True
                left = self.journal.count("state IN ('new', 'picked')")
                self.notes.append(f"{reached}; {left:,} addresses were not tried")
                for n in range(len(sources)):
                    self.journal.settle(n)

    def close(self) -> None:
        """Let go of the folder, and leave nothing behind where a mistake ended it before anything was listed."""
        empty = not self.journal.count("1") and not (self.folder / provenance.NAME).exists()
        self.journal.close()
        if empty:
            shutil.rmtree(self.folder / WORK, ignore_errors=True)
            with contextlib.suppress(OSError):
                self.folder.rmdir()

    async def _collect(self, n: int, source: RecipeSource) -> None:
        """One source: list it, then rounds until there are enough or nothing is left."""
        opened = self._open(source) if source.kind in ("local", "public") else None
        await self._list(n, source, opened)
        while self._pick(n, source):
            if opened:
                await self._copy(n, source, opened)
            else:
                await self._fetch(n, source)

    # ---------------------------------------------------------------------------------------------------------- listing

    def _open(self, source: RecipeSource) -> Source:
        settings = source.settings
        if source.kind == "local":
            opened = open_source(source.path, Path(settings.labels) if settings.labels else None)
            self.notes += [f"{source.name}: {note}" for note in opened.notes]
            return opened
        name = str(source.path)
        originals = settings.originals or self.originals
        return open_source(collect_public_set(name, self.folder / WORK / name, originals))

    async def _list(self, n: int, source: RecipeSource, opened: Source | None) -> None:
        """The rows of a source into the journal, once."""
        if self.journal.listed(n):
            return
        self.progress(f"{source.name}: looking")
        if source.kind == "api":
            await self._list_pages(n, source)
        elif opened:
            self._add(n, source, rows_of_files(self.recipe, source, opened), {f"listed/{n}": True})
        else:
            rows = (row_of_listed(self.recipe, source, listed) for listed in lists.read(source.path))
            self._add(n, source, rows, {f"listed/{n}": True})

    async def _list_pages(self, n: int, source: RecipeSource) -> None:
        """Page by page; each is remembered with the request of the next, so that an interruption loses one at most."""
        from ganforge.web import pages

        api = source.api
        assert self._client is not None and api is not None
        request = self.journal.get(f"page/{n}") or pages.first(api)
        for _ in range(pages.MAX_PAGES):
            try:
                listed, following = await pages.page(self._client, api, request)
            except (Refused, Failed) as error:
                raise DataError(
                    f"{source.name}: {api.endpoint} cannot be used: {error}. The same command tries again."
                ) from None
            left = api.limit - self.journal.count("source = ?", n)
            done = following is None or len(listed) >= left
            rows = (row_of_listed(self.recipe, source, one) for one in listed[:left])
            self._add(n, source, rows, {f"page/{n}": following, f"listed/{n}": done})
            if done or following is None:
                return
            request = following
            self.progress(f"{source.name}: {api.limit - left + len(listed):,} listed")
        raise DataError(f"{source.name}: the API has more than {pages.MAX_PAGES:,} pages. Say a smaller limit.")

    def _add(self, n: int, source: RecipeSource, rows: Iterable[dict[str, Any]], remember: dict[str, Any]) -> None:
        self.journal.add(n, seed=self.recipe.settings.seed, name=source.name, rows=rows, remember=remember)

    # ----------------------------------------------------------------------------------------------------------- rounds

    def _pick(self, n: int, source: RecipeSource) -> int:
        """Decide over the last round and pick the items of the next one, as many as are still missing."""
        journal, cap, cap_per_class = self.journal, source.cap, self.recipe.settings.cap_per_class
        journal.settle(n)
        most = None if cap is None else cap - journal.count("source = ? AND state IN ('kept', 'picked')", n)
        if cap_per_class is None:
            return journal.pick(n, most, None)
        counts = journal.total("COUNT(*)", "label", "state IN ('kept', 'picked') AND label IS NOT NULL")
        return journal.pick(n, most, lambda label: cap_per_class - counts.get(label, 0))

    async def _copy(self, n: int, source: RecipeSource, opened: Source) -> None:
        """This round's pictures of a folder, zip or public set."""
        items = {item.n: item for item in self.journal.picked(n)}
        done = 0
        for position, entry in enumerate(opened.entries()):
            item = items.get(position)
            if item is None:
                continue
            try:
                sha256, kind, size = self._write_blob(entry.read(), Path(entry.name).suffix)
                self.journal.fetched(item, sha256, kind, size)
            except Skip as skip:
                self.journal.failed(item, str(skip), final=True)
            done += 1
            if done % 100 == 0:
                await asyncio.sleep(0)  # so that Ctrl-C is heard
                self.progress(f"{source.name}: {done:,} of {len(items):,}")
        if done < len(items):
            raise DataError(f"{source.path} has changed while it was read. Choose another folder with --out.")

    def _write_blob(self, data: bytes | Pixels, suffix: str) -> tuple[str, str, int]:
        """Write the bytes of a picture, or its pixels as PNG. Returns (SHA-256, suffix of its format, bytes)."""
        partial = self.blobs / "partial.png"
        if isinstance(data, bytes):
            kind = identify(data, suffix, self.recipe.limits.pixels)
            partial.write_bytes(data)
        else:
            kind = "png"
            write_image(partial, data)
            data = partial.read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        partial.replace(self.blobs / sha256)
        return sha256, kind, len(data)

    async def _fetch(self, n: int, source: RecipeSource) -> None:
        """This round's pictures of a list or API; many at once, a bounded number waiting."""
        waiting, done, count = asyncio.Semaphore(_WAITING), 0, self.journal.count("state = 'picked'")

        async def fetch(item: Item) -> None:
            nonlocal done
            try:
                await self._fetch_item(item)
            finally:
                waiting.release()
            done += 1
            self.progress(f"{source.name}: {done:,} of {count:,}")

        try:
            async with asyncio.TaskGroup() as group:
                for item in self.journal.picked(n):
                    await waiting.acquire()
                    group.create_task(fetch(item))
        except ExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _fetch_item(self, item: Item) -> None:
        assert self._client is not None
        partial = self.blobs / f"partial-{item.source}-{item.n}"
        try:
            fetched = await self._client.save(item.address, partial, magic)
            kind = identify(partial, most=self.recipe.limits.pixels)
            partial.replace(self.blobs / fetched.sha256)
            self.journal.fetched(item, fetched.sha256, kind, fetched.size)
        except (Refused, Skip) as refused:
            self.journal.failed(item, str(refused), final=True)
        except Failed as failed:
            self.journal.failed(item, str(failed), final=False)
        finally:
            partial.unlink(missing_ok=True)

    def _new_client(self) -> Client:
        try:
            from ganforge.web import fetch, guard
        except ImportError as error:
            raise InputError('Lists of addresses and APIs need httpx: pip install "ganforge[web]"') from error
        settings = self.recipe.settings
        return fetch.Client(
            self.recipe.limits,
            allowed=guard.Hosts(settings.allow_host),
            seed=settings.seed,
            contact=settings.contact,
            spent=self.journal.total("SUM(bytes)", "1", "bytes IS NOT NULL").get(1, 0),
            resolve=self.resolve or guard.resolve,
        )


def _state(path: Path) -> list[Any]:
    """What shows that a source has changed: names and sizes of a folder, the hash of a list, size and time of a zip."""
    if path.is_dir():
        digest = hashlib.sha256()
        for folder, folders, files in os.walk(path):
            folders.sort()
            for file in sorted(files):
                with contextlib.suppress(OSError):
                    digest.update(os.fsencode(f"{folder}/{file}/{(Path(folder) / file).stat().st_size}\n"))
        return [digest.hexdigest()]
    if path.suffix.lower() in lists.SUFFIXES:
        return [file_sha256(path)]
    info = path.stat()
    return [info.st_size, info.st_mtime_ns]
