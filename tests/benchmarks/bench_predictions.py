"""Payloads with predictions (codec 4) beside those without (codec 2), on materials of the catalog's sources.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_predictions.py --groups 1-2 --sample 20

A line a material and tolerance: bytes of a record without and with predictions, what a Gaussian with the variance of
each shell of |G| would take for the coefficients of the first (the theoretical rate of a coder that knows nothing but
|G|), the peers of `codec_peers` at the same error with --peers, milliseconds to decode both, seconds to encode with
predictions. The last line of each tolerance adds up.
"""

from __future__ import annotations

import time
from typing import Annotated

import codec_data as data
import codec_ideas as ideas
import codec_peers as peers
import numpy as np
import typer

from chgdb.codecs import fourier
from chgdb_catalog import batches
from chgdb_catalog.rebuild import Loader

CHECKSUM = 4
TOLERANCES = (1e-4, 1e-3)


def theoretical(payload: bytes) -> float:
    """Bytes of the coefficients at the rate of Gaussians with the variance of their shells, 0.1 1/Å wide."""
    bits = 0.0
    for channel in ideas.take_apart(payload).channels:
        shells = (np.sqrt(channel.norms / 2.0**24) * 10).astype(int)
        variance = np.bincount(shells, channel.values.astype(float) ** 2) / np.maximum(np.bincount(shells), 1)
        bits += float(
            np.maximum(0, 0.5 * np.log2(12 * variance[shells] + 1e-12)).sum()
        )  # the noise of rounding is 1/12
    return bits / 8


def decode_time(payload: bytes, prior: object, rounds: int = 3) -> float:
    """Milliseconds of processor time."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        fourier.decode(payload, prior)  # type: ignore[arg-type]
        times.append(time.process_time() - start)
    return 1e3 * min(times)


def main(
    groups: Annotated[str, typer.Option(help="Space groups, FIRST-LAST.")] = "1-2",
    sample: Annotated[int, typer.Option(help="Materials drawn with seed 0.")] = 20,
    with_peers: Annotated[bool, typer.Option("--peers", help="Also zfp, SZ3 and SPERR.")] = False,
) -> None:
    first, last = (int(n) for n in groups.split("-"))
    index, prior, load = batches.index(), data.prior(), Loader({}, {})
    ids = [name for name, record in index.items() if first <= int(record["space_group"]) <= last]
    chosen = np.random.default_rng(0).choice(len(ids), min(sample, len(ids)), replace=False)
    compressors = peers.lossy() if with_peers else {}
    sums = {tolerance: np.zeros(5 + len(compressors)) for tolerance in TOLERANCES}
    print("material tolerance atoms bytes_2 bytes_4 theoretical decode_2 decode_4", *compressors, "encode_4_s")
    for k in sorted(chosen.tolist()):
        density, _ = load(ids[k])
        for tolerance in TOLERANCES:
            plain = fourier.encode(density, tolerance, prior, predict=False)
            start = time.process_time()
            best = fourier.encode(density, tolerance, prior, predict=True)
            seconds = time.process_time() - start
            row = [len(plain) + CHECKSUM, len(best) + CHECKSUM, theoretical(plain)]
            row += [decode_time(plain, prior), decode_time(best, prior)]
            row += [peers.at_error(compress, density, tolerance).size for compress in compressors.values()]
            sums[tolerance] += row
            print(ids[k], tolerance, len(density.crystal), *(f"{x:.0f}" for x in row), f"{seconds:.1f}", flush=True)
    for tolerance, total in sums.items():
        print("all", tolerance, *(f"{x:.0f}" for x in total), f"bytes_4/bytes_2 {total[1] / total[0]:.3f}")


if __name__ == "__main__":
    typer.run(main)
