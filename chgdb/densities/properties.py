"""The input of the network for each element: a row of numbers of size about 1, kept with the weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..features.composition import tables

# name in `features.composition.tables` -> divisor
_SCALES = {
    "MendeleevNumber": 50.0,
    "Electronegativity": 2.0,
    "CovalentRadius": 150.0,
    "atomic_radius": 1.5,
    "ionic_radius": 1.0,
    "van_der_waals_radius": 2.0,
    "GSvolume_pa": 20.0,
    "ionization_energy": 10.0,
    "electron_affinity": 2.0,
    "NsValence": 2.0,
    "NpValence": 6.0,
    "NdValence": 10.0,
    "NfValence": 14.0,
    "s_level": 10.0,
    "p_level": 5.0,
    "d_level": 10.0,
}
_GROUPS, _PERIODS = 18, 7


def table(numbers: Sequence[int]) -> np.ndarray:
    """Rows for some elements by atomic number, (n, 41): scaled properties, then group and period one-hot."""
    known = tables()
    rows = np.asarray(numbers, np.int64)
    columns = [known[name][rows] / scale for name, scale in _SCALES.items()]
    columns += [known["Column"][rows] == group for group in range(1, _GROUPS + 1)]
    columns += [known["Row"][rows] == period for period in range(1, _PERIODS + 1)]
    return np.nan_to_num(np.stack(columns, axis=1).astype(float))
