// Mixed-radix Stockham FFT over many interleaved lines at once; sign +1 (synthesis), any length.
const twiddles = new Map<number, { cos: Float64Array; sin: Float64Array }>()
function roots(n: number) {
  let t = twiddles.get(n)
  if (!t) {
    const cos = new Float64Array(n),
      sin = new Float64Array(n)
    for (let k = 0; k < n; k++) {
      cos[k] = Math.cos((2 * Math.PI * k) / n)
      sin[k] = Math.sin((2 * Math.PI * k) / n)
    }
    twiddles.set(n, (t = { cos, sin }))
  }
  return t
}
function factors(n: number): number[] {
  const f: number[] = []
  while (n % 4 === 0) {
    f.push(4)
    n /= 4
  }
  for (let p = 2; p * p <= n; p++)
    while (n % p === 0) {
      f.push(p)
      n /= p
    }
  if (n > 1) f.push(n)
  return f
}
/** x[k*inner + i], k < n: in place by way of the work arrays; each of `inner` columns is transformed along k. */
export function fftLines(
  re: Float64Array,
  im: Float64Array,
  n: number,
  inner: number,
  wr: Float64Array,
  wi: Float64Array,
) {
  const { cos, sin } = roots(n)
  let ar = re,
    ai = im,
    br = wr,
    bi = wi
  let l = 1,
    m = n // n = r * l * m' along the way
  for (const r of factors(n)) {
    m /= r
    // input index: (j*m + k ... ) in Stockham order: a[(k + m*q... )]
    for (let j = 0; j < l; j++) {
      for (let k = 0; k < m; k++) {
        // y[j + l*(s) ...]: output index ((k*r + s)*l + j)? use decimation in frequency with self sorting
        butterfly(ar, ai, br, bi, r, j, k, l, m, n, inner, cos, sin)
      }
    }
    l *= r
    ;[ar, br] = [br, ar]
    ;[ai, bi] = [bi, ai]
  }
  if (ar !== re) {
    re.set(ar.subarray(0, n * inner))
    im.set(ai.subarray(0, n * inner))
  }
}
// Stockham DIT: x viewed as [r][m][l] (index (q*m + k)*l + j), y as [m][r][l]-> index (k... )
function butterfly(
  ar: Float64Array,
  ai: Float64Array,
  br: Float64Array,
  bi: Float64Array,
  r: number,
  j: number,
  k: number,
  l: number,
  m: number,
  n: number,
  inner: number,
  cos: Float64Array,
  sin: Float64Array,
) {
  // in: q-th = a[((q*m + k)*l + j)]; twiddle w_{l*r}^{q*j}; out: b[((k*r + s)*l + j)] with s-th frequency block
  const step = n / (l * r)
  const src: number[] = SRC,
    tr = TR,
    ti = TI
  for (let q = 0; q < r; q++) {
    src[q] = ((q * m + k) * l + j) * inner
    const t = (q * j * step) % n
    tr[q] = cos[t]
    ti[q] = sin[t]
  }
  if (r === 2) {
    const o0 = (k * 2 * l + j) * inner,
      o1 = o0 + l * inner
    for (let i = 0; i < inner; i++) {
      const x0 = ar[src[0] + i],
        y0 = ai[src[0] + i]
      const a = ar[src[1] + i],
        b = ai[src[1] + i]
      const x1 = a * tr[1] - b * ti[1],
        y1 = a * ti[1] + b * tr[1]
      br[o0 + i] = x0 + x1
      bi[o0 + i] = y0 + y1
      br[o1 + i] = x0 - x1
      bi[o1 + i] = y0 - y1
    }
    return
  }
  if (r === 4) {
    const o0 = (k * 4 * l + j) * inner,
      d = l * inner
    const [s0, s1, s2, s3] = src,
      c1 = tr[1],
      c2 = tr[2],
      c3 = tr[3],
      e1 = ti[1],
      e2 = ti[2],
      e3 = ti[3]
    for (let i = 0; i < inner; i++) {
      const x0 = ar[s0 + i],
        y0 = ai[s0 + i]
      let a = ar[s1 + i],
        b = ai[s1 + i]
      const x1 = a * c1 - b * e1,
        y1 = a * e1 + b * c1
      a = ar[s2 + i]
      b = ai[s2 + i]
      const x2 = a * c2 - b * e2,
        y2 = a * e2 + b * c2
      a = ar[s3 + i]
      b = ai[s3 + i]
      const x3 = a * c3 - b * e3,
        y3 = a * e3 + b * c3
      const ax = x0 + x2,
        ay = y0 + y2,
        bx = x0 - x2,
        by = y0 - y2
      const cx = x1 + x3,
        cy = y1 + y3,
        dx = x1 - x3,
        dy = y1 - y3
      br[o0 + i] = ax + cx
      bi[o0 + i] = ay + cy
      br[o0 + d + i] = bx - dy
      bi[o0 + d + i] = by + dx
      br[o0 + 2 * d + i] = ax - cx
      bi[o0 + 2 * d + i] = ay - cy
      br[o0 + 3 * d + i] = bx + dy
      bi[o0 + 3 * d + i] = by - dx
    }
    return
  }
  for (let s = 0; s < r; s++) {
    const o = ((k * r + s) * l + j) * inner
    for (let q = 0; q < r; q++) {
      const t = (q * j * step + ((q * s) % r) * (n / r)) % n
      const c = cos[t],
        e = sin[t],
        p = src[q]
      if (q === 0)
        for (let i = 0; i < inner; i++) {
          br[o + i] = ar[p + i]
          bi[o + i] = ai[p + i]
        }
      else
        for (let i = 0; i < inner; i++) {
          const a = ar[p + i],
            b = ai[p + i]
          br[o + i] += a * c - b * e
          bi[o + i] += a * e + b * c
        }
    }
  }
}
const SRC: number[] = new Array(1024).fill(0),
  TR = new Float64Array(1024),
  TI = new Float64Array(1024)
