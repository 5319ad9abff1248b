"""A worker that obeys the same contract as gpaw_worker.py and needs a millisecond: Gaussians instead of DFT.

`record["toy"]` asks for misbehaviour: `sleep` seconds, `fail` in the first so many attempts, `crash`, `hoard` memory,
`shift` the energy (eV/atom), `tilt` the density out of its symmetry, `write` anything in place of a result.
"""

import json
import os
import sys
import time

import numpy as np

job_path, result_path = sys.argv[1:]
with open(job_path) as f:
    job = json.load(f)
record, settings = job["record"], job["settings"]
toy = record.get("toy", {})

with open(os.path.join(os.path.dirname(job_path), "starts.txt"), "a") as f:
    f.write(f"{record['material_id']} {json.dumps(settings)}\n")
time.sleep(toy.get("sleep", 0))
if toy.get("crash"):
    sys.exit("Segmentation fault, or so")
if toy.get("hoard"):
    np.ones(int(toy["hoard"]))
if toy.get("fail") == "always" or (toy.get("fail") and "maxiter" not in settings):
    with open(result_path + ".failure.json", "w") as f:
        json.dump({"reason": toy.get("reason", "not converged"), "detail": "as asked"}, f)
    sys.exit(3)
if "write" in toy:
    with open(result_path, "w") as f:
        f.write(toy["write"])
    sys.exit(0)

shape = (12, 12, 12)
cell = np.array(record["cell"], float)
k = np.stack(np.meshgrid(*(np.fft.fftfreq(n, 1 / n) for n in shape), indexing="ij"), -1)
g2 = ((k @ np.linalg.inv(cell).T * 2 * np.pi) ** 2).sum(-1)
waves = sum(np.exp(-2j * np.pi * (k @ np.array(x))) for x in record["frac"]) * np.exp(-g2 * 0.25)
waves[np.abs(k).max(-1) > 5] = 0
volume = abs(np.linalg.det(cell))
total = np.fft.ifftn(waves).real * np.prod(shape) / volume * 4  # four electrons on each atom
if toy.get("tilt"):
    total += toy["tilt"] * total.mean() * np.sin(2 * np.pi * np.arange(12) / 12)[:, None, None]
meta = {
    "grid": shape,
    "n_electrons": 4 * len(record["symbols"]),
    "charge": float(total.mean() * volume),
    "energy_eV": (-3.0 + toy.get("shift", 0.0)) * len(record["symbols"]),
    "fermi_eV": 1.0,
    "band_gap_eV": 0.0,
    "spin_polarised": False,
    "magnetic_moment_muB": 0.0,
    "n_kpoints_irreducible": 1,
    "converged": True,
    "code": "toy",
}
temporary = result_path + ".tmp"
with open(temporary, "wb") as f:
    np.savez(f, meta=np.frombuffer(json.dumps(meta).encode(), np.uint8), total=total)
os.replace(temporary, result_path)
