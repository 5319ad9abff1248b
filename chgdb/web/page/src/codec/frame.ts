// Section 3.2 of docs/format.md: the frame, lists of numbers, electron counts.
import type { Crystal, V3 } from '../field/density'
import { type Bits, bitLength, gamma, signed } from './bits'

const CHANNELS = [
  ['total'],
  ['total', 'magnetization'],
  ['total', 'magnetization_x', 'magnetization_y', 'magnetization_z'],
]
export interface Frame extends Crystal {
  names: string[]
  grid: V3
}

/** What a payload may claim: so many atoms; so many values, and so many for each of its bytes. */
const MOST_ATOMS = 1 << 20
const mostValues = (bytes: number) => Math.max(1 << 24, (1 << 14) * bytes)

export function frame(s: Bits): Frame {
  const names = CHANNELS[s.read(2)]
  const nx = gamma(s) + 1
  const ny = s.read(1) ? gamma(s) + 1 : nx
  const nz = s.read(1) ? gamma(s) + 1 : nx
  const values = names === undefined ? Infinity : nx * ny * nz * names.length
  if (values > mostValues(s.data.length)) throw new Error('damaged payload: it claims too many values')
  const numbers: number[] = []
  for (let runs = gamma(s); runs > 0; runs--) {
    const z = s.read(7)
    const count = gamma(s) + 1
    if (numbers.length + count > MOST_ATOMS) throw new Error('damaged payload: it claims too many atoms')
    for (let n = count; n > 0; n--) numbers.push(z)
  }
  const cell = list(s, 9, CELL, () => 0)
  const positions = list(s, 3 * numbers.length, POSITION, () => {
    const kind = s.read(2)
    if (kind === 0) return 0
    const k = kind === 1 ? 12 : kind === 2 ? (s.read(1) ? 18 : 6) : s.read(5)
    return moved(k / 24, ulps(s))
  })
  return { names, grid: [nx, ny, nz], numbers, cell, positions }
}

const R3 = Math.sqrt(3)
type Rel = (x: number) => number
const CELL: Rel[] = [
  (x) => x,
  (x) => -x,
  (x) => x / 2,
  (x) => -x / 2,
  (x) => x * R3,
  (x) => -x * R3,
  (x) => x / R3,
  (x) => -x / R3,
]
const POSITION: Rel[] = [
  (x) => x,
  (x) => -x,
  (x) => 1 - x,
  (x) => x + 0.5,
  (x) => 0.5 - x,
  (x) => x - 0.5,
  (x) => 1.5 - x,
  (x) => 2 * x,
]

function list(s: Bits, count: number, relations: Rel[], fraction: () => number): Float64Array {
  const places = s.read(4)
  const history: number[] = []
  const values = new Float64Array(count)
  for (let i = 0; i < count; i++) {
    let value: number
    if (s.read(1) === 0) {
      values[i] = fraction()
      continue
    }
    if (s.read(1) === 0) {
      const earlier = history[s.read(bitLength(history.length - 1))]
      value = moved(relations[s.read(3)](earlier), ulps(s))
    } else if (s.read(1) === 0) {
      const width = s.read(6)
      const sign = s.read(1) ? -1 : 1
      // m may exceed 2**53: the text of the decimal is parsed then, which rounds correctly
      const m = s.big(width)
      const decimal = m <= 9007199254740992n && places <= 22 ? Number(m) / 10 ** places : Number(`${m}e-${places}`)
      value = sign * moved(decimal, ulps(s))
    } else value = fromBits(s.big(64))
    if (!history.includes(value)) {
      history.unshift(value)
      history.length = Math.min(history.length, 16)
    }
    values[i] = value
  }
  return values
}

function ulps(s: Bits): number {
  if (s.read(1) === 0) return 0
  const sign = s.read(1) ? -1 : 1
  return sign * (gamma(s) + 1)
}
const view = new DataView(new ArrayBuffer(8))
function moved(value: number, count: number): number {
  if (!count) return value
  view.setFloat64(0, value)
  view.setBigInt64(0, view.getBigInt64(0) + BigInt(count))
  return view.getFloat64(0)
}
function fromBits(b: bigint): number {
  view.setBigUint64(0, b)
  return view.getFloat64(0)
}

export function electronCount(s: Bits): number {
  const whole = signed(s)
  let rest = s.read(s.read(6))
  if (rest && s.read(1)) rest = -rest
  return whole + rest / 2 ** 40
}
export const stepOf = (code: number) => 2 ** ((code - 1536) / 16)
