// Section 5 of docs/format.md: the real-space codec.
import { type Crystal, type Density, points, type V3, volumeOf } from '../field/density'
import type { Bits } from './bits'
import { Coder } from './coder'
import { electronCount, frame, stepOf } from './frame'
import { type Group, groupOf } from './groups'
import { truncated } from './metric'

/** source: behind the codec's number. */
export function realspace(source: Bits): Density {
  const fr = frame(source)
  const lanes = [1, 32, 256][source.read(2)]
  const heads = fr.names.map(() => ({
    group: groupOf(source),
    count: electronCount(source),
    step: stepOf(source.read(11)),
    window: source.read(1) ? 4 : 1,
    initial: source.read(6),
  }))
  const coder = new Coder(source.rest(), lanes)
  const volume = volumeOf(fr.cell)
  const total = points(fr.grid)
  const channels: Record<string, Float64Array> = {}
  heads.forEach(({ group, count, step, window, initial }, n) => {
    const representative = orbitsOfPoints(fr.grid, group)
    const order: number[] = []
    for (let p = 0; p < total; p++) if (representative[p] === p) order.push(p)
    const near = nearestAtoms(order, fr.grid, fr)
    const sorted = order.map((_, i) => i)
    sorted.sort((i, j) => near.element[i] - near.element[j] || near.square[i] - near.square[j] || order[i] - order[j])
    const differences = coder.values(new Float64Array(order.length), initial)
    const levels = new Float64Array(total)
    const last = new Array(window).fill(0)
    sorted.forEach((i, l) => {
      const level = differences[l] + Math.floor(last.reduce((x, y) => x + y) / window)
      last[l % window] = level
      levels[order[i]] = level
    })
    // Points are numbered with z fastest in the format, with x fastest here.
    const [nx, ny, nz] = fr.grid
    const values = new Float64Array(total)
    let sum = 0
    for (let i = 0, p = 0; i < nx; i++)
      for (let j = 0; j < ny; j++)
        for (let k = 0; k < nz; k++, p++) {
          const value = levels[representative[p]] * step
          values[i + nx * (j + ny * k)] = value
          sum += value
        }
    const shift = count / volume - sum / total
    for (let p = 0; p < total; p++) values[p] += shift
    channels[fr.names[n]] = values
  })
  coder.finish()
  return { cell: fr.cell, numbers: fr.numbers, positions: fr.positions, grid: fr.grid, channels }
}

/** The smallest flat index among the images of each point. */
function orbitsOfPoints(grid: V3, group: Group): Int32Array {
  const [nx, ny, nz] = grid
  const smallest = Int32Array.from({ length: points(grid) }, (_, p) => p)
  for (const { W, w } of group.ops) {
    const m = Array.from(W, (x, e) => (x * grid[Math.floor(e / 3)]) / grid[e % 3])
    const t = w.map((x, i) => (x * grid[i]) / 5040)
    if (m.some((x) => !Number.isInteger(x)) || t.some((x) => !Number.isInteger(x)))
      throw new Error('damaged payload: an operation does not map the grid to itself')
    for (let i = 0, p = 0; i < nx; i++)
      for (let j = 0; j < ny; j++)
        for (let k = 0; k < nz; k++, p++) {
          const x = (((m[0] * i + m[1] * j + m[2] * k + t[0]) % nx) + nx) % nx
          const y = (((m[3] * i + m[4] * j + m[5] * k + t[1]) % ny) + ny) % ny
          const z = (((m[6] * i + m[7] * j + m[8] * k + t[2]) % nz) + nz) % nz
          const image = (x * ny + y) * nz + z
          if (image < smallest[p]) smallest[p] = image
        }
  }
  return smallest
}

/** Element of the atom nearest to each point, and the squared distance to it, in the integers of the format. */
function nearestAtoms(order: number[], grid: V3, crystal: Crystal) {
  const A = [0, 1, 2].map((r) => [0, 1, 2].map((c) => truncated(crystal.cell[3 * r + c])))
  const g = A.map((a) => A.map((b) => Number((a[0] * b[0] + a[1] * b[1] + a[2] * b[2]) >> 110n)))
  const unit = 1 << 18
  const element = new Int32Array(order.length)
  // Squares reach 2^60: pairs of doubles would do, big integers are simpler where doubles may have rounded.
  const square = new Float64Array(order.length)
  const atoms = crystal.numbers.map((z, n) => ({
    z,
    at: [0, 1, 2].map((k) => {
      const x = crystal.positions[3 * n + k]
      return Math.floor((x - Math.floor(x)) * unit)
    }),
  }))
  const G = g.map((row) => row.map(BigInt))
  const exact = (u: number[]) => {
    let sum = 0n
    for (let i = 0; i < 3; i++) for (let j = 0; j < 3; j++) sum += BigInt(u[i]) * G[i][j] * BigInt(u[j])
    return sum
  }
  order.forEach((p, o) => {
    const [, ny, nz] = grid
    const index = [Math.floor(p / (ny * nz)), Math.floor(p / nz) % ny, p % nz]
    const place = index.map((x, i) => Math.floor((x * unit) / grid[i]))
    let best = Infinity
    let bestExact: bigint | undefined
    for (const { z, at } of atoms) {
      const c = place.map((x, i) => ((((x - at[i] + unit / 2) % unit) + unit) % unit) - unit / 2)
      for (let i = -1; i < 2; i++)
        for (let j = -1; j < 2; j++)
          for (let k = -1; k < 2; k++) {
            const u = [c[0] + i * unit, c[1] + j * unit, c[2] + k * unit]
            const s =
              u[0] * (g[0][0] * u[0] + 2 * g[0][1] * u[1] + 2 * g[0][2] * u[2]) +
              u[1] * (g[1][1] * u[1] + 2 * g[1][2] * u[2]) +
              u[2] * g[2][2] * u[2]
            if (s > best * (1 + 1e-12) + 1e-6) continue
            const e = exact(u)
            if (bestExact === undefined || e < bestExact) {
              bestExact = e
              best = s
              element[o] = z
            }
          }
    }
    square[o] = Number(bestExact ?? 0n)
  })
  return { element, square }
}
