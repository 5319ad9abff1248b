// Sections 4.4 and 4.5 of docs/format.md: coefficients of a coarse grid, and multipoles that predict them.
import { type Crystal, inverse, type V3 } from '../field/density'
import { type Bits, gamma } from './bits'
import type { Coder } from './coder'
import { stepOf } from './frame'
import type { Group } from './groups'
import { COS, type Orbits, SIN, TURN } from './orbits'

type Table = [number[], number[][]][]
const SMOOTH: Table = [
  [
    [1.5, 1.1, 0.8, 0.55, 0.35],
    [[0.547], [-1.11, 5.61], [1.23, -8.58, 29.5], [-0.913, 7.18, -36.1, 120.5], [0.544, -4.47, 25.4, -133.7, 440.8]],
  ],
  [[1.1, 0.7, 0.4], [[1.05], [-0.572, 14.9], [0.215, -6.83, 127.7]]],
  [[1.1, 0.7, 0.4], [[0.416], [-0.226, 6.1], [0.0704, -2.2, 60.7]]],
  [[1.1, 0.7, 0.4], [[0.158], [-0.0881, 2.26], [0.0228, -0.657, 25.6]]],
  [[1.1, 0.7, 0.4], [[0.0584], [-0.0335, 0.775], [0.00728, -0.184, 9.86]]],
]
const ADDED: Table = [
  [[1, 0.8, 0.6], [[4.26], [-6.53, 26.7], [6.56, -41.5, 105.2]]],
  [[1, 0.8, 0.6], [[1.77], [-2.69, 11.8], [2.57, -16.3, 48.5]]],
  [[1, 0.8, 0.6], [[0.683], [-1.06, 4.65], [0.966, -5.93, 19.8]]],
]
const REACH = 16 * 2 ** 24
const MASK = 25

interface Place {
  family: number
  index: number
  atom: number
}
export interface Prediction {
  coarse?: { divisions: V3; outer: number; inner: number }
  model?: { coded: number; listed: number[]; places: Place[]; step: number; initial: number }
}

export function prediction(source: Bits, grid: V3, atoms: number): Prediction {
  const found: Prediction = {}
  const limit = () => {
    const exponent = source.read(6)
    return source.read(8) * 2 ** exponent
  }
  if (source.read(1)) {
    const divisions = grid.map((n) => (source.read(1) ? n >> 1 : gamma(source))) as V3
    found.coarse = { divisions, outer: limit(), inner: limit() }
  }
  if (!source.read(1)) return found
  const coded = gamma(source)
  const listed: number[] = []
  for (let a = 0; a < atoms; a++) if (source.read(1)) listed.push(a)
  const used = listed.map(() => {
    const all = source.read(1)
    return Array.from({ length: MASK }, () => all || source.read(1))
  })
  const places: Place[] = []
  for (const [family, table] of (found.coarse ? [SMOOTH, ADDED] : [SMOOTH]).entries()) {
    let index = 0
    for (const [l, [, rows]] of table.entries())
      for (let k = 0; k < rows.length; k++)
        for (let m = 0; m < 2 * l + 1; m++, index++)
          for (let a = 0; a < listed.length; a++) if (used[a][l * l + m]) places.push({ family, index, atom: a })
  }
  found.model = { coded, listed, places, step: stepOf(source.read(11)), initial: source.read(6) }
  return found
}

const normOf = (M: number[], x: number, y: number, z: number) =>
  M[0] * x * x + M[4] * y * y + M[8] * z * z + 2 * (M[1] * x * y + M[2] * x * z + M[5] * y * z)

/** The orbits of which at least one vector has a key, in the order of their smallest keys. */
export function onCoarseGrid(orbits: Orbits, M: number[], coarse: NonNullable<Prediction['coarse']>): Orbits {
  const [p, q, r] = coarse.divisions
  const norm = orbits.norm.map(() => Infinity)
  for (let o = 0; o < orbits.count; o++)
    for (let k = orbits.start[o]; k < orbits.start[o + 1]; k++) {
      const x = orbits.h[3 * k],
        y = orbits.h[3 * k + 1],
        z = orbits.h[3 * k + 2]
      let key = normOf(M, x, y, z)
      let limit = coarse.inner
      if (2 * Math.abs(x) <= p && 2 * Math.abs(y) <= q && 2 * Math.abs(z) <= r) {
        limit = coarse.outer
        for (let i = -p; i <= p; i += p)
          for (let j = -q; j <= q; j += q)
            for (let l = -r; l <= r; l += r) key = Math.min(key, normOf(M, x + i, y + j, z + l))
      }
      if (key <= limit && key < norm[o]) norm[o] = key
    }
  const g = orbits.g
  const order = orbits.order.filter((o) => norm[o] < Infinity)
  order.sort((a, b) => norm[a] - norm[b] || g[3 * a + 2] - g[3 * b + 2] || g[3 * a + 1] - g[3 * b + 1] || g[3 * a] - g[3 * b])
  return { ...orbits, order, norm, dof: order.reduce((n, o) => n + orbits.freedom[o], 0) }
}

/** Parameters of the multipoles, (listed atoms, functions) of each family, read from the coder. */
export function parametersOf(coder: Coder, model: NonNullable<Prediction['model']>): Float64Array[][] {
  const values = coder.values(new Float64Array(model.places.length), model.initial)
  const sizes = [SMOOTH, ADDED].map((table) => table.reduce((n, [, rows], l) => n + rows.length * (2 * l + 1), 0))
  const parameters = sizes.map((size) => model.listed.map(() => new Float64Array(size)))
  for (const [n, { family, index, atom }] of model.places.entries())
    parameters[family][atom][index] = values[n] * model.step
  return parameters
}

function harmonics(x: number, y: number, z: number): number[] {
  const xx = x * x,
    yy = y * y,
    zz = z * z
  return [
    1, 1.73 * x, 1.73 * y, 1.73 * z,
    3.87 * x * y, 3.87 * y * z, 1.12 * (3 * zz - 1), 3.87 * x * z, 1.94 * (xx - yy),
    2.09 * y * (3 * xx - yy), 10.25 * x * y * z, 1.62 * y * (5 * zz - 1), 1.32 * z * (5 * zz - 3),
    1.62 * x * (5 * zz - 1), 5.12 * z * (xx - yy), 2.09 * x * (xx - 3 * yy),
    8.87 * x * y * (xx - yy), 6.27 * y * z * (3 * xx - yy), 3.35 * x * y * (7 * zz - 1), 2.37 * y * z * (7 * zz - 3),
    0.375 * (35 * zz * zz - 30 * zz + 3), 2.37 * x * z * (7 * zz - 3), 1.68 * (xx - yy) * (7 * zz - 1),
    6.27 * x * z * (xx - 3 * yy), 2.22 * (xx * xx - 6 * xx * yy + yy * yy),
  ]
}

/** What the multipoles say of every number of the orbits. */
export function predicted(
  orbits: Orbits,
  M: number[],
  group: Group,
  crystal: Crystal,
  found: Prediction,
  parameters: Float64Array[][],
): Float64Array {
  const inv = inverse(crystal.cell)
  const where = found.model!.listed.map((a) =>
    [0, 1, 2].map((axis) => crystal.positions[3 * a + axis] - Math.floor(crystal.positions[3 * a + axis])),
  )
  const sum = [0, 0]
  /** Adds what one family is at a vector. */
  const add = (family: number, h1: number, h2: number, h3: number) => {
    const norm = normOf(M, h1, h2, h3)
    if (!(norm > 0 && norm < REACH)) return
    const x = h1 * inv[0] + h2 * inv[1] + h3 * inv[2],
      y = h1 * inv[3] + h2 * inv[4] + h3 * inv[5],
      z = h1 * inv[6] + h2 * inv[7] + h3 * inv[8]
    const s = Math.sqrt(x * x + y * y + z * z)
    const Y = harmonics(x / s, y / s, z / s)
    const table = family ? ADDED : SMOOTH
    const radial = table.map(([widths, rows], l) => {
      const g = widths.map((w) => (s / w) ** l * Math.exp(-0.5 * (s / w) ** 2))
      return rows.map((row) => row.reduce((n, c, i) => n + c * g[i], 0))
    })
    for (let a = 0; a < where.length; a++) {
      const c = parameters[family][a]
      let re = 0,
        im = 0,
        at = 0
      for (let l = 0; l < table.length; l++) {
        let part = 0
        for (const r of radial[l]) for (let m = l * l; m < (l + 1) ** 2; m++) part += c[at++] * r * Y[m]
        if (l % 4 === 0) re += part
        else if (l % 4 === 1) im -= part
        else if (l % 4 === 2) re -= part
        else im += part
      }
      const t = -2 * Math.PI * (h1 * where[a][0] + h2 * where[a][1] + h3 * where[a][2])
      const cos = Math.cos(t),
        sin = Math.sin(t)
      sum[0] += re * cos - im * sin
      sum[1] += re * sin + im * cos
    }
  }
  const [ox, oy, oz] = group.origin
  const result = new Float64Array(orbits.dof)
  let at = 0
  for (const o of orbits.order) {
    const free = orbits.freedom[o]
    if (!free) continue
    const from = orbits.start[o],
      count = orbits.start[o + 1] - from
    const F = [0, 0, 0, 0] // of both families
    let share = 0
    for (let k = from; k < from + count; k++) {
      const h = [orbits.h[3 * k], orbits.h[3 * k + 1], orbits.h[3 * k + 2]]
      const theta = ((2 * Math.PI) / TURN) * orbits.turns[k] - 2 * Math.PI * (h[0] * ox + h[1] * oy + h[2] * oz)
      const cos = Math.cos(theta),
        sin = -Math.sin(theta)
      for (const family of found.coarse ? [0, 1] : [0]) {
        sum[0] = sum[1] = 0
        if (family === 0 && found.coarse) {
          const N = found.coarse.divisions
          const near = h.map((x, i) => x - N[i] * Math.floor((2 * x + N[i]) / (2 * N[i])))
          for (let i = -1; i <= 1; i++)
            for (let j = -1; j <= 1; j++)
              for (let l = -1; l <= 1; l++) add(0, near[0] + i * N[0], near[1] + j * N[1], near[2] + l * N[2])
          share += h.reduce((n, x, i) => n * (2 * Math.abs(x) < N[i] ? 1 : 2 * Math.abs(x) === N[i] ? 0.5 : 0), 1) / count
        } else add(family, h[0], h[1], h[2])
        const im = sum[0] * sin + sum[1] * cos
        F[2 * family] += (sum[0] * cos - sum[1] * sin) / count
        F[2 * family + 1] += (orbits.conj[k] ? -im : im) / count
      }
    }
    if (!found.coarse) share = 1
    const re = F[0] * share + F[2],
      im = F[1] * share + F[3]
    const scale = Math.sqrt(2 * count)
    const phase = orbits.phase[o]
    if (free === 2) {
      result[at++] = re * scale
      result[at++] = im * scale
    } else result[at++] = (re * COS[phase] - im * SIN[phase]) * scale
  }
  return result
}
