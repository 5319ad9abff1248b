// What everything passes around: a crystal and fields on its grid.
export type V3 = [number, number, number]

export interface Crystal {
  /** Rows are lattice vectors, in Å: nine numbers. */
  cell: Float64Array
  /** Atomic numbers, in the file's order. */
  numbers: number[]
  /** Fractional coordinates, three an atom. */
  positions: Float64Array
}

/** Values in e/Å³; x runs fastest, so point (i, j, k) is at i + nx (j + ny k). */
export interface Density extends Crystal {
  grid: V3
  channels: Record<string, Float64Array>
}

/** Inverse of the cell; its columns are the reciprocal vectors without 2π. */
export function inverse(cell: ArrayLike<number>): Float64Array {
  const [a, b, c, d, e, f, g, h, i] = Array.from(cell)
  const det = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
  const adjugate = [e * i - f * h, c * h - b * i, b * f - c * e, f * g - d * i, a * i - c * g, c * d - a * f]
  adjugate.push(d * h - e * g, b * g - a * h, a * e - b * d)
  return Float64Array.from(adjugate, (x) => x / det)
}

export function volumeOf(cell: ArrayLike<number>): number {
  const [a, b, c, d, e, f, g, h, i] = Array.from(cell)
  return Math.abs(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g))
}

export const points = (grid: V3) => grid[0] * grid[1] * grid[2]

/** Cartesian place of a fractional one, in Å. */
export function cartesian(cell: ArrayLike<number>, f: ArrayLike<number>): V3 {
  return [0, 1, 2].map((k) => f[0] * cell[k] + f[1] * cell[3 + k] + f[2] * cell[6 + k]) as V3
}

/** Lengths in Å and angles in degrees: a, b, c, α, β, γ. */
export function parameters(cell: ArrayLike<number>): number[] {
  const v = [0, 1, 2].map((i) => Array.from({ length: 3 }, (_, k) => cell[3 * i + k]))
  const length = v.map((x) => Math.hypot(...x))
  const angle = (i: number, j: number) =>
    (180 / Math.PI) * Math.acos(v[i].reduce((s, x, k) => s + x * v[j][k], 0) / (length[i] * length[j]))
  return [...length, angle(1, 2), angle(0, 2), angle(0, 1)]
}

/** Trilinear value at a fractional place, periodic. */
export function sample(values: ArrayLike<number>, grid: V3, fx: number, fy: number, fz: number): number {
  const [nx, ny, nz] = grid
  const gx = (fx - Math.floor(fx)) * nx,
    gy = (fy - Math.floor(fy)) * ny,
    gz = (fz - Math.floor(fz)) * nz
  const i = Math.floor(gx),
    j = Math.floor(gy),
    k = Math.floor(gz)
  const s = gx - i,
    t = gy - j,
    w = gz - k
  const i0 = i % nx,
    i1 = (i + 1) % nx
  const j0 = (j % ny) * nx,
    j1 = ((j + 1) % ny) * nx
  const k0 = (k % nz) * nx * ny,
    k1 = ((k + 1) % nz) * nx * ny
  const low =
    (1 - t) * ((1 - s) * values[i0 + j0 + k0] + s * values[i1 + j0 + k0]) +
    t * ((1 - s) * values[i0 + j1 + k0] + s * values[i1 + j1 + k0])
  const high =
    (1 - t) * ((1 - s) * values[i0 + j0 + k1] + s * values[i1 + j0 + k1]) +
    t * ((1 - s) * values[i0 + j1 + k1] + s * values[i1 + j1 + k1])
  return (1 - w) * low + w * high
}

/** Every field below this number of points an axis is drawn at once; larger ones first on a grid like this. */
export function coarse(grid: V3, most = 56): V3 {
  return grid.map((n) => (n <= most ? n : Math.max(2, 2 * Math.round((most * n) / Math.max(...grid) / 2)))) as V3
}

/** The field on another grid, trilinear; for previews. */
export function resampled(values: ArrayLike<number>, grid: V3, target: V3): Float32Array {
  const out = new Float32Array(points(target))
  const [nx, ny, nz] = target
  for (let k = 0, at = 0; k < nz; k++)
    for (let j = 0; j < ny; j++) for (let i = 0; i < nx; i++) out[at++] = sample(values, grid, i / nx, j / ny, k / nz)
  return out
}
