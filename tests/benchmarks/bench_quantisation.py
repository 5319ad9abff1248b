"""What it brings that quantisation weighs bits against errors: bytes for several prices of a bit, 0 being rounding.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_quantisation.py [--sample 24] [--prices 0,0.11,0.22,0.33]

Materials of the catalog's sources drawn with seed 0, without predictions. A line a tolerance: the sum of the payloads
for each price, relative to that of rounding. Every payload reaches its tolerance: the step is searched anew for each.
"""

from __future__ import annotations

from typing import Annotated

import codec_data as data
import numpy as np
import typer

from chgdb.codecs import channel_search, fourier
from chgdb_catalog import batches
from chgdb_catalog.rebuild import Loader

TOLERANCES = (1e-3, 1e-4)


def main(
    sample: Annotated[int, typer.Option(help="Materials drawn.")] = 24,
    prices: Annotated[str, typer.Option(help="Of a bit, in squared error, in steps.")] = "0,0.11,0.22,0.33",
) -> None:
    ids, load, prior = list(batches.index()), Loader({}, {}), data.prior()
    chosen = np.random.default_rng(0).choice(len(ids), sample, replace=False)
    values = [float(price) for price in prices.split(",")]
    sums = np.zeros((len(TOLERANCES), len(values)), int)
    for k in sorted(chosen.tolist()):
        density, _ = load(ids[k])
        for i, tolerance in enumerate(TOLERANCES):
            for j, price in enumerate(values):
                channel_search._WORTH_OF_A_BIT = price
                sums[i, j] += len(fourier.encode(density, tolerance, prior, predict=False))
    for tolerance, row in zip(TOLERANCES, sums, strict=True):
        cells = [f"{price:g}: {size:,} ({size / row[0]:.4f})" for price, size in zip(values, row.tolist(), strict=True)]
        typer.echo(f"{100 * tolerance:g} %: " + ", ".join(cells))


if __name__ == "__main__":
    typer.run(main)
