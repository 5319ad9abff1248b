"""All pairs of commands that write, at the same time to the same place; their number goes into docs/science/trust.md.

    python tests/crash/pairs.py                    every pair, some rounds
    python tests/crash/pairs.py --rounds 20        more of them
    python tests/crash/pairs.py --only merge --add pairs with this command alone, added to the table there is

In a round two processes begin within some milliseconds of each other, while another one reads. Afterwards

- each command has ended well, or with one line that says why it did nothing;
- at least one of them has ended well where one of them alone does;
- what a command has done that ended well is there, unless the other one has put something else in its place;
- what was there before is there, unless one of them was asked to replace it;
- what is there is whole, and nothing lies beside it;
- whoever read meanwhile has seen whole versions only.

The exit code is 1 where anything was wrong.
"""

from __future__ import annotations

import argparse
import io
import itertools
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "remote"), str(TESTS / "benchmarks"), str(TESTS / "crash")]

from codec_report import load as load_data  # noqa: E402
from codec_report import publish, table  # noqa: E402
from latent_models import save_model  # noqa: E402
from machine import Ended, Machine  # noqa: E402
from materials import IDS, density, load  # noqa: E402
from scenarios import place  # noqa: E402

import chgdb  # noqa: E402
from chgdb import views  # noqa: E402
from chgdb.errors import ChgdbError, StoreError  # noqa: E402
from chgdb.formats import write_structure  # noqa: E402
from chgdb.ingest import build_from  # noqa: E402
from chgdb.latents import files as latent_files  # noqa: E402
from chgdb.verification import verify  # noqa: E402
from chgdb.web.site import export  # noqa: E402

SCIENCE = TESTS.parent / "docs" / "science"
NAME, PAGE = "pairs", "trust"
#: Longest time in seconds that one command begins after the other.
DELAY = 0.25
#: What a command that does nothing says, and rightly.
_REFUSALS = (
    "another command is writing to it", "exists already", "something else than a", "there is no such store",
    "is a store; name another folder", "there is no store", "has no material", "is the id of another material",
)  # fmt: skip


@dataclass(frozen=True)
class Writer:
    """A command. `{target}` in its arguments stands for the place that both of a pair write to.

    did: whether what it was to do is seen at a place. replaces: whether it puts something else in the place of all that
    was there. takes: ids of what was there that it takes away. of: what it writes.
    """

    name: str
    arguments: tuple[str, ...]
    did: Callable[[Path], bool]
    replaces: bool = False
    of: str = "store"
    takes: tuple[str, ...] = ()


@dataclass
class Counts:
    """What was tried and found. wrong: a line for each thing that was not right."""

    rounds: int = 0
    refused: int = 0
    looks: int = 0
    wrong: list[str] = field(default_factory=list)


def _ids(target: Path) -> list[str]:
    try:
        return chgdb.open(target.absolute()).ids
    except StoreError:
        return []


class Pairs:
    """The writers, and what they need."""

    def __init__(self, folder: Path, *, latents: bool = True) -> None:
        """latents: with the commands that need torch."""
        self.folder = folder
        exact: dict[str, Any] = {"tolerance": 0, "prior": None, "workers": 1}
        self.source = folder / "source.zarr"
        build_from(self.source, IDS[:2], load, **exact)
        self.published = folder / "published.zarr"
        build_from(self.published, IDS[6:8], load, **exact)
        self.before = folder / "before.zarr"
        build_from(self.before, IDS[2:4], load, **exact)
        (folder / "inputs" / IDS[4]).mkdir(parents=True)
        chgdb.write(folder / "inputs" / IDS[4] / "CHGCAR", density(IDS[4]))
        self.machine = Machine(folder, faults=False)
        self.writers = [*self._stores(), *self._files(), *self._sites()]
        if latents:
            self.writers += self._latents(save_model(folder / "model", [density(i) for i in IDS[:3]]))

    def close(self) -> None:
        """End the process."""
        self.machine.close()

    def _build(self, *more: str) -> tuple[str, ...]:
        exact = ("--tolerance", "0", "--prior", "none", "--workers", "1", "--no-extras", "-q")
        return ("build", "{target}", str(self.folder / "inputs"), *exact, *more)

    def _stores(self) -> Iterator[Writer]:
        record = ("--catalog", str(self.source), "-o", "{target}")
        yield Writer("fetch", ("fetch", IDS[0], *record), lambda t: _ids(t) != [] and IDS[0] in _ids(t))
        yield Writer("fetch --force", ("fetch", IDS[1], *record, "--force"), lambda t: IDS[1] in _ids(t), True)
        both = ("merge", "{target}", str(self.source), str(self.published), "--force", "-q")
        yield Writer("merge", both, lambda t: {*IDS[:2], *IDS[6:8]} <= set(_ids(t)), True)
        table = self.folder / "mass.csv"
        table.write_text("".join(["material_id,mass\n", *(f"{i},{n}\n" for n, i in enumerate(IDS))]))
        yield Writer("add-columns", ("add-columns", "{target}", str(table)), _has_mass)
        part = ("subset", str(self.source), "-o", "{target}", "--force", IDS[1])
        yield Writer("subset", part, lambda t: IDS[1] in _ids(t), True)
        yield Writer("remove", ("remove", "{target}", IDS[2]), lambda t: IDS[2] not in _ids(t), takes=(IDS[2],))
        named = ("rename", "{target}", IDS[3], "renamed")
        yield Writer("rename", named, lambda t: "renamed" in _ids(t) and IDS[3] not in _ids(t), takes=(IDS[3],))
        yield Writer("build", self._build(), lambda t: IDS[4] in _ids(t))
        yield Writer("build --predict", self._build("--predict"), _has_view)
        yield Writer("publish", ("publish", str(self.published), "{target}", "-q"), self._is_published, True)
        yield Writer("pull", ("pull", f"file://{self.published}", "{target}", "-q"), self._is_published, True)

    def _latents(self, model: Path) -> Iterator[Writer]:
        of_model = ("--model", str(model))
        yield Writer("build --latents", self._build("--latents", *of_model), _has_latents)
        density_file = str(self.folder / "inputs" / IDS[4] / "CHGCAR")
        encode = ("encode", density_file, "-o", "{target}", "--force", *of_model)
        yield Writer("encode latent.zarr", encode, _is_latent)

    def _files(self) -> Iterator[Writer]:
        records = {IDS[0]: self.source, IDS[6]: self.published}
        for material_id, store in records.items():
            expected = chgdb.open(store)[material_id].decode().total
            arguments = ("fetch", material_id, "--catalog", str(store), "--decode", "-o", "{target}", "--force")
            yield Writer(
                f"fetch --decode {material_id}", (*arguments, "--format", "npz"), lambda t, e=expected: _holds(t, e),
                True, "file",
            )  # fmt: skip
        source = self.folder / "density.npz"
        chgdb.write(source, density(IDS[5]))
        expected = density(IDS[5]).total
        yield Writer(
            "convert", ("convert", str(source), "{target}", "--force"), lambda t: _holds(t, expected), True, "file"
        )

        poscar = self.folder / "POSCAR"
        write_structure(poscar, chgdb.open()["mp-149"].crystal)
        combined, guessed = chgdb.read(source).total * 2, self.folder / "guessed.npz"
        arguments = ("combine", "2", "x", str(source), "-o", "{target}", "--force")
        yield Writer("combine", arguments, lambda t: _holds(t, combined), True, "file")
        estimate = ("estimate", str(poscar), "--grid", "12x12x12", "--force", "-o")
        assert self.machine.run_together([[*estimate, str(guessed)]], [0.0], self.folder, {})[0].code == 0
        estimated = chgdb.read(guessed).total
        yield Writer("estimate", (*estimate, "{target}"), lambda t: _holds(t, estimated), True, "file")

    def _sites(self) -> Iterator[Writer]:
        for store in (self.source, self.published):
            ids = _ids(store)
            yield Writer(
                f"web --export {store.stem}", ("web", "--export", "{target}", str(store)),
                lambda t, ids=ids: (t / "index.html").exists() and _ids(t / "store") == ids, True, "site",
            )  # fmt: skip

    def _is_published(self, target: Path) -> bool:
        return set(IDS[6:8]) <= set(_ids(target))

    def pairs(self) -> list[tuple[Writer, Writer, bool]]:
        """Every two commands that write the same kind of thing, a command with itself too; with something there before
        and without."""
        found = []
        for first, second in itertools.combinations_with_replacement(self.writers, 2):
            if first.of == second.of:
                found += [(first, second, there) for there in (False, True)]
        return found

    def run(self, first: Writer, second: Writer, there: bool, choice: random.Random, counts: Counts) -> None:
        """One round of a pair. there: whether there is a store (a file) before."""
        root = self.folder / "round"
        root.mkdir()
        target = root / {"store": "s.zarr", "site": "site", "file": "density.npz"}[first.of]
        if there and first.of == "store":
            shutil.copytree(self.before, target)
        elif there and first.of == "site":
            export(target, self.before)
        elif there:
            chgdb.write(target, density(IDS[2]))
        pair, delays = [first, second], [0.0, choice.random() * DELAY]
        choice.shuffle(delays)
        commands = [[argument.format(target=target) for argument in writer.arguments] for writer in pair]
        stop, seen = threading.Event(), Counts()
        seen_at = target / "store" if first.of == "site" else target
        reader = threading.Thread(target=_read, args=(seen_at, stop, seen))
        reader.start()
        try:
            ended = self.machine.run_together(commands, delays, root, {"CHGDB_CACHE": str(self.folder / "cache")})
        finally:
            stop.set()
            reader.join()
        counts.rounds += 1
        counts.looks += seen.looks
        counts.refused += sum(end.code == 1 for end in ended)
        name = f"{first.name} and {second.name}, {'over another' if there else 'new'}"
        try:
            found = list(self._judge(target, pair, ended, there))
        except ChgdbError as error:
            found = [f"what is there cannot be read: {error}"]
        for problem in [*seen.wrong, *found]:
            counts.wrong.append(f"{name}, delays {delays}: {problem}")
        shutil.rmtree(root)

    def _judge(self, target: Path, pair: list[Writer], ended: list[Ended], there: bool) -> Iterator[str]:
        well = [end.code == 0 for end in ended]
        for writer, end in zip(pair, ended, strict=True):
            lines = end.err.splitlines()
            if end.code and not (end.code == 1 and len(lines) == 1 and any(text in lines[0] for text in _REFUSALS)):
                yield f"{writer.name} ended with {end.code}: {end.err!r}"
        alone = ("fetch", "encode latent.zarr", "add-columns", "remove", "rename")  # each can have nothing to do
        if not any(well) and not all(writer.name in alone for writer in pair):
            yield f"neither has ended well: {[end.err for end in ended]}"
        for k, writer in enumerate(pair):
            other = pair[1 - k]
            overwritten = well[1 - k] and (other.replaces or _drops(other, writer))
            if well[k] and not overwritten and not writer.did(target):
                yield f"{writer.name} has ended well, and left nothing: {_ids(target)}"
        replaced = any(good and writer.replaces for good, writer in zip(well, pair, strict=True))
        taken = {i for good, writer in zip(well, pair, strict=True) if good for i in writer.takes}
        if target.is_dir() and not _is_latent(target):
            if not verify(target / "store" if pair[0].of == "site" else target, deep=True).ok:
                yield "the store is not whole"
            if there and not replaced and not set(IDS[2:4]) - taken <= set(_ids(target)):
                yield f"what was there is lost: {_ids(target)}"
        inside = target.glob(".*") if pair[0].of == "site" else ()
        if left := [path.name for path in (*target.parent.iterdir(), *inside) if path != target]:
            yield f"left beside it: {left}"


def _drops(writer: Writer, other: Writer) -> bool:
    """Whether a build takes what another one has computed out of a store: predictions, of materials before."""
    return other.name == "build --predict" and writer.name.startswith("build")


def _has_mass(target: Path) -> bool:
    return bool(_ids(target)) and "mass" in chgdb.open(target.absolute()).columns


def _has_view(target: Path) -> bool:
    return IDS[4] in _ids(target) and bool(views.names(chgdb.open(target.absolute())))


def _has_latents(target: Path) -> bool:
    return IDS[4] in _ids(target) and chgdb.open(target.absolute()).latent_model is not None


def _is_latent(target: Path) -> bool:
    try:
        return latent_files.read(target).crystal is not None
    except ChgdbError:
        return False


def _holds(target: Path, expected: Any) -> bool:
    total = chgdb.read(target).total
    return bool(total.shape == expected.shape and (total == expected).all())


def _read(target: Path, stop: threading.Event, seen: Counts) -> None:
    """Look at the place again and again: what can be opened must be right."""
    began = target.exists()
    while not stop.wait(0.01):
        try:
            if target.name.endswith(".npz"):
                assert chgdb.read(target).total.size
            else:
                catalog = chgdb.open(target.absolute())
                assert catalog.ids
                assert catalog[catalog.ids[0]].decode().total.size
            seen.looks += 1
        except ChgdbError as error:
            if "has no material" in str(error):  # replaced between the two answers
                continue
            known = ("there is no such", "No such file", "not a chgdb store", "is gone")
            if began or not any(text in str(error) for text in known):
                seen.wrong.append(f"a reader: {error}")
                return


def main() -> None:
    parser = argparse.ArgumentParser(description="All pairs of commands that write, at the same time.")
    parser.add_argument("--rounds", type=int, default=3, help="of each pair")
    parser.add_argument("--only", default="", help="parts of commands' names, with commas: pairs with one of them")
    parser.add_argument("--add", action="store_true", help="to the table that there is; pairs without rounds first")
    parser.add_argument("--minutes", type=float, default=1e6, help="after which no further pair begins")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="chgdb-pairs-", dir=place(Path(tempfile.gettempdir()))))
    tried = Pairs(folder)
    results: dict[str, Counts] = {}
    only = [part.strip() for part in options.only.split(",")]
    before = load_data(SCIENCE, NAME, PAGE)["pairs"] if options.add else {}
    nothing, end = [0, 0, 0, 0], time.monotonic() + 60 * options.minutes
    try:
        for first, second, there in sorted(
            tried.pairs(), key=lambda p: before.get(f"{p[0].name} + {p[1].name}", nothing)[0]
        ):
            if time.monotonic() > end:
                break
            if not any(part in name for part in only for name in (first.name, second.name)):
                continue
            choice = random.Random(f"{first.name} {second.name} {there}")
            counts = Counts()
            for _ in range(options.rounds):
                tried.run(first, second, there, choice, counts)
            name = f"{first.name} + {second.name}"
            found = results.setdefault(name, Counts())
            for key in ("rounds", "refused", "looks"):
                setattr(found, key, getattr(found, key) + getattr(counts, key))
            found.wrong += counts.wrong
            print(f"{name}, {'over another' if there else 'new'}: {len(counts.wrong)} wrong", *counts.wrong, sep="\n  ")
    finally:
        tried.close()
        shutil.rmtree(folder)
    rows = [[name, c.rounds, c.refused, c.looks, len(c.wrong)] for name, c in results.items()]
    if options.add:
        counted = {row[0]: row[1:] for row in rows}
        names = [*before, *(name for name in counted if name not in before)]
        rows = [[n, *map(sum, zip(before.get(n, nothing), counted.get(n, nothing), strict=True))] for n in names]
    total = [sum(row[k] for row in rows) for k in range(1, 5)]
    text = f"{len(rows)} pairs, {total[0]:,} rounds, {total[2]:,} looks of readers, {total[3]} wrong.\n\n" + table(
        ["commands", "rounds", "refused", "looks", "wrong"], [*rows, ["**all**", *total]]
    )
    data = {name: counts for name, *counts in rows}
    if options.add or not options.only:
        with redirect_stdout(io.StringIO()):
            publish(SCIENCE, NAME, text, {"pairs": data}, PAGE)
    sys.exit(total[3] > 0)


if __name__ == "__main__":
    main()
