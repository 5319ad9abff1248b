// Colour scales that survive colour blindness and print: viridis, and blue-white-red for signed fields.
const VIRIDIS = '440154 482878 3e4989 31688e 26828e 1f9e89 35b779 6ece58 b5de2b fde725'
const SIGNED = '0a3a6e 2a6fae 6baed6 b7d5ea f4f4f4 f7c6ac ee8a63 c94c3a 7f1422'
const parsed = (text: string) => text.split(' ').map((h) => [0, 2, 4].map((i) => parseInt(h.slice(i, i + 2), 16)))
const SCALES = { plain: parsed(VIRIDIS), signed: parsed(SIGNED) }

/** t from 0 to 1. */
export function colour(scale: keyof typeof SCALES, t: number): number[] {
  const stops = SCALES[scale]
  const x = Math.min(1, Math.max(0, t)) * (stops.length - 1)
  const i = Math.min(stops.length - 2, Math.floor(x))
  return stops[i].map((v, k) => v + (x - i) * (stops[i + 1][k] - v))
}

/** Where values lie on a scale, and the contours on it. */
export interface Mapping {
  scale: keyof typeof SCALES
  /** 0 to 1 */
  place(v: number): number
  levels: number[]
  min: number
  max: number
}

/** Densities span decades: contours double. Signed fields get evenly spaced ones around zero. */
export function mappingOf(min: number, max: number, signed: boolean): Mapping {
  if (signed) {
    const top = Math.max(Math.abs(min), Math.abs(max)) || 1
    const levels = [-0.8, -0.6, -0.4, -0.2, 0, 0.2, 0.4, 0.6, 0.8].map((x) => x * top)
    return { scale: 'signed', place: (v) => 0.5 + v / (2 * top), levels, min: -top, max: top }
  }
  const low = Math.max(min, max * 1e-3, 1e-12)
  const high = Math.max(max, low * 1.001)
  const levels: number[] = []
  for (let v = high / Math.SQRT2; v > low && levels.length < 12; v /= 2) levels.push(v)
  const width = Math.log(high / low)
  return { scale: 'plain', place: (v) => (v <= low ? 0 : Math.log(v / low) / width), levels, min: low, max: high }
}
