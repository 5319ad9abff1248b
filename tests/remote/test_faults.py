"""Slow and failing servers: what is tried again, what is said, and that no wrong density ever comes of it."""

from __future__ import annotations

import random
import time

import pytest
from faults import FAULTS, FaultyProxy
from materials import IDS, density, same

import chgdb
from chgdb.errors import ChgdbError, RemoteError
from chgdb.formats import read

STORE = "twelve.zarr"


def fetched(proxy: FaultyProxy, material_id: str) -> bool:
    """Whether a cold fetch gives the right density."""
    return same(chgdb.open(f"{proxy.url}/{STORE}")[material_id].density, density(material_id))


def outcome(proxy: FaultyProxy, material_id: str) -> str:
    """ "right", "wrong", or the error."""
    try:
        return "right" if fetched(proxy, material_id) else "wrong"
    except ChgdbError as error:
        return str(error)


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault != "gone"])
def test_a_fault_of_every_file_once_costs_only_time(proxy: FaultyProxy, fault: str):
    proxy.reset(lambda path, earlier: fault if earlier == 0 else None)
    assert fetched(proxy, "mat-3")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_for_ever_is_one_clear_line_or_no_harm(proxy: FaultyProxy, fault: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CHGDB_ATTEMPTS", "3")
    proxy.reset(lambda path, earlier: fault if "payload" in path or "lookup" in path else None)
    if fault in ("no range", "wrong range", "unasked part"):  # only ranges or only whole files are concerned
        proxy.reset(lambda path, earlier: fault)
    found = outcome(proxy, "mat-3")
    if fault == "no range":  # then the server sends all of a file, and the first part of it is read
        assert found == "right"
    else:
        assert proxy.url in found
        assert "\n" not in found


@pytest.mark.parametrize("key", ["head.bin", "index/lookup/c/0/0", "index/facts/c/0/0", "payload/c/0"])
@pytest.mark.parametrize("fault", ["503", "reset", "truncated", "corrupted", "gone", "empty"])
def test_a_fault_of_one_file_for_ever(proxy: FaultyProxy, key: str, fault: str, monkeypatch: pytest.MonkeyPatch):
    """What lies outside the payload is made good: the index by the parity, a missing head by the files it copies."""
    monkeypatch.setenv("CHGDB_ATTEMPTS", "2")
    proxy.reset(lambda path, earlier: fault if path.endswith(key) else None)
    found = outcome(proxy, "mat-3")
    good = (key.startswith("index") and fault in ("corrupted", "gone", "empty")) or (key, fault) == ("head.bin", "gone")
    if good:
        assert found == "right"
    else:
        assert found not in ("right", "wrong")
        assert proxy.url in found
        assert "\n" not in found


def test_faults_at_random_never_give_a_wrong_density(proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch, tmp_path):
    """A third of all answers spoiled in every way there is, hundreds of times, the cache in use."""
    monkeypatch.setenv("CHGDB_ATTEMPTS", "4")
    generator = random.Random(1)
    spoiling = [fault for fault in FAULTS if fault != "gone"]
    right = 0
    for attempt in range(60):
        if attempt % 6 == 0:
            monkeypatch.setenv("CHGDB_CACHE", str(tmp_path / f"cache{attempt}"))
        proxy.reset(lambda path, earlier: generator.choice(spoiling) if generator.random() < 0.33 else None)
        material_id = generator.choice(IDS)
        found = outcome(proxy, material_id)
        assert found != "wrong", (attempt, material_id)
        right += found == "right"
    assert right > 50


def test_a_slow_server_costs_its_latency_once_a_step(proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch):
    """500 ms a request: a record is head, index, facts and payload; many records take hardly longer than one."""
    proxy.reset(latency=0.5)
    begin = time.monotonic()
    assert fetched(proxy, "mat-3")
    assert time.monotonic() - begin < 4 * 0.5 + 3
    proxy.reset(latency=0.5)
    monkeypatch.setenv("CHGDB_CACHE_SIZE", "0")
    begin = time.monotonic()
    catalog = chgdb.open(f"{proxy.url}/{STORE}")
    catalog.prefetch(IDS)
    assert all(same(catalog[i].density, density(i)) for i in IDS)
    assert time.monotonic() - begin < 4 * 0.5 + 3


def test_columns_of_a_record_come_at_the_same_time(proxy: FaultyProxy):
    proxy.reset(latency=0.1)
    catalog = chgdb.open(f"{proxy.url}/{STORE}")
    assert catalog["mat-3"].metadata["bulk_modulus"] == 103
    assert proxy.busiest > 8


def test_a_server_that_hangs_counts_as_gone(proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CHGDB_TIMEOUT", "0.3")
    proxy.reset(lambda path, earlier: "hang" if earlier < 1 else None)
    assert fetched(proxy, "mat-3")
    monkeypatch.setenv("CHGDB_ATTEMPTS", "1")
    proxy.reset(lambda path, earlier: "hang")
    monkeypatch.setenv("CHGDB_CACHE_SIZE", "0")
    with pytest.raises(RemoteError, match=r"no answer \(nothing for 0.3 s\); try again later"):
        chgdb.open(f"{proxy.url}/{STORE}")


def test_pauses_grow_and_a_server_may_ask_for_longer_ones(monkeypatch: pytest.MonkeyPatch):
    from chgdb.remote import transport

    pauses: list[float] = []
    monkeypatch.setattr(transport, "_FIRST_PAUSE", 0.25)
    monkeypatch.setattr(transport.time, "sleep", pauses.append)

    def action() -> None:
        raise transport.TransientError("busy", 3.0 if len(pauses) == 2 else 1000.0 if len(pauses) == 3 else 0.0)

    with pytest.raises(RemoteError, match="it: busy, 5 times; try again later"):
        transport.retrying(action, "it")
    assert 0.125 <= pauses[0] <= 0.25 <= pauses[1] <= 0.5
    assert pauses[2:] == [3.0, 30.0]


@pytest.mark.parametrize("fault", ["truncated", "reset", "503"])
def test_a_density_file_at_a_url(proxy: FaultyProxy, served, fault: str):
    chgdb.write(served / "CHGCAR.gz", density("mat-1"))
    proxy.reset(lambda path, earlier: fault if earlier == 0 else None)
    assert same(read(f"{proxy.url}/CHGCAR.gz"), read(served / "CHGCAR.gz"))
    with pytest.raises(ChgdbError, match=r"nothing/CHGCAR: there is no such file"):
        read(f"{proxy.url}/nothing/CHGCAR")
