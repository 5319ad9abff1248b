"""Payloads with predictions (codec 4) beside those without (codec 2), on materials of the catalog's sources.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_predictions.py write          # docs/science/codec.md, some minutes
    OMP_NUM_THREADS=1 python tests/benchmarks/bench_predictions.py show --groups 1-2 --sample 20

A line a material and tolerance: bytes of a record without and with predictions, what a Gaussian with the variance of
each shell of |G| would take for the coefficients of the first (the theoretical rate of a coder that knows nothing but
|G|), the peers of `codec_peers` at the same error, and processor time: milliseconds to decode both, seconds to encode
both, and of gzip -6 of the text. `write` puts the sums between the markers of the page and everything into
docs/science/data/predictions.json.
"""

from __future__ import annotations

import json
import time
import zlib
from io import BytesIO
from typing import Annotated, Any

import codec_data as data
import codec_ideas as ideas
import codec_peers as peers
import numpy as np
import typer

from chgdb.codecs import fourier
from chgdb.density import Density
from chgdb.formats import text_bytes
from chgdb.formats.chgcar import write as write_chgcar
from chgdb_catalog import batches
from chgdb_catalog.rebuild import Loader

PAGE = data.REPOSITORY / "docs" / "science" / "codec.md"
NUMBERS = data.REPOSITORY / "docs" / "science" / "data" / "predictions.json"
START, END = "<!-- predictions:begin -->", "<!-- predictions:end -->"
#: Space groups of a line of the page, and materials drawn from them.
LINES = (
    ("1 and 2", (1, 2), 24),
    ("3 to 74", (3, 74), 12),
    ("75 to 194", (75, 194), 12),
    ("195 to 230", (195, 230), 12),
)
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


def gzip_time(density: Density) -> float:
    """Seconds of processor time of gzip -6 of the text of the density."""
    text = BytesIO()
    write_chgcar(text, density)
    start = time.process_time()
    zlib.compress(text.getvalue(), 6)
    return time.process_time() - start


def measured(groups: tuple[int, int], sample: int, with_peers: bool) -> list[dict[str, Any]]:
    """A row for each of `sample` materials drawn with seed 0 and each tolerance."""
    index, prior, load = batches.index(), data.prior(), Loader({}, {})
    ids = [name for name, record in index.items() if groups[0] <= int(record["space_group"]) <= groups[1]]
    chosen = np.random.default_rng(0).choice(len(ids), min(sample, len(ids)), replace=False)
    compressors = peers.lossy() if with_peers else {}
    rows = []
    for k in sorted(chosen.tolist()):
        density, _ = load(ids[k])
        seconds = gzip_time(density)
        for tolerance in TOLERANCES:
            start = time.process_time()
            plain = fourier.encode(density, tolerance, prior, predict=False)
            middle = time.process_time()
            best = fourier.encode(density, tolerance, prior)
            end = time.process_time()
            row = {
                "material_id": ids[k],
                "tolerance": tolerance,
                "atoms": len(density.crystal),
                "text_bytes": text_bytes(density),
                "bytes_2": len(plain) + CHECKSUM,
                "bytes_4": len(best) + CHECKSUM,
                "theoretical": theoretical(plain),
                "decode_2_ms": decode_time(plain, prior),
                "decode_4_ms": decode_time(best, prior),
                "encode_fast_s": middle - start,
                "encode_s": end - middle,
                "gzip_s": seconds,
            }
            row |= {name: peers.at_error(compress, density, tolerance).size for name, compress in compressors.items()}
            rows.append(row)
            typer.echo(" ".join(f"{x:.4g}" if isinstance(x, float) else str(x) for x in row.values()))
    return rows


def table(lines: dict[str, list[dict[str, Any]]]) -> str:
    names = list(peers.lossy())
    text = []
    for tolerance in TOLERANCES:
        text += [
            f"**NMAE ≤ {100 * tolerance:g} %**",
            "",
            "| space groups | materials | text / record | without predictions | with / without | bytes an atom | "
            f"{' | '.join(f'text / {name}' for name in names)} | Gaussian rate / without | decoding with / without | "
            "gzip -6 / encoding fast | gzip -6 / encoding |",
            "| --- |" + " ---: |" * (9 + len(names)),
        ]
        for name, rows in lines.items():
            chosen = [row for row in rows if row["tolerance"] == tolerance]
            total = {key: sum(row[key] for row in chosen) for key in chosen[0] if key != "material_id"}
            cells = [f"{total['text_bytes'] / total[f'bytes_{codec}']:,.0f}" for codec in (4, 2)]
            cells += [f"{total['bytes_4'] / total['bytes_2']:.2f}", f"{total['bytes_4'] / total['atoms']:,.0f}"]
            cells += [f"{total['text_bytes'] / total[peer]:,.0f}" for peer in names]
            cells += [f"{total['theoretical'] / total['bytes_2']:.2f}"]
            cells += [f"{total['decode_4_ms'] / total['decode_2_ms']:.2f}"]
            cells += [f"{total['gzip_s'] / total[key]:.2f}" for key in ("encode_fast_s", "encode_s")]
            text.append(f"| {name} | {len(chosen)} | " + " | ".join(cells) + " |")
        text.append("")
    return "\n".join(text)


app = typer.Typer(add_completion=False)


@app.command()
def show(
    groups: Annotated[str, typer.Option(help="Space groups, FIRST-LAST.")] = "1-2",
    sample: Annotated[int, typer.Option(help="Materials drawn with seed 0.")] = 20,
    with_peers: Annotated[bool, typer.Option("--peers", help="Also zfp, SZ3 and SPERR.")] = False,
) -> None:
    """Print the rows of a sample, and their sums."""
    first, last = (int(n) for n in groups.split("-"))
    rows = measured((first, last), sample, with_peers)
    for tolerance in TOLERANCES:
        sums = {k: sum(r[k] for r in rows if r["tolerance"] == tolerance) for k in rows[0] if k != "material_id"}
        typer.echo(" ".join(f"{name} {value:.6g}" for name, value in sums.items()))


@app.command()
def write() -> None:
    """Measure what the page shows, and write it there."""
    lines = {name: measured(groups, sample, True) for name, groups, sample in LINES}
    NUMBERS.write_text(json.dumps(lines, indent=1) + "\n")
    page = PAGE.read_text()
    before, _, rest = page.partition(START)
    PAGE.write_text(before + START + "\n\n" + table(lines) + "\n" + END + rest.partition(END)[2])
    typer.echo(table(lines))


if __name__ == "__main__":
    app()
