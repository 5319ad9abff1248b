// A lattice plane (hkl), and profiles along lines and axes.
import { cartesian, type Crystal, inverse, sample, type V3, volumeOf } from './density'

type Field = { values: ArrayLike<number>; grid: V3; cell: ArrayLike<number> }

/** Values on a Cartesian raster in the plane: row by row from the top; span is its width in Å. */
export interface Slice {
  width: number
  height: number
  span: number
  values: Float32Array
  min: number
  max: number
  /** Distance between neighbouring planes (hkl), Å. */
  spacing: number
  /** Atoms within 0.5 Å of the plane: element, and place on the raster in pixels. */
  atoms: { z: number; x: number; y: number }[]
}

/** Cartesian axes of the plane (hkl): two in it, and its normal; and the spacing of such planes. */
export function planeAxes(cell: ArrayLike<number>, hkl: V3): { e1: V3; e2: V3; normal: V3; spacing: number } {
  const inv = inverse(cell)
  const n = [0, 1, 2].map((r) => inv[3 * r] * hkl[0] + inv[3 * r + 1] * hkl[1] + inv[3 * r + 2] * hkl[2])
  const size = Math.hypot(...n)
  if (!(size > 0)) throw new Error('a plane needs three whole numbers h k l, not all of them 0')
  const normal = n.map((x) => x / size) as V3
  // The shortest of the lattice vectors that surely lie in the plane is drawn level.
  const [h, k, l] = hkl
  const inPlane = [
    [k, -h, 0],
    [l, 0, -h],
    [0, l, -k],
  ]
    .filter((x) => x.some(Boolean))
    .map((f) => cartesian(cell, f))
  inPlane.sort((p, q) => Math.hypot(...p) - Math.hypot(...q))
  // To the right or to the left: c points up, or where it does not show a points to the right.
  const dot = (p: ArrayLike<number>, row: number) =>
    (p[0] * cell[3 * row] + p[1] * cell[3 * row + 1] + p[2] * cell[3 * row + 2]) /
    Math.hypot(cell[3 * row], cell[3 * row + 1], cell[3 * row + 2])
  const axes = (sign: number): [V3, V3] => {
    const length = sign * Math.hypot(...inPlane[0])
    const e1 = inPlane[0].map((x) => x / length) as V3
    const e2 = [0, 1, 2].map(
      (i) => normal[(i + 1) % 3] * e1[(i + 2) % 3] - normal[(i + 2) % 3] * e1[(i + 1) % 3],
    ) as V3
    return [e1, e2]
  }
  let [e1, e2] = axes(1)
  const up = dot(e2, 2)
  if (up < -1e-6 || (up < 1e-6 && dot(e1, 0) < -1e-6)) [e1, e2] = axes(-1)
  return { e1, e2, normal, spacing: 1 / size }
}

/** Planes that a picture may begin with, the most usual ones first. */
const PLANES: V3[] = [
  [1, 1, 0],
  [0, 0, 1],
  [1, 0, 0],
  [0, 1, 0],
  [1, 0, 1],
  [0, 1, 1],
  [1, -1, 0],
  [1, 0, -1],
  [0, 1, -1],
  [1, 1, 1],
  [1, 1, -1],
  [1, -1, 1],
  [-1, 1, 1],
]

/** The plane of small indices that goes through most atoms (within 0.15 Å), and one of these atoms. */
export function startPlane(crystal: Crystal): { hkl: V3; offset: number; about: V3 } {
  const { cell, positions } = crystal
  const count = Math.min(200, crystal.numbers.length)
  const place = (n: number) => [0, 1, 2].map((k) => positions[3 * n + k]) as V3
  const best = { hkl: PLANES[0], offset: 0, about: (count ? place(0) : [0, 0, 0]) as V3, found: 0 }
  for (const hkl of PLANES) {
    const { spacing } = planeAxes(cell, hkl)
    const heights = Array.from({ length: count }, (_, n) => hkl.reduce((sum, h, k) => sum + h * positions[3 * n + k], 0))
    heights.forEach((height, n) => {
      const found = heights.filter((x) => Math.abs(x - height - Math.round(x - height)) * spacing < 0.15).length
      const offset = height - Math.round(height)
      const nearer = found === best.found && hkl === best.hkl && Math.abs(offset) < Math.abs(best.offset) - 1e-6
      if (found > best.found || nearer) Object.assign(best, { hkl, offset, about: place(n), found })
    })
  }
  return { ...best, offset: Number(best.offset.toFixed(4)) }
}

/**
 * offset: of the plane from the origin, in units of the spacing. about: a fractional place whose foot on the plane is the
 * middle of the raster; the origin unless given.
 */
export function slice(
  field: Field,
  crystal: Crystal,
  hkl: V3,
  offset: number,
  width: number,
  height: number,
  about: V3 = [0, 0, 0],
): Slice {
  const { cell, grid, values } = field
  const { e1, e2, normal, spacing } = planeAxes(cell, hkl)
  const inv = inverse(cell)
  const span = 1.7 * Math.cbrt(volumeOf(cell)) * Math.max(1, width / height / 1.4)
  const middle = cartesian(cell, about)
  const along = offset * spacing - middle.reduce((sum, x, k) => sum + x * normal[k], 0)
  const centre = middle.map((x, k) => x + along * normal[k])
  const out = new Float32Array(width * height)
  let min = Infinity,
    max = -Infinity
  const fractional = (p: number[]) => [0, 1, 2].map((k) => p[0] * inv[k] + p[1] * inv[3 + k] + p[2] * inv[6 + k])
  const start = fractional(centre),
    right = fractional(e1),
    up = fractional(e2)
  const pixel = span / width
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const a = (x + 0.5 - width / 2) * pixel,
        b = (height / 2 - y - 0.5) * pixel
      const v = sample(
        values,
        grid,
        start[0] + a * right[0] + b * up[0],
        start[1] + a * right[1] + b * up[1],
        start[2] + a * right[2] + b * up[2],
      )
      out[y * width + x] = v
      if (v < min) min = v
      if (v > max) max = v
    }
  return {
    width,
    height,
    span,
    values: out,
    min,
    max,
    spacing,
    atoms: atomsNear(crystal, centre, { e1, e2, normal }, span, width, height),
  }
}

function atomsNear(
  crystal: Crystal,
  centre: number[],
  axes: { e1: V3; e2: V3; normal: V3 },
  span: number,
  width: number,
  height: number,
) {
  const { cell } = crystal
  const inv = inverse(cell)
  const radius = span * 0.75
  // Cells that a sphere of this radius can reach.
  const reach = [0, 1, 2].map((k) => Math.min(12, Math.ceil(radius * Math.hypot(inv[k], inv[3 + k], inv[6 + k])) + 1))
  const dot = (p: number[], q: number[]) => p[0] * q[0] + p[1] * q[1] + p[2] * q[2]
  const out: Slice['atoms'] = []
  crystal.numbers.forEach((z, n) => {
    for (let i = -reach[0]; i <= reach[0]; i++)
      for (let j = -reach[1]; j <= reach[1]; j++)
        for (let k = -reach[2]; k <= reach[2]; k++) {
          const f = [0, 1, 2].map((q) => crystal.positions[3 * n + q] - Math.floor(crystal.positions[3 * n + q]))
          const p = cartesian(cell, [f[0] + i, f[1] + j, f[2] + k])
          const d = p.map((x, q) => x - centre[q])
          if (Math.abs(dot(d, axes.normal)) > 0.5) continue
          const x = width / 2 + (dot(d, axes.e1) / span) * width,
            y = height / 2 - (dot(d, axes.e2) / span) * width
          if (x > 0 && x < width && y > 0 && y < height && out.length < 400) out.push({ z, x, y })
        }
  })
  return out
}

/** count points from one fractional place to another; distances in Å. */
export function line(field: Field, from: V3, to: V3, count = 200): { distance: Float64Array; values: Float64Array } {
  const step = cartesian(
    field.cell,
    to.map((x, i) => x - from[i]),
  )
  const length = Math.hypot(...step)
  const distance = Float64Array.from({ length: count }, (_, i) => (length * i) / (count - 1))
  const values = Float64Array.from({ length: count }, (_, i) => {
    const f = from.map((x, k) => x + ((to[k] - x) * i) / (count - 1))
    return sample(field.values, field.grid, f[0], f[1], f[2])
  })
  return { distance, values }
}

/** Mean over the planes of grid points along a lattice vector; distances along the normal of these planes, Å. */
export function planarAverage(field: Field, axis: number): { distance: Float64Array; values: Float64Array } {
  const { values, grid, cell } = field
  const n = grid[axis]
  const sums = new Float64Array(n)
  const stride = [1, grid[0], grid[0] * grid[1]][axis]
  for (let p = 0; p < values.length; p++) sums[Math.floor(p / stride) % n] += values[p]
  const inv = inverse(cell)
  const height = 1 / Math.hypot(inv[axis], inv[3 + axis], inv[6 + axis])
  return {
    distance: Float64Array.from({ length: n }, (_, i) => (height * i) / n),
    values: sums.map((x) => (x * n) / values.length),
  }
}
