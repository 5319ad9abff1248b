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

/** 1, 2 or 5 times a power of ten, at least x. */
export function nice(x: number): number {
  const power = 10 ** Math.floor(Math.log10(x) + 1e-9)
  return ([1, 2, 5].find((f) => f * power >= x * (1 - 1e-9)) ?? 10) * power
}
const multiples = (step: number, from: number, to: number) =>
  Array.from({ length: Math.max(0, Math.ceil(to / step) - Math.floor(from / step) - 1) }, (_, i) =>
    Number(((Math.floor(from / step) + 1 + i) * step).toPrecision(6)),
  )

/**
 * Densities span decades: the scale is logarithmic, contours are at 1, 2, 5 ... Signed fields have evenly spaced ones,
 * without that at 0, which wanders where there is nothing. Levels ascend.
 */
export function mappingOf(min: number, max: number, signed: boolean): Mapping {
  if (signed) {
    const top = Math.max(Math.abs(min), Math.abs(max)) || 1
    const levels = multiples(nice(top / 8), -top, top).filter((x) => x !== 0)
    return { scale: 'signed', place: (v) => 0.5 + v / (2 * top), levels, min: -top, max: top }
  }
  const low = Math.max(min, max * 1e-3, 1e-12)
  const high = Math.max(max, low * 1.001)
  let levels: number[] = []
  if (high / low < 30) levels = multiples(nice((high - low) / 8), low, high)
  else
    for (let v = nice(low); v < high; v = nice(v * 1.5)) levels.push(Number(v.toPrecision(3)))
  const width = Math.log(high / low)
  return { scale: 'plain', place: (v) => (v <= low ? 0 : Math.log(v / low) / width), levels, min: low, max: high }
}
