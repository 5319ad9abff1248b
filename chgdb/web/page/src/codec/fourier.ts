// Section 4 of docs/format.md: the Fourier codec.
import { type Density, type V3, volumeOf } from '../field/density'
import type { Bits } from './bits'
import { Coder } from './coder'
import { electronCount, type Frame, frame, stepOf } from './frame'
import { type Group, groupOf } from './groups'
import { integerMetric } from './metric'
import { COS, nyquist, type Orbits, orbitsOf, SIN, TURN } from './orbits'
import { onCoarseGrid, parametersOf, type Prediction, predicted, prediction } from './predicted'
import { addPrior, type Prior } from './prior'
import { Spectrum } from './spectrum'

interface Channel {
  name: string
  count: number
  origin: V3
  orbits?: Orbits
  edge: ReturnType<typeof nyquist>
  /** The numbers of the orbits and of the edge. */
  values: Float64Array
}
/** Which part of the total density: with the superposition of atoms, only it, or what differs from it. */
export type Part = 'with' | 'only'

/** Coefficients of a record, read once; densities on any grid are made of them. */
export class Fourier {
  readonly frame: Frame
  private readonly channels: Channel[]
  private readonly prior: Prior | null

  /** source: behind the codec's number. foretold: whether channels can have a coarse grid and multipoles. */
  constructor(source: Bits, priorOf: (id: number) => Prior, foretold = false) {
    const fr = (this.frame = frame(source))
    this.prior = source.read(1) ? priorOf(source.read(16)) : null
    const lanes = [1, 32, 256][source.read(2)]
    let previous: Group | undefined
    const heads = fr.names.map((name) => {
      const found: Prediction = {}
      const count = electronCount(source)
      const head = { name, count, limit: 0, edge: 0, step: 0, initial: 0, group: previous, found }
      if (!source.read(1)) return { ...head, group: undefined }
      head.group = previous && source.read(1) ? previous : groupOf(source)
      previous = head.group
      const exponent = source.read(6)
      head.limit = source.read(8) * 2 ** exponent
      head.edge = source.read(1)
      head.step = stepOf(source.read(11))
      head.initial = source.read(6)
      if (foretold) head.found = prediction(source, fr.grid, fr.numbers.length)
      return head
    })
    const metric = integerMetric(fr.cell)
    const coder = new Coder(source.rest(), lanes)
    const known = new Map<Group, { limit: number; orbits: Orbits }>()
    this.channels = heads.map(({ name, count, limit, edge: coded, step, initial, group, found }) => {
      if (!group) return { name, count, origin: [0, 0, 0], edge: [], values: new Float64Array(0) }
      const before = known.get(group)
      const sphere = before?.limit === limit ? before.orbits : orbitsOf(fr.grid, metric, limit, group)
      known.set(group, { limit, orbits: sphere })
      const orbits = found.coarse ? onCoarseGrid(sphere, metric, found.coarse) : sphere
      const edge = coded ? nyquist(fr.grid, metric, limit) : []
      const parameters = found.model && parametersOf(coder, found.model)
      const norms = normsOf(orbits, edge)
      const q = coder.values(norms.subarray(0, found.model?.coded), initial)
      const values = new Float64Array(norms.length)
      if (parameters) values.set(predicted(orbits, metric, group, fr, found, parameters))
      for (let i = 0; i < q.length; i++) values[i] += q[i] * step
      return { name, count, origin: group.origin, orbits, edge, values }
    })
    coder.finish()
  }

  get hasPrior(): boolean {
    return this.prior !== null
  }

  /** On the record's own grid, or a coarser one for a first look. */
  density(grid: V3 = this.frame.grid, part: Part = 'with'): Density {
    const fr = this.frame
    const volume = volumeOf(fr.cell)
    const native = grid.every((n, i) => n === fr.grid[i])
    const channels: Record<string, Float64Array> = {}
    for (const channel of this.channels) {
      if (part === 'only' && channel.name !== 'total') continue
      const spectrum = new Spectrum(grid)
      const box = fr.grid.map((n, i) => Math.min(n, grid[i])) as V3
      if (channel.name === 'total' && this.prior) addPrior(spectrum, box, fr, this.prior)
      spectrum.re[0] += channel.count / volume
      if (part === 'with') add(spectrum, channel, box, native)
      channels[channel.name] = spectrum.toGrid()
    }
    const { cell, numbers, positions } = fr
    return { cell, numbers, positions, grid, channels }
  }
}

const alone = (t: ReturnType<typeof nyquist>[number]) => t.i === t.mi && t.j === t.mj && t.k === t.mk

function normsOf(orbits: Orbits, edge: Channel['edge']): Float64Array {
  const norms = new Float64Array(orbits.dof + edge.reduce((n, t) => n + (alone(t) ? 1 : 2), 0))
  let at = 0
  for (const o of orbits.order) for (let d = orbits.freedom[o]; d > 0; d--) norms[at++] = orbits.norm[o]
  for (const t of edge) for (let d = alone(t) ? 1 : 2; d > 0; d--) norms[at++] = t.norm
  return norms
}

/** The coded coefficients with |h_i| within the box. */
function add(spectrum: Spectrum, channel: Channel, box: V3, native: boolean) {
  const { values, orbits, edge } = channel
  if (!orbits) return
  const [ox, oy, oz] = channel.origin
  const shifted = ox || oy || oz
  const [a, b, c] = box.map((n) => (n - 1) >> 1)
  let at = 0
  for (const o of orbits.order) {
    const free = orbits.freedom[o]
    if (!free) continue
    const from = orbits.start[o],
      to = orbits.start[o + 1]
    const scale = 1 / Math.sqrt(2 * (to - from))
    let re = values[at++] * scale
    let im = free === 2 ? values[at++] * scale : 0
    const phase = orbits.phase[o]
    if (free === 1 && phase) {
      im = -re * SIN[phase]
      re *= COS[phase]
    }
    for (let k = from; k < to; k++) {
      const h1 = orbits.h[3 * k],
        h2 = orbits.h[3 * k + 1],
        h3 = orbits.h[3 * k + 2]
      if (h3 > c || Math.abs(h2) > b || Math.abs(h1) > a) continue
      const t = (((2 * orbits.turns[k]) % (2 * TURN)) + 2 * TURN) % (2 * TURN)
      let cos = COS[t],
        sin = SIN[t]
      if (shifted) {
        const p = -2 * Math.PI * (h1 * ox + h2 * oy + h3 * oz)
        const pc = Math.cos(p),
          ps = Math.sin(p)
        ;[cos, sin] = [cos * pc - sin * ps, cos * ps + sin * pc]
      }
      const fi = orbits.conj[k] ? -im : im
      spectrum.add(h1, h2, h3, re * cos - fi * sin, re * sin + fi * cos)
    }
  }
  if (!native) return
  for (const t of edge) {
    if (alone(t)) spectrum.put(t.i, t.j, t.k, values[at++], 0)
    else {
      const re = values[at++] / Math.SQRT2,
        im = values[at++] / Math.SQRT2
      spectrum.put(t.i, t.j, t.k, re, im)
      spectrum.put(t.mi, t.mj, t.mk, re, -im)
    }
  }
}
