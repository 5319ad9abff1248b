"""One time for all that comes before an answer: the look-up of a name, all addresses of a host, the way by a proxy.

In a network of its own, with a real name server that keeps silent and real addresses that never accept.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

NAMESPACES = ["unshare", "--user", "--map-root-user", "--mount", "--net"]


def _possible() -> bool:
    if not shutil.which("unshare") or not shutil.which("ip"):
        return False
    return (
        subprocess.run([*NAMESPACES, "mount", "--bind", "/etc/hosts", "/etc/hosts"], capture_output=True).returncode
        == 0
    )


@pytest.fixture(scope="module")
def found() -> dict[str, tuple[float, str]]:
    """Seconds and message for each host of `hosts.py`, with a timeout of one second."""
    if not _possible():
        pytest.skip("needs unshare, ip and namespaces of one's own (Linux)")
    script = Path(__file__).with_name("hosts.py")
    environment = {"CHGDB_TIMEOUT": "1", "CHGDB_ATTEMPTS": "1", "CHGDB_DEADLINE": "1"}
    ended = subprocess.run(
        [*NAMESPACES, sys.executable, str(script)], capture_output=True, text=True, timeout=60,
        env=os.environ | environment,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.mark.parametrize("kind", ["http ", "https ", "proxy ", "s3 "])
def test_a_name_service_that_keeps_silent(found: dict[str, tuple[float, str]], kind: str):
    if f"{kind}silent.test" not in found:
        pytest.skip("needs obstore: pip install 'chgdb[test]'")
    seconds, said = found[f"{kind}silent.test"]
    assert seconds < 3, said
    assert kind == "s3 " or "no answer of the name service" in said


@pytest.mark.parametrize("kind", ["http", "https", "proxy"])
def test_all_addresses_of_a_host_share_one_time(found: dict[str, tuple[float, str]], kind: str):
    seconds, said = found[f"{kind} holes.test"]
    assert seconds < 3, said
    assert "nothing for 1 s" in said


def test_the_last_address_gets_its_share(found: dict[str, tuple[float, str]]):
    seconds, said = found["http last.test"]
    assert said == "found"
    assert seconds < 1.5
