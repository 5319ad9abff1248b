// Section 4.1 of docs/format.md: orbits of reciprocal vectors, their degrees of freedom and their order.
import type { V3 } from '../field/density'
import type { Group } from './groups'

export const TURN = 5040
export const COS = new Float64Array(2 * TURN)
export const SIN = new Float64Array(2 * TURN) // halves of 1/5040
for (let t = 0; t < 2 * TURN; t++) {
  COS[t] = Math.cos((Math.PI * t) / TURN)
  SIN[t] = Math.sin((Math.PI * t) / TURN)
}

export interface Orbits {
  order: Int32Array
  norm: number[]
  freedom: Uint8Array
  phase: Int32Array
  start: Int32Array
  h: Int32Array
  /** Of each orbit the vector that it is named after. */
  g: Int32Array
  turns: Int32Array
  conj: Uint8Array
  count: number
  dof: number
}

export function orbitsOf(grid: V3, M: number[], limit: number, group: Group): Orbits {
  const [a, b, c] = grid.map((n) => (n - 1) >> 1)
  const s1 = 2 * a + 1,
    s2 = 2 * b + 1
  const seen = new Uint8Array(s1 * s2 * (c + 1))
  const { ops } = group
  const norm: number[] = [],
    g3: number[] = [],
    g2: number[] = [],
    g1: number[] = []
  const freedom: number[] = [],
    phase: number[] = [],
    start: number[] = [0]
  const H: number[] = [],
    T: number[] = [],
    C: number[] = []
  const n = ops.length
  const i1 = new Int32Array(n),
    i2 = new Int32Array(n),
    i3 = new Int32Array(n),
    tt = new Int32Array(n),
    sg = new Int8Array(n)
  const [m00, m01, m02, , m11, m12, , , m22] = M
  const normOf = (x: number, y: number, z: number) =>
    m00 * x * x + m11 * y * y + m22 * z * z + 2 * (m01 * x * y + m02 * x * z + m12 * y * z)
  for (let h3 = 0; h3 <= c; h3++)
    for (let h2 = h3 ? -b : 0; h2 <= b; h2++)
      for (let h1 = h3 || h2 ? -a : 1; h1 <= a; h1++) {
        const at = (h3 * s2 + h2 + b) * s1 + h1 + a
        if (seen[at] || normOf(h1, h2, h3) > limit) continue
        let best = 0
        for (let k = 0; k < n; k++) {
          const { W, w, f } = ops[k]
          let x = W[0] * h1 + W[3] * h2 + W[6] * h3,
            y = W[1] * h1 + W[4] * h2 + W[7] * h3,
            z = W[2] * h1 + W[5] * h2 + W[8] * h3
          let t = (h1 * w[0] + h2 * w[1] + h3 * w[2] + 2520 * f) % TURN
          if (t < 0) t += TURN
          tt[k] = t
          sg[k] = 1
          if (z < 0 || (z === 0 && (y < 0 || (y === 0 && x < 0)))) {
            x = -x
            y = -y
            z = -z
            sg[k] = -1
          }
          i1[k] = x
          i2[k] = y
          i3[k] = z
          if (k && (z > i3[best] || (z === i3[best] && (y > i2[best] || (y === i2[best] && x > i1[best]))))) best = k
        }
        const x = i1[best],
          y = i2[best],
          z = i3[best],
          tg = tt[best],
          sgg = sg[best]
        // degrees of freedom, at g
        let zero = false,
          inverted = -1
        for (let k = 0; k < n && !zero; k++) {
          const { W, w, f } = ops[k]
          const u = W[0] * x + W[3] * y + W[6] * z,
            v = W[1] * x + W[4] * y + W[7] * z,
            q = W[2] * x + W[5] * y + W[8] * z
          let t = (x * w[0] + y * w[1] + z * w[2] + 2520 * f) % TURN
          if (t < 0) t += TURN
          if (u === x && v === y && q === z) {
            if (t) zero = true
          } else if (u === -x && v === -y && q === -z) {
            if (inverted >= 0 && inverted !== t) zero = true
            inverted = t
          }
        }
        let smallest = Infinity
        for (let k = 0; k < n; k++) {
          if (i3[k] > c || Math.abs(i2[k]) > b || Math.abs(i1[k]) > a) continue
          const at = (i3[k] * s2 + i2[k] + b) * s1 + i1[k] + a
          if (seen[at]) continue
          const size = normOf(i1[k], i2[k], i3[k])
          if (size > limit) continue
          seen[at] = 1
          smallest = Math.min(smallest, size)
          H.push(i1[k], i2[k], i3[k])
          T.push(sg[k] > 0 ? tt[k] - tg : tg - tt[k])
          C.push(sg[k] * sgg < 0 ? 1 : 0)
        }
        norm.push(smallest)
        g1.push(x)
        g2.push(y)
        g3.push(z)
        freedom.push(zero ? 0 : inverted >= 0 ? 1 : 2)
        phase.push(zero || inverted < 0 ? 0 : inverted)
        start.push(C.length)
      }
  const order = Int32Array.from(norm.keys())
  order.sort((p, q) => norm[p] - norm[q] || g3[p] - g3[q] || g2[p] - g2[q] || g1[p] - g1[q])
  let dof = 0
  for (const f of freedom) dof += f
  return {
    order,
    norm,
    freedom: Uint8Array.from(freedom),
    phase: Int32Array.from(phase),
    start: Int32Array.from(start),
    h: Int32Array.from(H),
    g: Int32Array.from({ length: 3 * norm.length }, (_, i) => [g1, g2, g3][i % 3][(i / 3) | 0]),
    turns: Int32Array.from(T),
    conj: Uint8Array.from(C),
    count: norm.length,
    dof,
  }
}

export function nyquist(grid: V3, M: number[], limit: number) {
  const [nx, ny, nz] = grid
  const terms: { norm: number; i: number; j: number; k: number; mi: number; mj: number; mk: number }[] = []
  const wrap = (i: number, n: number) => (2 * i > n ? i - n : i)
  for (let i = 0; i < nx; i++)
    for (let j = 0; j < ny; j++)
      for (let k = 0; k <= nz >> 1; k++) {
        if (2 * i !== nx && 2 * j !== ny && 2 * k !== nz) continue
        const mi = (nx - i) % nx,
          mj = (ny - j) % ny,
          mk = (nz - k) % nz
        if (mk === k && (i > mi || (i === mi && j > mj))) continue
        const x = wrap(i, nx),
          y = wrap(j, ny),
          z = wrap(k, nz)
        const norm = M[0] * x * x + M[4] * y * y + M[8] * z * z + 2 * (M[1] * x * y + M[2] * x * z + M[5] * y * z)
        if (norm <= limit) terms.push({ norm, i, j, k, mi, mj, mk })
      }
  return terms.sort((p, q) => p.norm - q.norm)
}
