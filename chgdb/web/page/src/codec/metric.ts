// Section 4.1 of docs/format.md: norms of reciprocal vectors as exact integers.
/** trunc(x · 2⁶⁰), exactly. */
export function truncated(x: number): bigint {
  const view = new DataView(new ArrayBuffer(8))
  view.setFloat64(0, x)
  const b = view.getBigUint64(0)
  const e = Number((b >> 52n) & 2047n)
  if (e === 0) return 0n
  const m = (b & ((1n << 52n) - 1n)) | (1n << 52n)
  const s = e - 1075 + 60
  const a = s >= 0 ? m << BigInt(s) : m >> BigInt(-s)
  return b >> 63n ? -a : a
}

export function integerMetric(cell: Float64Array): number[] {
  const A = [0, 1, 2].map((r) => [0, 1, 2].map((c) => truncated(cell[3 * r + c])))
  const g = A.map((a) => A.map((b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2]))
  const minor = (i: number, j: number) => {
    const [a, b] = [0, 1, 2].filter((k) => k !== i),
      [c, d] = [0, 1, 2].filter((k) => k !== j)
    return (g[a][c] * g[b][d] - g[a][d] * g[b][c]) * ((i + j) % 2 ? -1n : 1n)
  }
  const det = g[0][0] * minor(0, 0) + g[0][1] * minor(0, 1) + g[0][2] * minor(0, 2)
  const floorDiv = (a: bigint, b: bigint) => {
    const q = a / b
    return a % b < 0n ? q - 1n : q
  }
  const M: number[] = []
  for (let i = 0; i < 3; i++)
    for (let j = 0; j < 3; j++) M.push(Number(floorDiv(2n * (minor(j, i) << 144n) + det, 2n * det)))
  return M
}
