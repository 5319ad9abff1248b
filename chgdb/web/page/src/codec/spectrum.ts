import type { V3 } from '../field/density'
import { fftLines } from './fft'

/** Half spectrum, kz = 0 ... nz/2, in the order [kx][kz][ky], for the first transform along x. */
export class Spectrum {
  re: Float64Array<ArrayBufferLike>
  im: Float64Array<ArrayBufferLike>
  nzh: number
  top = 0
  constructor(readonly grid: V3) {
    this.nzh = (grid[2] >> 1) + 1
    this.re = new Float64Array(grid[0] * grid[1] * this.nzh)
    this.im = new Float64Array(this.re.length)
  }
  at(i: number, j: number, k: number) {
    const [nx, ny] = this.grid
    return ((i < 0 ? i + nx : i) * this.nzh + k) * ny + (j < 0 ? j + ny : j)
  }
  /** h of the half space and its mirror */
  add(h1: number, h2: number, h3: number, re: number, im: number) {
    let p = this.at(h1, h2, h3)
    this.re[p] += re
    this.im[p] += im
    if (h3 > this.top) this.top = h3
    if (h3 === 0) {
      p = this.at(-h1, -h2, 0)
      this.re[p] += re
      this.im[p] -= im
    }
  }
  /** One term of the box, where it is in the half that is kept. */
  put(i: number, j: number, k: number, re: number, im: number) {
    if (k > this.grid[2] >> 1) return
    const p = this.at(i, j, k)
    this.re[p] += re
    this.im[p] += im
    if (k > this.top) this.top = k
  }
  toGrid(): Float64Array {
    const [nx, ny, nz] = this.grid
    const { nzh } = this
    const planes = Math.min(nzh, this.top + 1)
    // along x
    let wr: Float64Array = new Float64Array(this.re.length),
      wi: Float64Array = new Float64Array(this.re.length)
    fftLines(this.re, this.im, nx, nzh * ny, wr, wi)
    // [x][kz][ky] -> [kz][ky][x]
    const tr = wr,
      ti = wi
    for (let i = 0; i < nx; i++)
      for (let k = 0; k < planes; k++)
        for (let j = 0, p = (i * nzh + k) * ny; j < ny; j++, p++) {
          const q = (k * ny + j) * nx + i
          tr[q] = this.re[p]
          ti[q] = this.im[p]
        }
    wr = this.re
    wi = this.im
    const plane = ny * nx
    for (let k = 0; k < planes; k++)
      fftLines(tr.subarray(k * plane, (k + 1) * plane), ti.subarray(k * plane, (k + 1) * plane), ny, nx, wr, wi)
    // along z: two real columns in one complex transform
    const half = (plane + 1) >> 1
    const cr = new Float64Array(nz * half),
      ci = new Float64Array(nz * half)
    for (let k = 0; k < planes; k++) {
      const up = k * half,
        down = ((nz - k) % nz) * half,
        own = k * plane,
        self = k === 0 || 2 * k === nz
      for (let i = 0; i < half; i++) {
        const ar = tr[own + i],
          ai = self ? 0 : ti[own + i]
        const second = half + i < plane
        const br = second ? tr[own + half + i] : 0,
          bi = second && !self ? ti[own + half + i] : 0
        cr[up + i] = ar - bi
        ci[up + i] = ai + br
        if (!self) {
          cr[down + i] = ar + bi
          ci[down + i] = br - ai
        }
      }
    }
    fftLines(cr, ci, nz, half, new Float64Array(nz * half), new Float64Array(nz * half))
    const out = new Float64Array(nz * plane)
    for (let k = 0; k < nz; k++) {
      out.set(cr.subarray(k * half, (k + 1) * half), k * plane)
      out.set(ci.subarray(k * half, k * half + plane - half), k * plane + half)
    }
    return out
  }
}
