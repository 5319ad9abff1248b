"""Hosts that nobody answers for, in a network of their own: run in its namespaces by `test_waits.py`.

    unshare --user --map-root-user --mount --net PYTHON hosts.py

A name server on loopback, which the system's resolver asks, knows

- silent.test: it never answers;
- holes.test: five addresses where connections are never accepted (sockets whose queues are full);
- last.test: four such addresses, and one where there is a server.

JSON of what became of each: seconds, and the answer or the message.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripted import ScriptedServer, answer

from chgdb.errors import RemoteError
from chgdb.remote.connect import connect, read_file

PORT = 8080
HOLES = [f"127.0.1.{k}" for k in range(1, 6)]
NAMES = {"holes.test": HOLES, "last.test": [*HOLES[:4], "127.0.2.1"]}


def network() -> None:
    """Loopback up, and the resolver's settings ours; for this process's namespaces alone."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    settings = {"/etc/resolv.conf": "nameserver 127.0.0.1\noptions timeout:30 attempts:2\n",
                "/etc/nsswitch.conf": "hosts: dns\n", "/etc/gai.conf": ""}  # fmt: skip
    for path, text in settings.items():
        if not os.path.exists(path):
            continue
        with tempfile.NamedTemporaryFile("w", delete=False) as file:
            file.write(text)
        subprocess.run(["mount", "--bind", file.name, path], check=True)


def name_server() -> None:
    """Answers what `NAMES` knows (A alone), and nothing to the rest."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))
    while True:
        query, sender = server.recvfrom(512)
        end, labels = 12, []
        while query[end]:
            labels.append(query[end + 1 : end + 1 + query[end]].decode())
            end += query[end] + 1
        addresses = NAMES.get(".".join(labels).lower())
        if addresses is None:
            continue
        question = query[12 : end + 5]
        found = addresses if question[-3] == 1 else []  # else AAAA
        records = [b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04" + socket.inet_aton(a) for a in found]
        head = query[:2] + b"\x85\x80\x00\x01" + len(found).to_bytes(2, "big") + bytes(4)
        server.sendto(head + question + b"".join(records), sender)


def hole(address: str) -> list[socket.socket]:
    """A socket whose queue is full: the system drops what else wants to connect."""
    server = socket.socket()
    server.bind((address, PORT))
    server.listen(0)
    kept = [server]
    for _ in range(3):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex((address, PORT))
        kept.append(client)
    return kept


def timed(action: Callable[[], bytes | None]) -> tuple[float, str]:
    """Seconds that it takes, and the answer or the message."""
    begin = time.monotonic()
    try:
        said = (action() or b"").decode()
    except RemoteError as error:
        said = str(error)
    return time.monotonic() - begin, said


def fetched(url: str) -> tuple[float, str]:
    return timed(lambda: read_file(url))


def main() -> None:
    network()
    kept = [hole(address) for address in HOLES]
    threading.Thread(target=name_server, daemon=True).start()
    server = ScriptedServer(answer(b"found"), host="127.0.2.1", port=PORT)
    found = {}
    for kind in ("http", "https"):
        for name in ("silent.test", "holes.test"):
            found[f"{kind} {name}"] = fetched(f"{kind}://{name}:{PORT}/x")
    found["http last.test"] = fetched(f"http://last.test:{PORT}/x")
    for name in ("silent.test", "holes.test"):
        os.environ["https_proxy"] = f"http://{name}:{PORT}"
        found[f"proxy {name}"] = fetched("https://example.test/x")
    if find_spec("obstore"):
        os.environ |= {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
        os.environ["AWS_ENDPOINT_URL"] = f"http://silent.test:{PORT}"
        found["s3 silent.test"] = timed(lambda: connect("s3://bucket").get("x").data)
    server.close()
    del kept
    print(json.dumps(found))


if __name__ == "__main__":
    main()
