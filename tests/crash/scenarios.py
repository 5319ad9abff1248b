"""The commands that write, each with a place before it, and what may be found there after it was cut short."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from latent_models import save_model
from machine import Ended, Machine
from materials import IDS, atoms, contents, density, load_changed
from nginx import Nginx
from s3 import S3Server

import chgdb
from chgdb.store.head import HEAD
from chgdb.verification import verify

#: Faults of a disk and of a network, in the order of the tables.
DISK = ("kill -9", "disk full", "read-only", "no permission", "one error")
NETWORK = ("kill -9", "no network", "one error")
#: Files that are allowed to differ: the time of publishing is in one of them.
_DATED = "release.json"
_CACHE = "cache"


@dataclass(frozen=True)
class Scenario:
    """One command. `{root}` in its arguments stands for the folder in which every write is a step.

    before: folder whose contents are copied to the root first. states: the root's visible files that are right after
    a cut (the last one: when it is finished), made by running the command, and the ones it consists of, undisturbed.
    look: what takes the place of the visible files. network: steps are exchanges with a server. steps: how many it
    takes. tolerant: it may end well, with a warning, although the fault was there to the end (a cache is a help).
    """

    name: str
    arguments: tuple[str, ...]
    before: Path | None = None
    states: tuple[Any, ...] = ()
    look: Callable[[Path], Any] | None = None
    network: bool = False
    tolerant: bool = False
    steps: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[Path], None] | None = None

    @property
    def faults(self) -> tuple[str, ...]:
        return NETWORK if self.network else DISK

    def start(self, root: Path) -> None:
        """Make the root as it is before the command."""
        if self.before is None:
            root.mkdir()
        else:
            shutil.copytree(self.before, root)
        if self.prepare is not None:
            self.prepare(root)

    def run(self, machine: Machine, root: Path, fault: str = "none", step: int = 0) -> Ended:
        arguments = [argument.format(root=root, name=root.name) for argument in self.arguments]
        environment = {"CHGDB_CACHE": str(root / _CACHE), "CHGDB_ATTEMPTS": "2", **self.environment}
        return machine.run(arguments, root, fault, step, network=self.network, environment=environment)

    def state(self, root: Path) -> Any:
        return visible(root) if self.look is None else self.look(root)


def visible(root: Path) -> dict[str, bytes]:
    """Files that are nobody's work in progress."""
    return {
        key: data
        for key, data in contents(root).items()
        if not hidden(key) and not key.startswith(f"{_CACHE}/") and not key.endswith(_DATED)
    }


def hidden(key: str) -> bool:
    return key.endswith(".part") or any(part.startswith((".", "tmp")) for part in key.split("/"))


def litter(root: Path) -> list[str]:
    """Files and folders that no command may leave behind for good."""
    return sorted(key for path in root.rglob("*") if hidden(key := path.relative_to(root).as_posix()))


def classes(steps: Sequence[str]) -> dict[str, list[int]]:
    """Steps (from 1) of one kind together: the same call on files of the same name, whichever column they are of."""
    found: dict[str, list[int]] = {}
    for number, step in enumerate(steps, 1):
        call, _, path = step.partition(" ")
        parts = re.sub(r"tmp\w{8}|[0-9a-f]{16,}|\d+", "#", path).split("/")
        column = len(parts) > 2 and not parts[1].endswith(".journal") and "." not in parts[-1]
        found.setdefault(" ".join([call, *parts[1:2], "*" if column else parts[-1]]), []).append(number)
    return found


def inject(scenario: Scenario, machine: Machine, root: Path, fault: str, step: int) -> list[str]:
    """Run a command with a fault, look at what is there, and run it again; everything that is wrong then."""
    wrong = []
    scenario.start(root)
    ended = scenario.run(machine, root, fault, step)
    state = scenario.state(root)
    reached = len(ended.steps) >= step
    said = ended.err.splitlines()
    if scenario.tolerant and said and "the cache" in said[0]:
        said = said[1:]
    if fault == "kill -9" and reached:
        if ended.code != -9:
            wrong.append(f"not killed: exit code {ended.code}, {ended.err!r}")
    elif ended.code == 1:
        if len(said) != 1 or not said[0].startswith("chgdb: ") or "unexpected" in said[0]:
            wrong.append(f"exit code 1 with {ended.err!r}")
    elif ended.code != 0:
        wrong.append(f"exit code {ended.code} with {ended.err!r}")
    elif state != scenario.states[-1]:
        wrong.append(f"exit code 0, and it is not finished: {ended.err!r}")
    elif said:
        wrong.append(f"exit code 0 with {ended.err!r}")
    if state not in scenario.states:
        wrong.append(f"neither the old nor the new state: {_described(state)}")
    again = scenario.run(machine, root)
    if again.code != 0 or again.err:
        wrong.append(f"run again: exit code {again.code}, {again.err!r}")
    if scenario.state(root) != scenario.states[-1]:
        wrong.append(f"run again: not finished: {_described(scenario.state(root))}")
    if left := litter(root):
        wrong.append(f"run again: it leaves {left[:5]}")
    at = ended.steps[step - 1] if reached else "(not reached)"
    shutil.rmtree(root)
    return [f"{scenario.name}, {fault} at step {step}, {at}: {text}" for text in wrong]


def _described(state: Any) -> str:
    return ", ".join(f"{k} ({len(v)})" for k, v in list(state.items())[:8]) if isinstance(state, dict) else repr(state)


# The commands --------------------------------------------------------------------------------------------------------


#: Scenarios that are made together, and the modules that they need with the extra that brings each.
GROUPS: dict[str, dict[str, str]] = {
    "build": {},
    "predictions": {},
    "latents": {"torch": "ml"},
    "files": {},
    "pictures": {"matplotlib": "plot"},
    "folders": {},
    "web": {},
    "buckets": {"s3fs": "remote", "moto": "test", "boto3": "test"},
}


class Maker:
    """Makes the places before commands by running commands, and from them scenarios."""

    def __init__(self, folder: Path) -> None:
        self.machine, self.folder = Machine(folder), folder
        self.scenarios: dict[str, Scenario] = {}
        self._places = 0
        self._closing = ExitStack()
        self._closing.callback(self.machine.close)
        for name, made in (("first", IDS[:2]), ("more", IDS[2:3])):
            for material_id in made:
                self._input(name, material_id, density(material_id))
        self._input("more", IDS[1], load_changed(IDS[1])[0])
        for material_id in IDS[:2]:
            self._input("atoms", material_id, atoms(material_id))
        self.one, self.other = (str(folder / "first" / i / "CHGCAR.gz") for i in (IDS[1], IDS[0]))
        self.small = self._after(None, self._build("first"))
        self.grown = self._after(self.small, self._build("more"))

    def close(self) -> None:
        """End the servers."""
        self._closing.close()

    def make(self, group: str) -> dict[str, Scenario]:
        """The scenarios of a group. Raises `FileNotFoundError` where a server that they need is not installed."""
        self.scenarios = {}
        getattr(self, group)()
        return self.scenarios

    def _input(self, name: str, material_id: str, what: chgdb.Density) -> None:
        path = self.folder / name / material_id / "CHGCAR.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        chgdb.write(path, what)

    def _build(self, name: str, *more: str) -> tuple[str, ...]:
        exact = ("--tolerance", "0", "--prior", "none", "--workers", "1", "--no-extras", "-q")
        return ("build", "{root}/s.zarr", str(self.folder / name), "--replace", *exact, *more)

    def _after(self, before: Path | None, arguments: Sequence[str], **settings: Any) -> Path:
        """The place that a command leaves."""
        return self._run(before, arguments, **settings)[0]

    def _run(self, before: Path | None, arguments: Sequence[str], **settings: Any) -> tuple[Path, int]:
        """The place that a command leaves, and how many steps it took."""
        self._places += 1
        root = self.folder / f"place-{self._places}"
        step = Scenario("", tuple(arguments), before, **settings)
        step.start(root)
        ended = step.run(self.machine, root)
        assert ended.code == 0, ended.err
        assert litter(root) == []
        return root, len(ended.steps)

    def add(
        self, name: str, arguments: Sequence[str], before: Path | None = None, between: Sequence[Path] = (), **more: Any
    ) -> Path:
        """A scenario whose last state is what its command makes; between: places on the way that are right too."""
        settings = {key: more[key] for key in ("environment", "prepare", "look", "network") if key in more}
        done, steps = self._run(before, arguments, **settings)
        for store in done.glob("*.zarr"):
            if (store / "checksums.txt").exists():
                assert verify(store, deep=True).ok
        look = more.get("look") or visible
        first = visible(before) if before is not None else {}
        states = more.pop("states", None) or (first, *(look(place) for place in between), look(done))
        self.scenarios[name] = Scenario(name, tuple(arguments), before, states, steps=steps, **more)
        return done

    def build(self) -> None:
        """Building: new, growing, with a fitted prior."""
        self.add("build, a new store", self._build("first"))
        self.add("build, more and changed materials", self._build("more"), self.small)
        fitted = ("--prior", "fit", "--tolerance", "1e-3", "--effort", "fast", "--workers", "1", "--no-extras", "-q")
        self.add("build --prior fit", ("build", "{root}/s.zarr", str(self.folder / "atoms"), *fitted))

    def predictions(self) -> None:
        """Predicted properties: added, and kept up to date by a build that does not mention them."""
        predict = ("build", "{root}/s.zarr", "--predict", "--workers", "1", "-q")
        predicted = self.add("build --predict", predict, self.small)
        bare = self._after(predicted, self._build("more", "--no-predict"))
        self.add("build, more, with predictions", self._build("more"), predicted, [bare])

    def latents(self) -> None:
        """Latents of a store, and files of latents."""
        model = ("--model", str(save_model(self.folder / "small", [density(i) for i in IDS[:3]])))
        latents = ("build", "{root}/s.zarr", "--latents", *model, "--workers", "1", "-q")
        first = self.add("build --latents", latents, self.small)
        grow = self._build("more", "--latents", *model)
        self.add("build, more, --latents", grow, first, [self._after(first, self._build("more"))])
        for name in ("latent.npy", "latent.zarr"):
            before = self._after(None, ("encode", self.other, "-o", f"{{root}}/{name}", *model))
            encode = ("encode", self.one, "-o", f"{{root}}/{name}", "--force", *model)
            self.add(f"encode, {name} over another", encode, before)
        latent = str(before / "latent.zarr")
        self.add("decode", ("decode", latent, "-o", "{root}/CHGCAR", "--force", *model))

    def files(self) -> None:
        """Commands that write one file or one record, over another one."""
        for name in ("CHGCAR.gz", "density.cube", "density.npz"):
            before = self._after(None, ("convert", self.other, f"{{root}}/{name}"))
            self.add(f"convert, {name} over another", ("convert", self.one, f"{{root}}/{name}", "--force"), before)
        store = ("--catalog", str(self.small / "s.zarr"))
        fetch = ("fetch", IDS[0], *store, "--decode", "-o", "{root}/out/CHGCAR")
        done = self.add("fetch --decode", fetch)
        self.add("fetch --decode, the same again", fetch, done)
        self.add("fetch, a record", ("fetch", IDS[0], *store, "-o", "{root}/one.zarr", "--force"))
        before = self._after(None, ("fetch", IDS[1], *store, "-o", "{root}/one.zarr"))
        over = ("fetch", IDS[0], *store, "-o", "{root}/one.zarr", "--force")
        self.add("fetch, a record over another", over, before)

    def pictures(self) -> None:
        before = self._after(None, ("plot", self.other, "-o", "{root}/slice.png"))
        self.add("plot over another", ("plot", self.one, "-o", "{root}/slice.png", "--force"), before)

    def folders(self) -> None:
        """Publishing to a folder."""
        before = self.add("publish, a new folder", ("publish", str(self.small / "s.zarr"), "{root}/s.zarr", "-q"))
        self.add("publish over another", ("publish", str(self.grown / "s.zarr"), "{root}/s.zarr", "-q"), before)

    def web(self) -> None:
        """Pulling and fetching from a web server: disk and network."""
        served = self.folder / "served"
        served.mkdir()
        server = Nginx(served, self.folder / "nginx")
        self._closing.callback(server.close)
        for name, made in (("old", self.small), ("new", self.grown)):
            self._after(None, ("publish", str(made / "s.zarr"), str(served / name), "-q"))
        old, new = f"{server.url}/old", f"{server.url}/new"
        pull = ("pull", new, "{root}/s.zarr", "-q")
        before = self._after(None, ("pull", old, "{root}/s.zarr", "-q"))
        fetch = ("fetch", IDS[1], "--catalog", new, "--decode", "-o", "{root}/CHGCAR")
        used = self._after(None, ("fetch", IDS[0], "--catalog", old, "--decode", "-o", "{root}/other"))
        for network in (False, True):
            where = " (network)" if network else ""
            self.add(f"pull, a new store{where}", pull, network=network)
            self.add(f"pull over another{where}", pull, before, network=network)
            self.add(f"fetch into an empty cache{where}", fetch, network=network, tolerant=not network)
        bounded = {"CHGDB_CACHE_SIZE": "40kB"}
        self.add("fetch into a full cache", fetch, used, tolerant=True, environment=bounded)
        before = contents(used)

        def look(root: Path) -> str:
            """Of a cache there may be any part, unchanged."""
            left = {key: data for key, data in contents(root).items() if key.startswith(_CACHE)}
            return "damaged" if left.items() - before.items() else "some" if left else "none"

        self.add("cache clear", ("cache", "clear"), used, look=look, states=("some", "none"))

    def buckets(self) -> None:
        """Publishing to a bucket of S3, every point below a prefix of its own."""
        folder = self.folder / "server"
        folder.mkdir()
        server = S3Server(folder)
        self._closing.callback(server.close)
        patch = self._closing.enter_context(pytest.MonkeyPatch.context())
        server.environment(patch)
        patch.setenv("CHGDB_CACHE", str(folder / "cache"))
        settings = {name: os.environ[name] for name in os.environ if name.startswith("AWS_")}
        settings["AWS_MAX_ATTEMPTS"] = "1"
        bucket = server.bucket()

        def keys(prefix: str) -> list[str]:
            pages = server.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/")
            return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

        def look(root: Path) -> Any:
            """Version that readers see, once all of it is verified; None where there is none yet."""
            if f"{root.name}/{HEAD}" not in keys(root.name):
                return None
            catalog = chgdb.open(f"s3://{bucket}/{root.name}")
            return catalog.store.token if verify(catalog.path).ok else "damaged"

        def prepare(root: Path) -> None:
            for key, data in old.items():
                server.client.put_object(Bucket=bucket, Key=f"{root.name}/{key}", Body=data)

        more = {"look": look, "network": True, "environment": settings}
        first = ("publish", str(self.small / "s.zarr"), f"s3://{bucket}/{{name}}", "-q")
        second = ("publish", str(self.grown / "s.zarr"), f"s3://{bucket}/{{name}}", "-q")
        done = self._after(None, first, **more)
        old = {
            key.partition("/")[2]: server.client.get_object(Bucket=bucket, Key=key)["Body"].read()
            for key in keys(done.name)
        }
        states = (None, look(done))
        self.add("publish, a new bucket (network)", first, states=states, **more)
        more["prepare"] = prepare
        states = (states[1], look(self._after(None, second, **more)))
        self.add("publish over another in a bucket (network)", second, states=states, **more)


def place(folder: Path) -> Path:
    """Where faults are injected: in memory where there is such a file system, since flushing to a disk takes longer
    than all the rest."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() and os.access(memory, os.W_OK) else folder
