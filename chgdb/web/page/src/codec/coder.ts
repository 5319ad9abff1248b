// Section 3.4: rANS with an adaptive scale.
import { bitLength, gamma } from './bits'

const LOWER = 1 << 24
const POWERS = Array.from({ length: 256 }, (_, i) => Math.round(65536 * 2 ** (-i / 256)))
const tables = new Map<number, { freq: Int32Array; cum: Int32Array; symbol: Uint8Array }>()

function table(index: number) {
  let t = tables.get(index)
  if (t) return t
  const numerator = BigInt(9 + 2 * (index & 3)) << BigInt(index >> 2)
  const weights = new Array<bigint>(32).fill(0n)
  for (const [u, v, weight] of [
    [2n, 5n, 6n],
    [9n, 10n, 9n],
    [2n, 1n, 5n],
  ]) {
    const a = numerator * u,
      b = 512n * v
    let rest = (weight << 50n) / 20n
    for (let k = 0; k < 31; k++) {
      const tail = (rest * a) / (a + b)
      weights[k] += rest - tail
      rest = tail
    }
    weights[31] += rest
  }
  const freq = Int32Array.from(weights, (w) => 1 + Number((w * BigInt(16384 - 32)) >> 50n))
  freq[0] += 16384 - freq.reduce((x, y) => x + y)
  const cum = new Int32Array(32)
  for (let k = 1; k < 32; k++) cum[k] = cum[k - 1] + freq[k - 1]
  const symbol = new Uint8Array(16384)
  for (let k = 0; k < 32; k++) symbol.fill(k, cum[k], cum[k] + freq[k])
  t = { freq, cum, symbol }
  tables.set(index, t)
  return t
}

export class Coder {
  states: Float64Array // up to 2**32
  end: number
  constructor(
    readonly data: Uint8Array,
    readonly lanes: number,
  ) {
    this.end = data.length
    this.states = new Float64Array(lanes)
    if (lanes === 1) this.refill(0)
    else
      for (let plane = 0; plane < 4; plane++)
        for (let l = 0; l < lanes; l++) this.states[l] = this.states[l] * 256 + this.data[--this.end]
  }
  refill(l: number) {
    while (this.states[l] < LOWER && this.end > 0) this.states[l] = this.states[l] * 256 + this.data[--this.end]
  }
  read(width: number): number {
    let value = 0
    while (width > 0) {
      const chunk = Math.min(width, 16)
      width -= chunk
      const size = 1 << chunk
      const x = this.states[0]
      value = value * size + (x % size)
      this.states[0] = Math.floor(x / size)
      this.refill(0)
    }
    return value
  }
  values(norms: Float64Array, initial: number): Float64Array {
    const n = norms.length,
      lanes = this.lanes,
      states = this.states
    const out = new Float64Array(n)
    const shifts = new Uint8Array(n)
    let m = Math.floor((82 * 2 ** (initial >> 1) * (initial % 2 ? 181 : 128)) / 128)
    let before = n ? ((Math.floor(Math.sqrt(norms[0])) * 768) / 4096) | 0 : 0
    for (let start = 0; start < n; start += lanes) {
      const position = ((Math.floor(Math.sqrt(norms[start])) * 768) / 4096) | 0
      const decay = Math.max(0, position - before)
      before = position
      m = Math.max(82, Math.floor(Math.floor((m * POWERS[decay & 255]) / 65536) / 2 ** (decay >> 8)))
      const octave = bitLength(m) - 1
      const shift = Math.max(0, octave - 14)
      const { freq, cum, symbol } = table(4 * (octave - shift - 6) + (Math.floor(m / 2 ** (octave - 2)) & 3))
      const count = Math.min(lanes, n - start)
      let sum = 0
      for (let l = 0; l < count; l++) {
        const x = states[l]
        const slot = x % 16384
        const k = symbol[slot]
        states[l] = freq[k] * Math.floor(x / 16384) + slot - cum[k]
        out[start + l] = k
        shifts[start + l] = shift
        sum += k
      }
      if (lanes === 1) this.refill(0)
      else
        for (let twice = 0; twice < 2; twice++)
          for (let l = 0; l < count; l++) if (states[l] < LOWER) states[l] = states[l] * 256 + this.data[--this.end]
      const mean = Math.floor((sum * 2 ** shift * 4096 + ((2 ** shift) >> 1) * 4096 * count) / count)
      m = Math.max(82, lanes === 1 ? m + Math.floor((mean - m) / 8) : Math.floor((m + 3 * mean) / 4))
    }
    for (let i = 0; i < n; i++) if (out[i] === 31) out[i] += gamma(this)
    for (let i = 0; i < n; i++) if (shifts[i]) out[i] = out[i] * 2 ** shifts[i] + this.read(shifts[i])
    // signs: one number of as many bits as there are non-zeros, the most significant chunk first
    let left = 0
    for (let i = 0; i < n; i++) if (out[i]) left++
    let chunk = 0,
      bits = 0
    for (let i = 0; i < n; i++) {
      if (!out[i]) continue
      if (!bits) {
        bits = Math.min(16, left)
        chunk = this.read(bits)
      }
      bits--
      left--
      if ((chunk >> bits) & 1) out[i] = -out[i]
    }
    return out
  }
  finish() {
    const want = this.lanes === 1 ? 1 : LOWER
    if (this.end !== 0 || this.states.some((x) => x !== want)) throw new Error('damaged payload')
  }
}
