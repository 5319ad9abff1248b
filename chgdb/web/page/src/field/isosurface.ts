// Isosurface of a periodic grid (x fastest) in any cell: marching cubes over the closed cell [0, n], vertices indexed.
import { edgeTable, triTable } from 'three/addons/objects/MarchingCubes.js'
import { inverse, type V3 } from './density'

/** Cartesian vertices and unit normals, which point to where values fall; three indices a triangle. */
export interface Mesh {
  positions: Float32Array
  normals: Float32Array
  indices: Uint32Array
}

const CX = [0, 1, 1, 0, 0, 1, 1, 0],
  CY = [0, 0, 1, 1, 0, 0, 1, 1],
  CZ = [0, 0, 0, 0, 1, 1, 1, 1]
const EA = [0, 1, 3, 0, 4, 5, 7, 4, 0, 1, 2, 3],
  EB = [1, 2, 2, 3, 5, 6, 6, 7, 4, 5, 6, 7] // lower corner first
const AX = [0, 1, 0, 1, 0, 1, 0, 1, 2, 2, 2, 2]
export function isosurface(v: ArrayLike<number>, grid: V3, cell: ArrayLike<number>, iso: number): Mesh {
  const [nx, ny, nz] = grid
  const plane = nx * ny
  const inv = inverse(cell)
  let P = new Float32Array(1 << 14),
    N = new Float32Array(1 << 14),
    I = new Uint32Array(1 << 15)
  let np = 0,
    ni = 0
  const sx = nx + 1,
    layer = sx * (ny + 1)
  // edge -> vertex of the two point layers of the current slab; z edges of the slab
  let low = new Int32Array(2 * layer).fill(-1),
    high = new Int32Array(2 * layer).fill(-1)
  const up = new Int32Array(layer)
  const X = new Int32Array(nx + 1),
    Y = new Int32Array(ny + 1),
    Z = new Int32Array(nz + 1)
  for (let i = 0; i <= nx; i++) X[i] = i % nx
  for (let i = 0; i <= ny; i++) Y[i] = (i % ny) * nx
  for (let i = 0; i <= nz; i++) Z[i] = (i % nz) * plane
  const grad = new Float64Array(3)
  const gradient = (i: number, j: number, k: number, f: number) => {
    i %= nx
    j %= ny
    k %= nz
    const y = Y[j] + Z[k],
      x = X[i]
    grad[0] += f * nx * (v[X[(i + 1) % nx] + y] - v[X[(i + nx - 1) % nx] + y])
    grad[1] += f * ny * (v[x + Y[(j + 1) % ny] + Z[k]] - v[x + Y[(j + ny - 1) % ny] + Z[k]])
    grad[2] += f * nz * (v[x + Y[j] + Z[(k + 1) % nz]] - v[x + Y[j] + Z[(k + nz - 1) % nz]])
  }
  const vertex = (i: number, j: number, k: number, axis: number, a: number, b: number) => {
    if (3 * np + 3 > P.length) {
      const p = new Float32Array(2 * P.length)
      p.set(P)
      P = p
      const n = new Float32Array(2 * N.length)
      n.set(N)
      N = n
    }
    const t = (iso - a) / (b - a)
    const x = (i + (axis === 0 ? t : 0)) / nx,
      y = (j + (axis === 1 ? t : 0)) / ny,
      z = (k + (axis === 2 ? t : 0)) / nz
    const o = 3 * np
    P[o] = x * cell[0] + y * cell[3] + z * cell[6]
    P[o + 1] = x * cell[1] + y * cell[4] + z * cell[7]
    P[o + 2] = x * cell[2] + y * cell[5] + z * cell[8]
    grad.fill(0)
    gradient(i, j, k, 1 - t)
    gradient(i + (axis === 0 ? 1 : 0), j + (axis === 1 ? 1 : 0), k + (axis === 2 ? 1 : 0), t)
    // a gradient is a covector: cell^-1 times it
    const gx = inv[0] * grad[0] + inv[1] * grad[1] + inv[2] * grad[2],
      gy = inv[3] * grad[0] + inv[4] * grad[1] + inv[5] * grad[2],
      gz = inv[6] * grad[0] + inv[7] * grad[1] + inv[8] * grad[2]
    const s = -1 / (Math.hypot(gx, gy, gz) || 1)
    N[o] = gx * s
    N[o + 1] = gy * s
    N[o + 2] = gz * s
    return np++
  }
  const c = new Float64Array(8)
  const ids = new Int32Array(12)
  const below = new Uint8Array(nx * ny * nz)
  for (let p = 0; p < below.length; p++) below[p] = v[p] < iso ? 1 : 0
  for (let k = 0; k < nz; k++) {
    up.fill(-1)
    for (let j = 0; j < ny; j++) {
      // The four rows of points along a slab of cells.
      const r0 = Y[j] + Z[k],
        r1 = Y[j + 1] + Z[k],
        r2 = Y[j] + Z[k + 1],
        r3 = Y[j + 1] + Z[k + 1]
      let right = (below[r0] << 1) | (below[r1] << 2) | (below[r2] << 5) | (below[r3] << 6)
      for (let i = 0; i < nx; i++) {
        const a = X[i],
          b = X[i + 1]
        // What was to the right of the cell before is to the left of this one: corners 1 2 5 6 become 0 3 4 7.
        const left = ((right & 0x22) >> 1) | ((right & 0x44) << 1)
        right = (below[b + r0] << 1) | (below[b + r1] << 2) | (below[b + r2] << 5) | (below[b + r3] << 6)
        const kind = left | right
        if (kind === 0 || kind === 255) continue
        c[0] = v[a + r0]
        c[1] = v[b + r0]
        c[2] = v[b + r1]
        c[3] = v[a + r1]
        c[4] = v[a + r2]
        c[5] = v[b + r2]
        c[6] = v[b + r3]
        c[7] = v[a + r3]
        // three's tables number the corners 0 1 3 2 / 4 5 7 6 pairwise as here (Lorensen & Cline)
        const edges = edgeTable[kind]
        if (!edges) continue
        for (let e = 0; e < 12; e++) {
          if (!(edges & (1 << e))) continue
          const p = EA[e],
            q = EB[e],
            ei = i + CX[p],
            ej = j + CY[p],
            axis = AX[e]
          const slot = ej * sx + ei
          const store = axis === 2 ? up : CZ[p] ? high : low
          const key = axis === 1 ? slot + layer : slot
          let id = store[key]
          if (id < 0) {
            id = vertex(ei, ej, k + CZ[p], axis, c[p], c[q])
            store[key] = id
          }
          ids[e] = id
        }
        if (ni + 15 > I.length) {
          const n = new Uint32Array(2 * I.length)
          n.set(I)
          I = n
        }
        for (let t = kind * 16; triTable[t] !== -1; t += 3) {
          I[ni++] = ids[triTable[t]]
          I[ni++] = ids[triTable[t + 1]]
          I[ni++] = ids[triTable[t + 2]]
        }
      }
    }
    ;[low, high] = [high, low]
    high.fill(-1)
  }
  return { positions: P.slice(0, 3 * np), normals: N.slice(0, 3 * np), indices: I.slice(0, ni) }
}
