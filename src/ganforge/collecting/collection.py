"""Sources -> one folder: list, fetch or copy in rounds, keep each original once, put everything in its place."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ganforge.base.errors import DataError, InputError, did_you_mean
from ganforge.base.files import atomic_folder, writing
from ganforge.base.images import write_png
from ganforge.base.tables import write_csv
from ganforge.collecting.journal import Item, Journal
from ganforge.collecting.recipe import Asked, Recipe
from ganforge.sources.decode import identify, magic
from ganforge.sources.entry import Skip
from ganforge.sources.entry import Source as Pictures
from ganforge.sources.formats import refusal
from ganforge.sources.source import open_source
from ganforge.store import history, provenance
from ganforge.store.licences import OWN, is_among, spdx
from ganforge.web import lists, public
from ganforge.web.terms import Failed, Full, Refused

if TYPE_CHECKING:
    from ganforge.web.fetch import Client
    from ganforge.web.guard import Resolve

WORK = ".collect"
_WINDOW = 512

log = logging.getLogger(__name__)

Say = Callable[[str], None]


@dataclass(frozen=True)
class Collected:
    """What a collection came to."""

    folder: Path
    kept: dict[str, int]
    """Pictures in the folder by source."""
    apart: Path | None
    """The folder of pictures whose rights are unknown, where there are any."""
    apart_count: int
    duplicates: int
    reasons: dict[str, int]
    """Why others are not there; `skipped.csv` in the folder names each."""
    notes: list[str]
    """Sentences that the user should read."""
    unfinished: bool
    """Whether the limit on all bytes ended it."""

    @property
    def skipped(self) -> int:
        """How many are not there for a reason."""
        return sum(self.reasons.values())


def originals(name: str, out: Path, source: str | Path | None) -> Path:
    """The originals of one public set, written beside and renamed."""
    if name not in public.SETS:
        raise InputError(f"There is no public set {name!r}, nor a folder or file.{did_you_mean(name, public.SETS)}")
    if (out / provenance.NAME).is_file():
        log.info(f"{out} is there already.")
        return out
    if out.exists() and any(out.iterdir()):
        raise DataError(f"{out} exists and holds something else. Choose another place with --out.")
    with writing(out), atomic_folder(out) as partial:
        rows = public.fetch(name, partial, Path(source) if source else None)
        write_csv(partial / provenance.NAME, provenance.FIELDS, rows)
        history.record(partial, "collect", sources=[name], files=len(rows))
        if out.exists():
            out.rmdir()
    facts = public.SETS[name]
    log.info(f"{out}: {facts.what}. Licence: {facts.licence}.")
    return out


class Collection:
    """One call of `mix`: list each source, fetch or copy in rounds, then put everything in its place."""

    def __init__(
        self, recipe: Recipe, folder: Path, originals: Path | None, progress: Say, resolve: Resolve | None
    ) -> None:
        self.recipe, self.folder, self.originals, self.progress, self.resolve = (
            recipe,
            folder,
            originals,
            progress,
            resolve,
        )
        self.blobs = folder / WORK / "blobs"
        self.apart = folder.with_name(f"{folder.name}-unknown-rights")
        self.journal = Journal(folder / WORK / "journal.sqlite")
        self.blobs.mkdir(exist_ok=True)
        self.notes: list[str] = []
        self.read_as: list[str] = []
        self.client: Client | None = None

    async def work(self) -> None:
        """All sources, one after another."""
        marks = [_mark(asked.path) for asked in self.recipe.sources if asked.kind in ("local", "list")]
        self.journal.begin([self.recipe.what(), marks], self.recipe.how())
        async with contextlib.AsyncExitStack() as stack:
            if any(asked.kind in ("list", "api") for asked in self.recipe.sources):
                self.client = await stack.enter_async_context(self._client())
            try:
                for n, asked in enumerate(self.recipe.sources):
                    await self._work_off(n, asked)
            except Full as full:
                left = self.journal.count("state IN ('new', 'picked')")
                self.notes.append(f"{full}; {left:,} addresses were not tried")
                for n in range(len(self.recipe.sources)):
                    self.journal.settle(n)

    async def _work_off(self, n: int, asked: Asked) -> None:
        """One source: list it, then rounds until it has enough or nothing is left."""
        pictures = self._open(asked) if asked.kind in ("local", "public") else None
        await self._list(n, asked, pictures)
        while self._pick(n, asked):
            if pictures:
                await self._copy(n, asked, pictures)
            else:
                await self._fetch(n, asked)

    # ----------------------------------------------------------------------------------------------------------- listing

    def _open(self, asked: Asked) -> Pictures:
        if asked.kind == "local":
            opened = open_source(asked.path, Path(asked.source.labels) if asked.source.labels else None)
            self.read_as += [f"{asked.name}: {note}" for note in opened.notes]
            return opened
        source = asked.source.originals or self.originals
        return open_source(originals(str(asked.path), self.folder / WORK / str(asked.path), source))

    async def _list(self, n: int, asked: Asked, pictures: Pictures | None) -> None:
        """The rows of a source into the journal, once."""
        if self.journal.listed(n):
            return
        self.progress(f"{asked.name}: looking")
        if asked.kind == "api":
            await self._list_pages(n, asked)
            return
        rows = (
            self._local_rows(asked, pictures)
            if pictures
            else (self._row(asked, found) for found in lists.read(asked.path))
        )
        self.journal.add(n, self.recipe.settings.seed, asked.name, rows, {f"listed/{n}": True})

    async def _list_pages(self, n: int, asked: Asked) -> None:
        """Page by page; each is remembered with the place of the next, so that an interruption loses one at most."""
        from ganforge.web import pages

        assert self.client is not None and asked.api is not None
        place = self.journal.get(f"page/{n}") or pages.first(asked.api)
        for _ in range(pages.MAX_PAGES):
            try:
                found, after = await pages.page(self.client, asked.api, place)
            except (Refused, Failed) as error:
                raise DataError(
                    f"{asked.name}: {asked.api.endpoint} cannot be used: {error}. The same command tries again."
                ) from None
            left = asked.api.limit - self.journal.count("source = ?", n)
            done = after is None or len(found) >= left
            self.journal.add(
                n, self.recipe.settings.seed, asked.name, (self._row(asked, one) for one in found[:left]),
                {f"page/{n}": after, f"listed/{n}": done},
            )  # fmt: skip
            if done or after is None:
                return
            place = after
            self.progress(f"{asked.name}: {asked.api.limit - left + len(found):,} listed")
        raise DataError(f"{asked.name}: the API has more than {pages.MAX_PAGES:,} pages. Say a smaller limit.")

    def _row(self, asked: Asked, found: lists.Wanted) -> dict[str, Any]:
        """One row of a list or page, its rights judged."""
        source = asked.source
        row = self._rights(found.licence or source.licence, found.author or source.author, mine=False)
        return row | {
            "address": found.address,
            "label": found.label or source.label,
            "problem": found.problem or row["problem"],
        }

    def _local_rows(self, asked: Asked, pictures: Pictures) -> Iterator[dict[str, Any]]:
        """The entries of a folder, zip or public set; what an earlier collection wrote into provenance.csv stays
        true."""
        facts = public.SETS.get(str(asked.path)) if asked.kind == "public" else None
        known = provenance.read(asked.path) if asked.kind == "local" and asked.path.is_dir() else {}
        base = f"{asked.path}#" if facts else asked.path.as_uri() + ("/" if asked.path.is_dir() else "!/")
        source = asked.source
        for entry in pictures.entries():
            before = known.get(entry.name, {})
            stated = before.get("licence") or entry.origin.licence or source.licence or (facts.licence if facts else "")
            row = self._rights(
                stated,
                before.get("author") or entry.origin.author or source.author or (facts.author if facts else ""),
                mine=not (before or facts or any(entry.origin)),
            )
            row["problem"] = refusal(entry.name) or row["problem"]
            address = before.get("address") or base + quote(os.fsencode(entry.name), safe="/")
            yield row | {"address": address, "label": entry.label or source.label, "split": entry.split}

    def _rights(self, stated: str, author: str, *, mine: bool) -> dict[str, Any]:
        """What is known of the licence, and whether that is enough. `mine`: a folder of the user's, where nothing is
        stated; it is kept unless licences are asked for."""
        name = spdx(stated)
        row: dict[str, Any] = {"licence": name or stated, "author": author, "apart": 0, "problem": ""}
        if self.recipe.licences:
            if name is None:
                row["problem"] = f"the licence {stated!r} is not known" if stated else "no licence is stated"
            elif name != OWN and not is_among(name, self.recipe.licences):
                row["problem"] = f"the licence {name} is not asked for"
        elif name is None and not (mine and not stated):
            unknown = self.recipe.settings.unknown_rights
            row["apart"] = int(unknown == "apart")
            row["problem"] = "its rights are unknown" if unknown == "leave-out" else ""
        return row

    # ------------------------------------------------------------------------------------------------------------ rounds

    def _pick(self, n: int, asked: Asked) -> int:
        """Decide over the last round and choose the next one, of as many as are still missing."""
        self.journal.settle(n)
        room = (
            None
            if asked.cap is None
            else asked.cap - self.journal.count("source = ? AND state IN ('kept', 'picked')", n)
        )
        most = self.recipe.settings.cap_per_class
        if most is None:
            return self.journal.pick(n, room, None)
        there = self.journal.total("COUNT(*)", "label", "state IN ('kept', 'picked') AND label IS NOT NULL")
        return self.journal.pick(n, room, lambda label: most - there.get(label, 0))

    async def _copy(self, n: int, asked: Asked, pictures: Pictures) -> None:
        """This round's pictures of a local source."""
        items = {item.n: item for item in self.journal.picked(n)}
        done = 0
        for place, entry in enumerate(pictures.entries()):
            item = items.get(place)
            if item is None:
                continue
            try:
                sha256, kind, size = self._keep(entry.read(), Path(entry.name).suffix)
                self.journal.fetched(item, sha256, kind, size)
            except Skip as skip:
                self.journal.failed(item, str(skip), final=True)
            done += 1
            if done % 100 == 0:
                await asyncio.sleep(0)  # so that Ctrl-C is heard
                self.progress(f"{asked.name}: {done:,} of {len(items):,}")
        if done < len(items):
            raise DataError(f"{asked.path} has changed while it was read. Choose another folder with --out.")

    def _keep(self, data: Any, suffix: str) -> tuple[str, str, int]:
        """The bytes of a picture, or its pixels as PNG, among the blobs. Returns (sha256, kind, bytes)."""
        partial = self.blobs / "partial.png"
        if isinstance(data, bytes):
            kind = identify(data, suffix, self.recipe.limits.pixels)
            partial.write_bytes(data)
        else:
            kind = "png"
            write_png(partial, data)
            data = partial.read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        partial.replace(self.blobs / sha256)
        return sha256, kind, len(data)

    async def _fetch(self, n: int, asked: Asked) -> None:
        """This round's pictures of a list or API; many at once, a bounded number waiting."""
        gate, done, count = asyncio.Semaphore(_WINDOW), 0, self.journal.count("state = 'picked'")

        async def one(item: Item) -> None:
            nonlocal done
            try:
                await self._fetch_one(item)
            finally:
                gate.release()
            done += 1
            self.progress(f"{asked.name}: {done:,} of {count:,}")

        try:
            async with asyncio.TaskGroup() as group:
                for item in self.journal.picked(n):
                    await gate.acquire()
                    group.create_task(one(item))
        except ExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _fetch_one(self, item: Item) -> None:
        assert self.client is not None
        partial = self.blobs / f"partial-{item.source}-{item.n}"
        try:
            got = await self.client.save(item.address, partial, magic)
            kind = identify(partial, most=self.recipe.limits.pixels)
            partial.replace(self.blobs / got.sha256)
            self.journal.fetched(item, got.sha256, kind, got.size)
        except (Refused, Skip) as refused:
            self.journal.failed(item, str(refused), final=True)
        except Failed as failed:
            self.journal.failed(item, str(failed), final=False)
        finally:
            partial.unlink(missing_ok=True)

    def _client(self) -> Client:
        try:
            from ganforge.web import fetch, guard
        except ImportError as error:
            raise InputError('Lists of addresses and APIs need httpx: pip install "ganforge[web]"') from error
        settings = self.recipe.settings
        allowed = guard.Hosts(settings.allow_host.replace(",", " ").split())
        spent = self.journal.total("SUM(bytes)", "1", "bytes IS NOT NULL").get(1, 0)
        return fetch.Client(
            self.recipe.limits, allowed=allowed, seed=settings.seed, contact=settings.contact, spent=spent,
            resolve=self.resolve or guard.resolve,
        )  # fmt: skip

    # ----------------------------------------------------------------------------------------------------------- the end

    def clean(self) -> None:
        """Let go of the folder, and leave nothing behind where a mistake ended it before anything was listed."""
        empty = not self.journal.count("1") and not (self.folder / provenance.NAME).exists()
        self.journal.close()
        if empty:
            shutil.rmtree(self.folder / WORK, ignore_errors=True)
            with contextlib.suppress(OSError):
                self.folder.rmdir()

    def finish(self) -> Collected:
        """Put the pictures in their places, write the tables."""
        journal, names = self.journal, [asked.name for asked in self.recipe.sources]
        splits = journal.count("state = 'kept'") > 0 and not journal.count("state = 'kept' AND split IS NULL")

        def where(item: Item) -> tuple[Path, str]:
            folders = [part for part in (item.split if splits else None, item.label) if part]
            return self.apart if item.apart else self.folder, "/".join(
                [*folders, f"{str(item.sha256)[:20]}.{item.kind}"]
            )

        placed = journal.place(self.blobs, where)
        apart_count = self._write_tables(names)
        for blob in self.blobs.iterdir():
            blob.unlink()
        kept = journal.total("COUNT(*)", "source", "state = 'kept' AND apart = 0")
        skipped = "state IN ('skipped', 'refused', 'failed')"
        collected = Collected(
            self.folder, {name: kept.get(n, 0) for n, name in enumerate(names)}, self.apart if apart_count else None,
            apart_count, journal.count("state = 'duplicate'"), journal.total("COUNT(*)", "reason", skipped), self._notes(splits),
            bool(self.notes),
        )  # fmt: skip
        facts = {
            "kept": collected.kept,
            "apart": apart_count,
            "duplicates": collected.duplicates,
            "skipped": collected.skipped,
        }
        for folder in (self.folder, collected.apart):
            if folder and (placed or not (folder / history.NAME).exists()):
                history.record(folder, "collect", recipe=self.recipe.what(), **facts)
        return collected

    def _write_tables(self, names: list[str]) -> int:
        """provenance.csv in both folders, skipped.csv, and labels.csv where some have none. Returns how many are
        apart."""

        def rows(apart: int) -> Iterator[dict[str, str]]:
            for item, also in self.journal.kept():
                if item.apart == apart:
                    yield {
                        "file": str(item.file), "source": names[item.source], "address": item.address,
                        "retrieved": str(item.retrieved), "licence": item.licence, "author": item.author,
                        "sha256": str(item.sha256), "label": item.label or "",
                        "also": "; ".join(f"{names[n]}: {address}" for n, address in also),
                    }  # fmt: skip

        skipped = (
            {"source": names[n], "address": a, "label": label or "", "reason": r}
            for n, a, label, r in self.journal.skipped()
        )
        write_csv(self.folder / provenance.NAME, provenance.FIELDS, rows(0))
        write_csv(self.folder / provenance.SKIPPED, provenance.SKIPPED_FIELDS, skipped)
        count = self.journal.count("state = 'kept' AND apart = 1")
        if count:
            write_csv(self.apart / provenance.NAME, provenance.FIELDS, rows(1))
        if self._unlabelled():
            labels = ({"file": row["file"], "label": row["label"]} for row in rows(0) if row["label"])
            write_csv(self.folder / "labels.csv", ("file", "label"), labels)
        return count

    def _unlabelled(self) -> int:
        """How many have no label, where others have one."""
        labelled = self.journal.count("state = 'kept' AND apart = 0 AND label IS NOT NULL")
        return self.journal.count("state = 'kept' AND apart = 0 AND label IS NULL") if labelled else 0

    def _notes(self, splits: bool) -> list[str]:
        notes = [*self.read_as, *self.notes]
        if unlabelled := self._unlabelled():
            notes.append(f"{unlabelled:,} pictures have no label beside others that have one; prepare leaves them out")
        if not splits and self.journal.count("state = 'kept' AND split IS NOT NULL"):
            notes.append("the split of some sources is not kept, since others have none")
        for n, asked in enumerate(self.recipe.sources):
            there = self.journal.count("source = ? AND state = 'kept'", n)
            if asked.cap is not None and there < asked.cap and self.recipe.settings.total:
                notes.append(f"{asked.name} has {there:,} of the {asked.cap:,} that are its share")
        if own := self.journal.count("state = 'kept' AND apart = 0 AND licence = ''"):
            notes.append(f"{own:,} pictures of your folders state no licence")
        return notes


def _mark(path: Path) -> list[Any]:
    """What tells that a source has changed: names and sizes of a folder, the hash of a list, size and time of a zip."""
    if path.is_dir():
        digest = hashlib.sha256()
        for folder, folders, files in os.walk(path):
            folders.sort()
            for file in sorted(files):
                with contextlib.suppress(OSError):
                    digest.update(os.fsencode(f"{folder}/{file}/{(Path(folder) / file).stat().st_size}\n"))
        return [digest.hexdigest()]
    if path.suffix.lower() in lists.SUFFIXES:
        with path.open("rb") as data:
            return [hashlib.file_digest(data, "sha256").hexdigest()]
    info = path.stat()
    return [info.st_size, info.st_mtime_ns]
