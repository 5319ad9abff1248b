// Section 4.2 of docs/format.md: the superposition of atoms.
import { type Crystal, inverse, type V3, volumeOf } from '../field/density'
import type { Spectrum } from './spectrum'

/** numbers: of the elements; coefficients: 36 an element. */
export interface Prior {
  numbers: number[]
  coefficients: Float32Array
}

const FACTORS = new WeakMap<Prior, Map<number, Float64Array>>()
function factorTable(prior: Prior, z: number): Float64Array {
  let of = FACTORS.get(prior)
  if (!of) FACTORS.set(prior, (of = new Map()))
  let t = of.get(z)
  if (t) return t
  const row = prior.numbers.indexOf(z)
  if (row < 0) throw new Error(`the prior has no element ${z}`)
  t = new Float64Array(2115)
  for (let k = 0; k < 2112; k++) {
    const s = k / 512,
      i = Math.floor(s / 0.125),
      u = s / 0.125 - i
    const c = prior.coefficients.subarray(36 * row + i, 36 * row + i + 4)
    t[k] =
      (c[0] * (1 - u) ** 3 +
        c[1] * (3 * u ** 3 - 6 * u ** 2 + 4) +
        c[2] * (-3 * u ** 3 + 3 * u ** 2 + 3 * u + 1) +
        c[3] * u ** 3) /
      6
  }
  of.set(z, t)
  return t
}

/** F_prior of all h of the box of `grid` with s < 4.125: the superposition of atoms. */
export function addPrior(spectrum: Spectrum, grid: V3, crystal: Crystal, prior: Prior, scale = 1) {
  const inv = inverse(crystal.cell) // columns are reciprocal vectors: s = |h inv^T|
  const V = volumeOf(crystal.cell)
  const [a, b, c] = grid.map((n) => (n - 1) >> 1)
  const elements = [...new Set(crystal.numbers)]
  const tables = elements.map((z) => factorTable(prior, z))
  // per atom tables of e^{-2 pi i h x} along each axis
  const atoms = crystal.numbers.map((z, n) => ({
    e: elements.indexOf(z),
    p: [0, 1, 2].map((ax) => {
      const m = [a, b, c][ax],
        re = new Float64Array(2 * m + 1),
        im = new Float64Array(2 * m + 1)
      for (let h = -m; h <= m; h++) {
        const x = h * crystal.positions[3 * n + ax]
        const t = -2 * Math.PI * (x - Math.round(x))
        re[h + m] = Math.cos(t)
        im[h + m] = Math.sin(t)
      }
      return { re, im }
    }),
  }))
  const n = atoms.length
  const cr = new Float64Array(n),
    ci = new Float64Array(n)
  const ff = new Float64Array(elements.length)
  for (let h3 = 0; h3 <= c; h3++)
    for (let h2 = h3 ? -b : 0; h2 <= b; h2++) {
      for (let q = 0; q < n; q++) {
        const { p } = atoms[q]
        const yr = p[1].re[h2 + b],
          yi = p[1].im[h2 + b],
          zr = p[2].re[h3 + c],
          zi = p[2].im[h3 + c]
        cr[q] = yr * zr - yi * zi
        ci[q] = yr * zi + yi * zr
      }
      const gx = h2 * inv[1] + h3 * inv[2],
        gy = h2 * inv[4] + h3 * inv[5],
        gz = h2 * inv[7] + h3 * inv[8]
      for (let h1 = h3 || h2 ? -a : 1; h1 <= a; h1++) {
        const x = h1 * inv[0] + gx,
          y = h1 * inv[3] + gy,
          z = h1 * inv[6] + gz
        const s = Math.sqrt(x * x + y * y + z * z)
        if (s >= 4.125) continue
        const at = s * 512,
          i = Math.floor(at),
          u = at - i
        for (let e = 0; e < ff.length; e++) {
          const t = tables[e]
          ff[e] = t[i] + u * (t[i + 1] - t[i])
        }
        let re = 0,
          im = 0
        for (let q = 0; q < n; q++) {
          const { re: pr, im: pi } = atoms[q].p[0],
            xr = pr[h1 + a],
            xi = pi[h1 + a],
            f = ff[atoms[q].e]
          re += f * (xr * cr[q] - xi * ci[q])
          im += f * (xr * ci[q] + xi * cr[q])
        }
        spectrum.add(h1, h2, h3, (scale * re) / V, (scale * im) / V)
      }
    }
}
