// Section 3.3 of docs/format.md: groups of symmetry operations.
import { type Bits, gamma, signed } from './bits'

export interface Op {
  W: Int32Array
  w: [number, number, number]
  f: number
}
export interface Group {
  ops: Op[]
  origin: [number, number, number]
}

export function groupOf(s: Bits): Group {
  const generators: Op[] = []
  let origin: [number, number, number] = [0, 0, 0]
  const count = gamma(s)
  if (count && s.read(1)) origin = [s.read(32) / 2 ** 32, s.read(32) / 2 ** 32, s.read(32) / 2 ** 32]
  for (let i = 0; i < count; i++) {
    const W = new Int32Array(9)
    if (s.read(1)) {
      let code = s.read(15)
      for (let k = 0; k < 9; k++) {
        W[k] = (code % 3) - 1
        code = Math.floor(code / 3)
      }
    } else for (let k = 0; k < 9; k++) W[k] = signed(s)
    const f = s.read(1)
    const w: [number, number, number] = [0, 0, 0]
    for (let k = 0; k < 3; k++) if (s.read(1)) w[k] = s.read(1) ? 210 * s.read(5) : s.read(13)
    generators.push({ W, w, f })
  }
  const ops: Op[] = [{ W: Int32Array.of(1, 0, 0, 0, 1, 0, 0, 0, 1), w: [0, 0, 0], f: 0 }]
  const seen = new Set([key(ops[0])])
  for (let i = 0; i < ops.length; i++) {
    for (const a of generators) {
      const b = ops[i]
      const W = new Int32Array(9)
      const w: [number, number, number] = [0, 0, 0]
      for (let r = 0; r < 3; r++) {
        for (let c = 0; c < 3; c++) for (let k = 0; k < 3; k++) W[3 * r + c] += a.W[3 * r + k] * b.W[3 * k + c]
        let t = a.w[r]
        for (let k = 0; k < 3; k++) t += a.W[3 * r + k] * b.w[k]
        w[r] = ((t % 5040) + 5040) % 5040
      }
      const p = { W, w, f: a.f ^ b.f }
      const k = key(p)
      if (!seen.has(k)) {
        seen.add(k)
        ops.push(p)
        if (ops.length > 20000) throw new Error('damaged payload')
      }
    }
  }
  return { ops, origin }
}
const key = (o: Op) => `${o.W.join()}|${o.w.join()}|${o.f}`
