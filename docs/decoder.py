"""A decoder of chgdb stores written after format.md, with nothing of chgdb: it needs numpy and zarr.

    python decoder.py STORE ID                prints grid, electrons and the smallest value
    from decoder import decode_record         (cell, positions, numbers, {channel: grid})
    from decoder import occupancies_of        {channel: {"real", "imaginary", "moments"}}, or None
    from decoder import latent_of             (channel, z, y, x), or None

It is slow and simple on purpose. Section numbers are those of format.md. The lossless codec is left out.
"""

from __future__ import annotations

import itertools
import struct
import sys

import numpy as np
import zarr

# --- 3.1 Bits --------------------------------------------------------------------------------------------------------


class Bits:
    def __init__(self, data):
        self.data, self.position = data, 0

    def read(self, width):
        value = 0
        for _ in range(width):
            byte = self.data[self.position // 8]
            value = value * 2 + (byte >> (7 - self.position % 8) & 1)
            self.position += 1
        return value

    def rest(self):
        return self.data[(self.position + 7) // 8 :]


def gamma(source):
    zeros = 0
    while source.read(1) == 0:
        zeros += 1
    return 2**zeros + source.read(zeros) - 1


def signed(source):
    value = gamma(source)
    return value // 2 if value % 2 == 0 else -(value + 1) // 2


# --- 3.2 Frame -------------------------------------------------------------------------------------------------------

CHANNELS = [
    ["total"],
    ["total", "magnetization"],
    ["total", "magnetization_x", "magnetization_y", "magnetization_z"],
]


def frame(source):
    names = CHANNELS[source.read(2)]
    nx = gamma(source) + 1
    ny = gamma(source) + 1 if source.read(1) else nx
    nz = gamma(source) + 1 if source.read(1) else nx
    numbers = []
    for _ in range(gamma(source)):
        number = source.read(7)
        numbers += [number] * (gamma(source) + 1)
    cell = np.array(numbers_of_cell(source)).reshape(3, 3)
    positions = np.array(numbers_of_positions(source, 3 * len(numbers))).reshape(-1, 3)
    return names, (nx, ny, nz), cell, positions, numbers


ROOT3 = 3.0**0.5
CELL_RELATIONS = [
    lambda x: x, lambda x: -x, lambda x: x / 2, lambda x: -x / 2,
    lambda x: x * ROOT3, lambda x: -x * ROOT3, lambda x: x / ROOT3, lambda x: -x / ROOT3,
]  # fmt: skip
POSITION_RELATIONS = [
    lambda x: x, lambda x: -x, lambda x: 1.0 - x, lambda x: x + 0.5,
    lambda x: 0.5 - x, lambda x: x - 0.5, lambda x: 1.5 - x, lambda x: 2.0 * x,
]  # fmt: skip


def numbers_of_cell(source):
    return list_of_numbers(source, 9, CELL_RELATIONS, lambda: 0.0)


def numbers_of_positions(source, count):
    def fraction():
        kind = source.read(2)
        if kind == 0:
            return 0.0
        k = 12 if kind == 1 else (18 if source.read(1) else 6) if kind == 2 else source.read(5)
        return moved(k / 24, ulps(source))

    return list_of_numbers(source, count, POSITION_RELATIONS, fraction)


def list_of_numbers(source, count, relations, fraction):
    places = source.read(4)
    history, values = [], []
    for _ in range(count):
        if source.read(1) == 0:
            values.append(fraction())
            continue
        if source.read(1) == 0:
            earlier = history[source.read((len(history) - 1).bit_length())]
            value = moved(relations[source.read(3)](earlier), ulps(source))
        elif source.read(1) == 0:
            width = source.read(6)
            sign = -1.0 if source.read(1) else 1.0
            decimal = source.read(width) / 10**places
            value = sign * moved(decimal, ulps(source))
        else:
            value = struct.unpack(">d", source.read(64).to_bytes(8, "big"))[0]
        if value not in history:
            history.insert(0, value)
            del history[16:]
        values.append(value)
    return values


def ulps(source):
    if source.read(1) == 0:
        return 0
    sign = -1 if source.read(1) else 1
    return sign * (gamma(source) + 1)


def moved(value, count):
    pattern = struct.unpack(">q", struct.pack(">d", value))[0]
    return struct.unpack(">d", struct.pack(">q", pattern + count))[0]


def electron_count(source):
    whole = signed(source)
    rest = source.read(source.read(6))
    if rest and source.read(1):
        rest = -rest
    return whole + rest / 2**40


def step(code):
    return 2.0 ** ((code - 1536) / 16)


# --- 3.3 Groups ------------------------------------------------------------------------------------------------------

IDENTITY = ((1, 0, 0, 0, 1, 0, 0, 0, 1), (0, 0, 0), 0)


def group_of(source):
    """(operations, origin); an operation is (rotation by rows, translation in 1/5040, flip)."""
    generators, origin = [], np.zeros(3)
    count = gamma(source)
    if count and source.read(1):
        origin = np.array([source.read(32) / 2**32 for _ in range(3)])
    for _ in range(count):
        if source.read(1):
            code = source.read(15)
            rotation = tuple(code // 3**k % 3 - 1 for k in range(9))
        else:
            rotation = tuple(signed(source) for _ in range(9))
        flip = source.read(1)
        translation = []
        for _ in range(3):
            component = 0
            if source.read(1):
                component = 210 * source.read(5) if source.read(1) else source.read(13)
            translation.append(component)
        generators.append((rotation, tuple(translation), flip))
    operations = [IDENTITY]
    for second in operations:  # grows while it is walked through
        for first in generators:
            new = product(first, second)
            if new not in operations:
                operations.append(new)
    return operations, origin


def product(first, second):
    (W, w, f), (V, v, g) = first, second
    A, B = np.reshape(W, (3, 3)), np.reshape(V, (3, 3))
    translation = (A @ np.array(v) + np.array(w)) % 5040
    return tuple((A @ B).ravel().tolist()), tuple(translation.tolist()), f ^ g


# --- 4.1 Order of the coefficients -----------------------------------------------------------------------------------


def integer_metric(cell):
    A = [[int(float(x) * 2.0**60) for x in row] for row in cell]
    g = [[sum(x * y for x, y in zip(a, b, strict=True)) for b in A] for a in A]

    def minor(i, j):
        (a, b), (c, d) = [k for k in range(3) if k != i], [k for k in range(3) if k != j]
        return (-1) ** (i + j) * (g[a][c] * g[b][d] - g[a][d] * g[b][c])

    determinant = sum(g[0][j] * minor(0, j) for j in range(3))
    return np.array(
        [[(2 * (minor(j, i) << 144) + determinant) // (2 * determinant) for j in range(3)] for i in range(3)], object
    )


def orbits(grid, metric, limit, operations):
    """[(norm, representative, members, freedom, phase)] in order; a member is (h, conjugate, turns)."""
    half = [(n - 1) // 2 for n in grid]
    found = {}
    matrices = [(np.reshape(W, (3, 3)), w, flip) for W, w, flip in operations]
    for h in itertools.product(*(range(-n, n + 1) for n in half)):
        norm = int(np.array(h) @ metric @ np.array(h))
        if norm > limit or h[::-1] <= (0, 0, 0):
            continue
        best = None
        for W, w, flip in matrices:
            image = [int(x) for x in np.array(h) @ W]  # W^T h
            turns = (int(np.dot(h, w)) + 2520 * flip) % 5040
            for conjugate in (False, True):
                key = tuple((-x if conjugate else x) for x in reversed(image))
                if best is None or key > best[0]:
                    best = key, conjugate, turns
        key, conjugate, turns = best
        members = found.setdefault(key, [norm, []])
        members[0] = min(members[0], norm)
        members[1].append((h, conjugate, turns))
    result = []
    for key, (norm, members) in sorted(found.items(), key=lambda item: (item[1][0], item[0])):
        g = np.array(key[::-1])
        turns = [(tuple(g @ W), (int(g @ np.array(w)) + 2520 * flip) % 5040) for W, w, flip in matrices]
        same = {t for image, t in turns if image == tuple(g)}
        inverted = {t for image, t in turns if image == tuple(-g)}
        if same != {0} or len(inverted) > 1:
            freedom, phase = 0, 1
        elif inverted:
            freedom, phase = 1, np.exp(-1j * np.pi * inverted.pop() / 5040)
        else:
            freedom, phase = 2, 1
        result.append((norm, tuple(g), members, freedom, phase))
    return result


def nyquist_terms(grid, metric, limit):
    """[(norm, index, mirror)] in order."""
    terms = []
    for index in itertools.product(range(grid[0]), range(grid[1]), range(grid[2] // 2 + 1)):
        if not any(2 * i == n for i, n in zip(index, grid, strict=True)):
            continue
        mirror = tuple(-i % n for i, n in zip(index, grid, strict=True))
        if mirror[2] == index[2] and index[:2] > mirror[:2]:
            continue
        h = np.array([i - n if 2 * i > n else i for i, n in zip(index, grid, strict=True)])
        norm = int(h @ metric @ h)
        if norm <= limit:
            terms.append((norm, index, mirror))
    return sorted(terms, key=lambda term: term[0])


# --- 3.4 Entropy coder -----------------------------------------------------------------------------------------------

LOWER = 1 << 24
POWERS = [round(65536 * 2 ** (-i / 256)) for i in range(256)]


class Coder:
    def __init__(self, data, lanes):
        self.bytes = list(data)  # taken from the end
        self.lanes = lanes
        if lanes == 1:
            self.states = [0]
            self.refill(0)
        else:
            planes = [[self.bytes.pop() for _ in range(lanes)] for _ in range(4)]
            self.states = [(a << 24) | (b << 16) | (c << 8) | d for a, b, c, d in zip(*planes, strict=True)]

    def refill(self, lane):
        while self.states[lane] < LOWER and self.bytes:
            self.states[lane] = self.states[lane] << 8 | self.bytes.pop()

    def read(self, width):
        """Plain bits."""
        value = 0
        while width:
            chunk = min(width, 16)
            width -= chunk
            value = value << chunk | self.states[0] & ((1 << chunk) - 1)
            self.states[0] >>= chunk
            self.refill(0)
        return value

    def values(self, norms, initial):
        positions = [int(np.sqrt(float(norm))) * 768 >> 12 for norm in norms]
        m = (82 << (initial >> 1)) * (181 if initial % 2 else 128) >> 7
        symbols, shifts = [], []
        before = positions[0] if positions else 0
        for start in range(0, len(positions), self.lanes):
            decay = max(0, positions[start] - before)
            before = positions[start]
            m = max(82, (m * POWERS[decay & 255] >> 16) >> (decay >> 8))
            octave = m.bit_length() - 1
            shift = max(0, octave - 14)
            frequencies, cumulative = table(4 * (octave - shift - 6) + (m >> (octave - 2) & 3))
            count = min(self.lanes, len(positions) - start)
            found = []
            for lane in range(count):
                slot = self.states[lane] % 16384
                symbol = max(s for s in range(32) if cumulative[s] <= slot)
                self.states[lane] = frequencies[symbol] * (self.states[lane] >> 14) + slot - cumulative[symbol]
                found.append(symbol)
            if self.lanes == 1:
                self.refill(0)
            else:
                for _ in range(2):
                    for lane in range(count):
                        if self.states[lane] < LOWER:
                            self.states[lane] = self.states[lane] << 8 | self.bytes.pop()
            symbols += found
            shifts += [shift] * count
            mean = ((sum(found) << shift) * 4096 + ((1 << shift) >> 1) * 4096 * count) // count
            m = max(82, m + (mean - m >> 3) if self.lanes == 1 else m + 3 * mean >> 2)
        magnitudes = [31 + gamma(self) if symbol == 31 else symbol for symbol in symbols]
        magnitudes = [x << s | self.read(s) for x, s in zip(magnitudes, shifts, strict=True)]
        left = sum(1 for x in magnitudes if x)
        signs = self.read(left)
        result = []
        for x in magnitudes:
            if x:
                left -= 1
            result.append(-x if x and signs >> left & 1 else x)
        return result


def table(index):
    octave, quarter = divmod(index, 4)
    numerator, denominator = (9 + 2 * quarter) << octave, 8 * 64
    weights = [0] * 32
    for up, down, weight in ((2, 5, 6), (9, 10, 9), (2, 1, 5)):
        a, b = numerator * up, denominator * down
        rest = (weight << 50) // 20
        for k in range(31):
            tail = rest * a // (a + b)
            weights[k] += rest - tail
            rest = tail
        weights[31] += rest
    frequencies = [1 + (w * (16384 - 32) >> 50) for w in weights]
    frequencies[0] += 16384 - sum(frequencies)
    return frequencies, [sum(frequencies[:s]) for s in range(32)]


# --- 4.2 The prior ---------------------------------------------------------------------------------------------------


def prior_coefficients(prior, cell, positions, numbers, grid):
    """F_prior(h) on the whole spectrum of the grid."""
    spectrum = np.zeros(grid, complex)
    h = np.stack(np.meshgrid(*(np.arange(-((n - 1) // 2), (n - 1) // 2 + 1) for n in grid), indexing="ij"), axis=-1)
    h = h.reshape(-1, 3)
    s = np.linalg.norm(h @ np.linalg.inv(cell).T, axis=1)
    h, s = h[s > 0], s[s > 0]
    total = np.zeros(len(h), complex)
    for number in set(numbers):
        row = list(prior["numbers"]).index(number)
        factor = form_factor(prior["coefficients"][row], s)
        for position, other in zip(positions, numbers, strict=True):
            if other == number:
                total += factor * np.exp(-2j * np.pi * (h @ position))
    spectrum[tuple(h.T)] = total / abs(np.linalg.det(cell))
    return spectrum


def form_factor(coefficients, s):
    """Linear interpolation between the values at multiples of 1/512."""
    knots = np.arange(2114) / 512
    return np.interp(np.minimum(s, 4.125), knots, [spline(coefficients, x) for x in knots])


def spline(coefficients, s):
    if s >= 4.125:
        return 0.0
    i = int(s / 0.125)
    t = s / 0.125 - i
    c = [float(x) for x in coefficients[i : i + 4]]
    return (
        c[0] * (1 - t) ** 3 + c[1] * (3 * t**3 - 6 * t**2 + 4) + c[2] * (-3 * t**3 + 3 * t**2 + 3 * t + 1) + c[3] * t**3
    ) / 6


# --- 4 The Fourier codec ---------------------------------------------------------------------------------------------


def decode_fourier(source, prior_of, predicted):
    names, grid, cell, positions, numbers = frame(source)
    prior = prior_of(source.read(16)) if source.read(1) else None
    lanes = (1, 32, 256)[source.read(2)]
    heads, previous = [], None
    for _ in names:
        head = {"count": electron_count(source), "limit": 0}
        if source.read(1):
            group = previous if previous is not None and source.read(1) else group_of(source)
            exponent = source.read(6)
            head |= {"limit": source.read(8) << exponent, "nyquist": source.read(1), "step": source.read(11)}
            head |= {"initial": source.read(6), "group": group}
            if predicted:
                head |= prediction(source, grid, len(numbers))
            previous = group
        heads.append(head)
    metric = integer_metric(cell)
    coder = Coder(source.rest(), lanes)
    channels = {}
    for name, head in zip(names, heads, strict=True):
        spectrum = np.zeros(grid, complex)
        if name == "total" and prior is not None:
            spectrum += prior_coefficients(prior, cell, positions, numbers, grid)
        spectrum[0, 0, 0] += head["count"] / abs(np.linalg.det(cell))
        if head["limit"]:
            add_coefficients(spectrum, head, metric, coder, cell, positions)
        channels[name] = np.fft.ifftn(spectrum, norm="forward").real
    assert not coder.bytes
    assert set(coder.states) == ({1} if lanes == 1 else {LOWER})
    return cell, positions, numbers, channels


def add_coefficients(spectrum, head, metric, coder, cell, positions):
    grid = spectrum.shape
    operations, origin = head["group"]
    shells = orbits(grid, metric, head["limit"], operations)
    if "divisions" in head:
        shells = on_coarse_grid(shells, metric, head)
    edge = nyquist_terms(grid, metric, head["limit"]) if head["nyquist"] else []
    norms = [norm for norm, _, _, freedom, _ in shells for _ in range(freedom)]
    norms += [norm for norm, index, mirror in edge for _ in range(1 if index == mirror else 2)]
    if "model" in head:
        places, model_step, initial = head["model"]
        model = zip(places, coder.values([0] * len(places), initial), strict=True)
        guess = predict(shells, origin, metric, cell, positions, head, model, step(model_step))
        norms = norms[: head["coded"]]
    values = np.array(coder.values(norms, head["initial"])) * step(head["step"])
    if "model" in head:
        guess[: len(values)] += values
        values = guess
    values = iter(values)
    for _, _, members, freedom, phase in shells:
        if freedom == 0:
            continue
        F = complex(next(values), next(values) if freedom == 2 else 0) * phase / np.sqrt(2 * len(members))
        for h, conjugate, turns in members:
            value = (F.conjugate() if conjugate else F) * np.exp(-2j * np.pi * turns / 5040)
            value *= np.exp(-2j * np.pi * np.dot(h, origin))
            spectrum[h] += value
            spectrum[tuple(-x for x in h)] += value.conjugate()
    for _, index, mirror in edge:
        if index == mirror:
            spectrum[index] += next(values)
        else:
            value = complex(next(values), next(values)) / np.sqrt(2)
            spectrum[index] += value
            spectrum[mirror] += value.conjugate()


# --- 4.4 Coarse grids, 4.5 multipoles -------------------------------------------------------------------------------

SMOOTH = [
    ((1.5, 1.1, 0.8, 0.55, 0.35), ((0.547,), (-1.11, 5.61), (1.23, -8.58, 29.5), (-0.913, 7.18, -36.1, 120.5),
     (0.544, -4.47, 25.4, -133.7, 440.8))),
    ((1.1, 0.7, 0.4), ((1.05,), (-0.572, 14.9), (0.215, -6.83, 127.7))),
    ((1.1, 0.7, 0.4), ((0.416,), (-0.226, 6.1), (0.0704, -2.2, 60.7))),
    ((1.1, 0.7, 0.4), ((0.158,), (-0.0881, 2.26), (0.0228, -0.657, 25.6))),
    ((1.1, 0.7, 0.4), ((0.0584,), (-0.0335, 0.775), (0.00728, -0.184, 9.86))),
]  # fmt: skip
ADDED = [
    ((1.0, 0.8, 0.6), ((4.26,), (-6.53, 26.7), (6.56, -41.5, 105.2))),
    ((1.0, 0.8, 0.6), ((1.77,), (-2.69, 11.8), (2.57, -16.3, 48.5))),
    ((1.0, 0.8, 0.6), ((0.683,), (-1.06, 4.65), (0.966, -5.93, 19.8))),
]
REACH = 16 << 24


def prediction(source, grid, atoms):
    head = {}
    if source.read(1):
        head["divisions"] = [n // 2 if source.read(1) else gamma(source) for n in grid]
        head |= {name: (lambda exponent: source.read(8) << exponent)(source.read(6)) for name in ("outer", "inner")}
    if source.read(1):
        head["coded"] = gamma(source)
        listed = [a for a in range(atoms) if source.read(1)]
        used = {a: [1] * 25 if source.read(1) else [source.read(1) for _ in range(25)] for a in listed}
        families = [SMOOTH, ADDED] if "divisions" in head else [SMOOTH]
        places = [
            (family, degree, k, m, a)
            for family, table in enumerate(families)
            for degree, (_, rows) in enumerate(table)
            for k in range(len(rows))
            for m in range(2 * degree + 1)
            for a in listed
            if used[a][degree * degree + m]
        ]
        head["model"] = places, source.read(11), source.read(6)
    return head


def norm_of(h, metric):
    return sum(x * y * int(m) for x, row in zip(h, metric, strict=True) for y, m in zip(h, row, strict=True))


def images(h, divisions):
    return [tuple(x + k * n for x, k, n in zip(h, shift, divisions, strict=True)) for shift in SHIFTS]


SHIFTS = list(itertools.product((-1, 0, 1), repeat=3))


def on_coarse_grid(shells, metric, head):
    kept = []
    for _, g, members, freedom, phase in shells:
        keys = []
        for h, _, _ in members:
            if all(2 * abs(x) <= n for x, n in zip(h, head["divisions"], strict=True)):
                key, limit = min(norm_of(image, metric) for image in images(h, head["divisions"])), head["outer"]
            else:
                key, limit = norm_of(h, metric), head["inner"]
            keys += [key] * (key <= limit)
        if keys:
            kept.append((min(keys), g, members, freedom, phase))
    return sorted(kept, key=lambda shell: (shell[0], shell[1][::-1]))


def predict(shells, origin, metric, cell, positions, head, model, unit):
    """The numbers of all orbits."""
    parameters = {}
    for (family, degree, k, m, a), value in model:
        parameters.setdefault(family, {}).setdefault(a, []).append((degree, k, m, value * unit))
    reciprocal = np.linalg.inv(cell).T
    N = head.get("divisions")

    def at(family, h):
        if not 0 < norm_of(h, metric) < REACH:
            return 0
        atoms = parameters.get(family, {})
        functions = functions_at(family, np.array(h) @ reciprocal)
        waves = [np.exp(-2j * np.pi * np.dot(h, positions[a] % 1.0)) for a in atoms]
        sums = [sum(value * functions[degree, k, m] for degree, k, m, value in terms) for terms in atoms.values()]
        return np.dot(waves, sums)

    result = []
    for _, _, members, freedom, phase in shells:
        if freedom == 0:
            continue
        smooth, added, share = 0, 0, 0.0
        for h, conjugate, turns in members:
            if N is None:
                values, part = [at(0, h), 0], 1.0
            else:
                near = [x - n * ((2 * x + n) // (2 * n)) for x, n in zip(h, N, strict=True)]
                values = [sum(at(0, image) for image in images(near, N)), at(1, h)]
                part = np.prod([(2 * abs(x) < n) / 2 + (2 * abs(x) <= n) / 2 for x, n in zip(h, N, strict=True)])
            turn = np.exp(2j * np.pi * (turns / 5040 + np.dot(h, origin)))
            values = [np.conj(value * turn) if conjugate else value * turn for value in values]
            smooth, added, share = smooth + values[0], added + values[1], share + part
        mean = (smooth * share / len(members) + added) / len(members)
        F = mean * np.conj(phase) * np.sqrt(2 * len(members))
        result += [F.real, F.imag][:freedom]
    return np.array(result)


def functions_at(family, vector):
    """(l, k, m) -> (-i)^l times the radial function and the spherical harmonic."""
    s = np.linalg.norm(vector)
    angular = multipole_harmonics(*(vector / s))
    found = {}
    for degree, (widths, rows) in enumerate((SMOOTH, ADDED)[family]):
        for k, row in enumerate(rows):
            radial = sum(c * (s / w) ** degree * np.exp(-0.5 * (s / w) ** 2) for c, w in zip(row, widths, strict=False))
            for m in range(2 * degree + 1):
                found[degree, k, m] = (-1j) ** degree * radial * angular[degree * degree + m]
    return found


def multipole_harmonics(x, y, z):
    xx, yy, zz = x * x, y * y, z * z
    return [
        1, 1.73 * x, 1.73 * y, 1.73 * z,
        3.87 * x * y, 3.87 * y * z, 1.12 * (3 * zz - 1), 3.87 * x * z, 1.94 * (xx - yy),
        2.09 * y * (3 * xx - yy), 10.25 * x * y * z, 1.62 * y * (5 * zz - 1), 1.32 * z * (5 * zz - 3),
        1.62 * x * (5 * zz - 1), 5.12 * z * (xx - yy), 2.09 * x * (xx - 3 * yy),
        8.87 * x * y * (xx - yy), 6.27 * y * z * (3 * xx - yy), 3.35 * x * y * (7 * zz - 1),
        2.37 * y * z * (7 * zz - 3), 0.375 * (35 * zz * zz - 30 * zz + 3), 2.37 * x * z * (7 * zz - 3),
        1.68 * (xx - yy) * (7 * zz - 1), 6.27 * x * z * (xx - 3 * yy), 2.22 * (xx * xx - 6 * xx * yy + yy * yy),
    ]  # fmt: skip


# --- 5 The real-space codec ------------------------------------------------------------------------------------------


def decode_realspace(source):
    names, grid, cell, positions, numbers = frame(source)
    lanes = (1, 32, 256)[source.read(2)]
    heads = [
        (group_of(source), electron_count(source), source.read(11), (1, 4)[source.read(1)], source.read(6))
        for _ in names
    ]
    coder = Coder(source.rest(), lanes)
    channels = {}
    for name, ((operations, _), count, code, window, initial) in zip(names, heads, strict=True):
        representatives = points_of_orbits(grid, operations)
        order = sorted(set(representatives.tolist()))
        element, distance = nearest_atoms(order, grid, cell, positions, numbers)
        order = [order[i] for i in np.lexsort((distance, element))]
        differences = coder.values([0] * len(order), initial)
        levels = [0] * window
        for difference in differences:
            levels.append(difference + sum(levels[-window:]) // window)
        by_point = dict(zip(order, levels[window:], strict=True))
        values = np.array([by_point[point] for point in representatives.tolist()], float) * step(code)
        values += count / abs(np.linalg.det(cell)) - values.mean()
        channels[name] = values.reshape(grid)
    return cell, positions, numbers, channels


def points_of_orbits(grid, operations):
    """The smallest flat index among the images of each point."""
    n = np.array(grid)
    points = np.stack(np.meshgrid(*(np.arange(k) for k in grid), indexing="ij"), axis=-1).reshape(-1, 3)
    smallest = np.arange(len(points))
    for W, w, _ in operations:
        matrix = np.reshape(W, (3, 3)) * n[:, None] // n
        image = (points @ matrix.T + np.array(w) * n // 5040) % n
        np.minimum(smallest, (image[:, 0] * n[1] + image[:, 1]) * n[2] + image[:, 2], out=smallest)
    return smallest


def nearest_atoms(points, grid, cell, positions, numbers):
    A = [[int(float(x) * 2.0**60) for x in row] for row in cell]
    metric = np.array([[sum(x * y for x, y in zip(a, b, strict=True)) >> 110 for b in A] for a in A], np.int64)
    unit = 1 << 18
    place = (np.stack(np.unravel_index(points, grid), axis=1) << 18) // np.array(grid)
    nearest = np.full(len(points), np.iinfo(np.int64).max)
    element = np.zeros(len(points), np.int64)
    for position, number in zip(positions, numbers, strict=True):
        atom = np.floor((position - np.floor(position)) * unit).astype(np.int64)
        centred = (place - atom + unit // 2) % unit - unit // 2
        for image in itertools.product((-1, 0, 1), repeat=3):
            u = centred + np.array(image) * unit
            square = ((u @ metric) * u).sum(axis=1)
            closer = square < nearest
            nearest[closer], element[closer] = square[closer], number
    return element, nearest


# --- 7.1 Occupancies as numbers --------------------------------------------------------------------------------------


def decode_occupancies(extras, payload):
    """{channel: {"real": [an array an atom], "imaginary": ..., "moments": [...]}} of extras that begin with 2."""
    head = Bits(payload)
    groups = groups_of_payload(head) if head.read(8) == 2 else []
    names, _, cell, positions, numbers = frame(head_of(payload))
    source = Bits(extras)
    assert source.read(8) == 2
    skip_words(source)
    found = {name: {"moments": moments(source, len(numbers)) if source.read(1) else []} for name in names}
    kinds = kinds_of_atoms(source, numbers)
    imaginary = source.read(1)
    parts = [(kind, of) for of in (names[:1], names[1:]) if of for kind in ["real", "imaginary"][: 1 + imaginary]]
    opposite = source.read(1) if any(layout for _, layout, _ in kinds) else 0
    chosen = []
    for kind, _ in parts:
        code = source.read(2) if kind == "real" and any(layout for _, layout, _ in kinds) else 0
        known = {1: groups[:1], 2: groups[-1:]}.get(code, [])
        chosen.append(group_of(source) if code == 3 else known[0] if known else ([IDENTITY], np.zeros(3)))
    lanes = (1, 32, 256)[source.read(2)]
    heads = []
    for (kind, of), (operations, origin) in zip(parts, chosen, strict=True):
        turns = [turn(op, origin, cell, positions, numbers, len(of) == 3, opposite) for op in operations]
        heads.append(part_head(source, kind, len(of), kinds, turns))
    coder = Coder(source.rest(), lanes)
    for (kind, of), (coded, initials) in zip(parts, heads, strict=True):
        for name in of:
            found[name][kind] = [None] * len(numbers)
        read_levels(coder, coded, initials)
        for (count, _, atoms), one in zip(kinds, coded, strict=True):
            values = part_values(one, len(numbers), len(of), count)
            for i, name in enumerate(of):
                for atom in atoms:
                    found[name][kind][atom] = values[atom][i]
    assert not coder.bytes
    return found


def head_of(payload):
    source = Bits(payload)
    if source.read(8) == 1:
        source.read(1)
    return source


def groups_of_payload(source):
    """The groups of the channels with coefficients; `source` stands behind the first byte of a Fourier payload."""
    names = frame(source)[0]
    if source.read(1):
        source.read(16)
    source.read(2)
    found = []
    for _ in names:
        electron_count(source)
        if source.read(1):
            found.append(found[-1] if found and source.read(1) else group_of(source))
            source.read(6 + 8 + 1 + 11 + 6)
    return found


def text(source):
    return "".join(chr(source.read(7)) for _ in range(gamma(source)))


def skip_words(source):
    """Comment, line end, species, and all else."""
    if source.read(2) >= 2:
        text(source)
    source.read(1)
    if source.read(2) == 2:
        for _ in range(gamma(source) + 1):
            text(source), gamma(source)
    if source.read(1):
        source.read(8 * gamma(source))


def moments(source, count):
    found, value = [], 0.0
    while len(found) < count:
        if source.read(1):
            sign, exponent, digits = source.read(1), signed(source), source.read(4) + 1
            number = source.read((10**digits - 1).bit_length())
            value = float(f"{'-' if sign else ''}0.{number:0{digits}d}e{exponent}")
        else:
            value = 0.0 - value
        found += [value] * (gamma(source) + 1)
    return found


def kinds_of_atoms(source, numbers):
    """[(count, layout or None, atoms)]"""
    found, atom = {}, 0
    while atom < len(numbers):
        end = atom
        while end < len(numbers) and numbers[end] == numbers[atom]:
            end += 1
        if source.read(1):
            layout = tuple([source.read(2) for _ in range(gamma(source) + 1)])
            count = sum(2 * ell + 1 for ell in blocks(layout))
        else:
            layout, count = None, gamma(source)
        stop = end if source.read(1) else atom + gamma(source) + 1
        found.setdefault((numbers[atom], count, layout), []).extend(range(atom, stop))
        atom = stop
    return [(count, layout, atoms) for (_, count, layout), atoms in found.items()]


def blocks(layout):
    pairs = itertools.combinations_with_replacement(layout, 2)
    return [ell for a, b in pairs for ell in range(abs(a - b), a + b + 1, 2)]


def turn(operation, origin, cell, positions, numbers, axial, opposite):
    """(images of all atoms, function L -> matrix) of an operation."""
    (W, w, flip), images = operation, []
    W = np.reshape(W, (3, 3))
    for position, number in zip(positions, numbers, strict=True):
        there = W @ (position - origin) + origin + np.array(w) / 5040
        apart = there - positions
        length = np.linalg.norm((apart - np.rint(apart)) @ cell, axis=1)
        length[np.array(numbers) != number] = np.inf
        images.append(int(length.argmin()))
    R = cell.T @ W @ np.linalg.inv(cell.T)
    for _ in range(12):
        R = (R + np.linalg.inv(R).T) / 2

    def matrix(ell):
        points = np.random.default_rng(0).normal(size=(60, 3))
        D = np.linalg.lstsq(harmonics(points, ell), harmonics(points @ R, ell), rcond=None)[0]
        if opposite and ell >= 4:
            sign = (-1.0) ** np.arange(-ell, ell + 1)
            D = D * sign * sign[:, None]
        return (-1) ** flip * (np.kron(np.linalg.det(R) * R, D) if axial else D)

    return images, matrix


def harmonics(points, ell):
    """Real spherical harmonics, M from -L to L, by the recursion of Legendre's functions, without their sign."""
    x, y, z = (points / np.linalg.norm(points, axis=1)[:, None]).T
    P = {(0, 0): np.ones_like(z)}  # over sin(polar)^m
    for m in range(ell + 1):
        if m:
            P[m, m] = (2 * m - 1) * P[m - 1, m - 1]
        for n in range(m + 1, ell + 1):
            P[n, m] = ((2 * n - 1) * z * P[n - 1, m] - (n + m - 1) * P.get((n - 2, m), 0)) / (n - m)
    columns = []
    for m in range(-ell, ell + 1):
        size = (x + 1j * y) ** abs(m)
        norm = np.prod([1.0, *range(ell - abs(m) + 1, ell + abs(m) + 1)]) ** -0.5 * (2**0.5 if m else 1)
        columns.append(norm * P[ell, abs(m)] * (size.imag if m < 0 else size.real))
    return np.stack(columns, axis=1)


def orbits_of_atoms(layout, atoms, turns):
    """[[(places of the blocks of an L, basis, {atom: matrix})]], an orbit each."""
    found, left = [], list(atoms)
    while left:
        first = left[0]
        members = sorted({images[first] for images, _ in turns})
        left = [atom for atom in left if atom not in members]
        terms, start, places = [], 0, {}
        for ell in blocks(layout):
            places.setdefault(ell, []).append(list(range(start, start + 2 * ell + 1)))
            start += 2 * ell + 1
        for ell in sorted(places):
            onto = {b: np.mean([m(ell) for images, m in turns if images[first] == b], axis=0) for b in members}
            terms.append((ell, places[ell], basis_of(onto[first]), onto))
        found.append(terms)
    return found


def basis_of(projector):
    rest, basis = projector.copy(), []
    for _ in range(round(np.trace(projector))):
        squares = (rest**2).sum(axis=0)
        column = rest[:, np.flatnonzero(squares >= 0.437 * squares.max())[0]]
        column = column / np.linalg.norm(column)
        rest = rest - np.outer(column, column @ rest)
        basis.append(column / np.abs(column).max())
    return basis


def part_head(source, kind, components, kinds, turns):
    coded = []
    for count, layout, atoms in kinds:
        if not source.read(1):
            coded.append(None)
            continue
        code = source.read(11)
        plain = layout is None or kind == "imaginary"
        orbits = [[(None, None, None, {atom: None})] for atom in atoms] if plain else []
        orbits = orbits or orbits_of_atoms(layout, atoms, turns)
        predicted = source.read(1) if len(orbits) > 1 else 0
        one = {
            "step": step(code),
            "orbits": orbits,
            "predicted": predicted,
            "plain": plain,
            "count": count * components,
        }
        if not plain:
            one["big"] = [[ell == 0 for ell, own, basis, _ in o for _ in own for _ in basis] for o in orbits]
        coded.append(one)
    used = [one for one in coded if one]
    flags = [flag for one in used if not one["plain"] for row in one["big"] for flag in row]
    mapped = any(one["plain"] for one in used)
    return coded, [source.read(6) if there or mapped else None for there in (mapped, any(flags), not all(flags))]


def read_levels(coder, coded, initials):
    used = [one for one in coded if one]
    mapped = [one for one in used if one["plain"]]
    if mapped:
        bits = iter(coder.values([0] * sum(one["count"] for one in mapped), initials[0]))
        for one in mapped:
            one["big"] = [[next(bits) != 0 for _ in range(one["count"])]] * len(one["orbits"])
    lists = []
    for wanted, initial in ((True, initials[1]), (False, initials[2])):
        size = sum(row.count(wanted) for one in used for row in one["big"])
        lists.append(iter(coder.values([0] * size, initial) if initial is not None else []))
    big = {id(one): [[next(lists[0]) for flag in row if flag] for row in one["big"]] for one in used}
    for one in used:
        if one["predicted"]:
            before = []
            for row in big[id(one)]:
                guess = [x if abs(x) >= 8 else 0 for x in before] if len(before) == len(row) else [0] * len(row)
                row[:] = [x + y for x, y in zip(row, guess, strict=True)]
                before = row
        one["levels"] = []
        for flags, large in zip(one["big"], big[id(one)], strict=True):
            left = iter(large)
            one["levels"].append([next(left) if flag else next(lists[1]) for flag in flags])


def part_values(one, n_atoms, components, count):
    """{atom: (components, count)}"""
    values = {atom: np.zeros((components, count)) for atom in range(n_atoms)}
    if one is None:
        return values
    for orbit, levels in zip(one["orbits"], one["levels"], strict=True):
        numbers = iter(np.array(levels) * one["step"])
        if one["plain"]:
            (atom,) = orbit[0][3]
            values[atom] = np.reshape(list(numbers), (count, components)).T
            continue
        for _, places, basis, onto in orbit:
            for place in places:
                first = sum((next(numbers) * column for column in basis), np.zeros(components * len(place)))
                for atom, matrix in onto.items():
                    values[atom][:, place] = (matrix @ first).reshape(components, -1)
    return {atom: np.where(np.abs(own) < one["step"] / 1000, 0, own) for atom, own in values.items()}


# --- 1, 2 The store --------------------------------------------------------------------------------------------------


def decode_payload(payload, prior_of):
    source = Bits(payload)
    codec = source.read(8)
    if codec in (2, 4):
        return decode_fourier(source, prior_of, codec == 4)
    if codec == 3:
        return decode_realspace(source)
    raise ValueError(f"codec {codec} is not in this decoder")


def record_of(path, material_id):
    """(store, payload, extras)"""
    store = zarr.open_group(path, mode="r")
    row = list(store["material_id"][:]).index(material_id)
    start, size = int(store["payload_offset"][row]), int(store["stored_bytes"][row])
    record = store["payload"][start : start + size].tobytes()
    middle = size - 4 - int(store["extras_length"][row])
    return store, record[:middle], record[middle:-4]


def occupancies_of(path, material_id):
    """As `decode_occupancies`; None where the record has them as text, or none."""
    _, payload, extras = record_of(path, material_id)
    return decode_occupancies(extras, payload) if extras[:1] == b"\2" else None


def decode_record(path, material_id):
    """(cell, positions, numbers, {channel: grid in e/Å^3})."""
    store, payload, _ = record_of(path, material_id)

    def prior_of(identifier):
        group = store[f"prior/{identifier:08x}"]
        return {"numbers": group["numbers"][:].tolist(), "coefficients": group["coefficients"][:]}

    return decode_payload(payload, prior_of)


# --- 2.3 Latents -----------------------------------------------------------------------------------------------------


def latent_of(path, material_id):
    """Latent of a material as floats, (channel, z, y, x); None where it has none."""
    store = zarr.open_group(path, mode="r")
    row = list(store["material_id"][:]).index(material_id)
    array = store["latent"]
    stored = array[row].astype(float)
    if (stored == array.attrs["_FillValue"]).all():
        return None
    return stored * array.attrs["scale_factor"] + array.attrs["add_offset"]


if __name__ == "__main__":
    cell, _, numbers, channels = decode_record(*sys.argv[1:3])
    total = channels["total"]
    print(total.shape, total.mean() * abs(np.linalg.det(cell)), total.min())
