// Holds one density and answers questions about it; the page itself never computes for long.
import { Decoded } from './codec/record'
import type { Prior } from './codec/prior'
import { coarse, type Density, points, resampled, sample, type V3, volumeOf } from './field/density'
import { isosurface, type Mesh } from './field/isosurface'
import { line, planarAverage, slice } from './field/slice'
import { readFile } from './files/read'
import { type Format, written } from './files/write'

/** What can be drawn: a channel, the difference to the superposition of atoms, or a field given by the page. */
export type Kind = string

export interface Meta {
  cell: Float64Array
  numbers: number[]
  positions: Float64Array
  grid: V3
  kinds: Kind[]
  format: string
  electrons: number
  min: number
}
export interface Range {
  min: number
  max: number
  /** Isovalues that enclose 50 and 90 % of the field's weight are between these. */
  start: number
}

let density: Density
let decoded: Decoded | undefined
const fields = new Map<Kind, Float64Array>()
const drawn = new Map<string, Float32Array>()
let format = ''

const methods = {
  /** A record; answers a coarse picture first where the whole one takes long, by way of `preview`. */
  record({ payload, priors, id }: { payload: Uint8Array; priors: Record<number, Prior>; id: string }): Meta {
    try {
      decoded = new Decoded(payload, (p) => {
        if (!priors[p]) throw new Error(`the store lacks the atomic densities ${p} that it needs`)
        return priors[p]
      })
      format = `${decoded.codec} codec`
      const preview = decoded.preview()
      if (preview) {
        take(preview)
        postMessage({ event: 'preview', meta: meta() })
      }
      take(decoded.density())
    } catch (error) {
      throw new Error(`${id}: ${error instanceof Error ? error.message : error}`)
    }
    return meta()
  },
  /** Read here, so that the page moves no large buffer. */
  async file({ file }: { file: File }): Promise<Meta> {
    const data = await file.arrayBuffer().catch(() => {
      throw new Error(`${file.name}: the browser cannot read it; is it a folder, or has it changed since?`)
    })
    const read = await readFile(file.name, new Uint8Array(data))
    decoded = undefined
    format = read.format
    take(read.density)
    return meta()
  },
  /** Crystal and values that the page has already: of a notebook, or of the server. */
  density(given: Density & { format?: string }): Meta {
    decoded = undefined
    format = given.format ?? ''
    take(given)
    return meta()
  },
  /** A field on the same grid under a new name. */
  add({ kind, values }: { kind: Kind; values: Float64Array }): Meta {
    if (values.length !== points(density.grid)) throw new Error('the grids differ: there is no difference to show')
    fields.set(kind, values)
    for (const key of drawn.keys()) if (key.startsWith(kind)) drawn.delete(key)
    return meta()
  },
  range({ kind }: { kind: Kind }): Range {
    const values = field(kind)
    let min = Infinity,
      max = -Infinity,
      square = 0
    for (let i = 0; i < values.length; i++) {
      const v = values[i]
      if (v < min) min = v
      if (v > max) max = v
      square += v * v
    }
    const top = Math.max(max, -min)
    // Between bonds and cores: near the root mean square, which is far above the gaps and below the atoms.
    return { min, max, start: Math.min(0.7 * top, Math.sqrt(square / values.length) * (kind === 'total' ? 1.2 : 1.5)) }
  },
  surfaces({ kind, levels, quick }: { kind: Kind; levels: number[]; quick?: boolean }) {
    const small = coarse(density.grid)
    const reduced = quick === true && points(small) < points(density.grid)
    const grid = reduced ? small : density.grid
    const values = single(kind, reduced)
    const range = methods.range({ kind })
    const found = levels.filter((l) => l > range.min && l < range.max)
    const meshes = found.map((level) => isosurface(values, grid, density.cell, level))
    return { meshes, levels: found, whole: !reduced }
  },
  slice(plane: { kind: Kind; hkl: V3; offset: number; width: number; height: number; about?: V3 }) {
    const { kind, hkl, offset, width, height, about } = plane
    return slice(fieldOf(kind), density, hkl, offset, width, height, about)
  },
  line: ({ kind, from, to }: { kind: Kind; from: V3; to: V3 }) => line(fieldOf(kind), from, to),
  average: ({ kind, axis }: { kind: Kind; axis: number }) => planarAverage(fieldOf(kind), axis),
  value: ({ kind, at }: { kind: Kind; at: V3 }) => sample(field(kind), density.grid, ...at),
  values: ({ kind }: { kind: Kind }) => field(kind).slice(),
  write({ as, title }: { as: Format; title: string }): Blob {
    if (!density.channels.total && as !== 'CIF' && as !== 'POSCAR')
      throw new Error('a structure has no density to write')
    return new Blob(written(density, as, title))
  },
}
export type Methods = typeof methods

function take(found: Density) {
  density = found
  fields.clear()
  drawn.clear()
  for (const [name, values] of Object.entries(found.channels)) fields.set(name, values)
  const [x, y, z] = ['x', 'y', 'z'].map((a) => found.channels[`magnetization_${a}`])
  if (x)
    fields.set(
      'magnetization norm',
      x.map((v, i) => Math.hypot(v, y[i], z[i])),
    )
}

function meta(): Meta {
  const { cell, numbers, positions, grid } = density
  const total = fields.get('total')
  const kinds = [...fields.keys()]
  if (decoded?.hasPrior && !kinds.includes('difference')) kinds.splice(1, 0, 'difference')
  let electrons = NaN
  let min = NaN
  if (total) {
    let sum = 0
    min = Infinity
    for (let i = 0; i < total.length; i++) {
      sum += total[i]
      if (total[i] < min) min = total[i]
    }
    electrons = (sum / total.length) * volumeOf(cell)
  }
  return { cell, numbers, positions, grid, kinds, format, electrons, min }
}

function field(kind: Kind): Float64Array {
  let values = fields.get(kind)
  if (!values && kind === 'difference' && decoded) {
    const atoms = decoded.atoms()
    values = field('total').map((v, i) => v - atoms[i])
    fields.set(kind, values)
  }
  if (!values) throw new Error(`there is no ${kind} here`)
  return values
}

const fieldOf = (kind: Kind) => ({ values: field(kind), grid: density.grid, cell: density.cell })

/** In single precision for surfaces, on the whole grid or a coarse one; kept. */
function single(kind: Kind, reduced: boolean): Float32Array {
  const key = `${kind}|${reduced}`
  let values = drawn.get(key)
  if (!values) {
    values = reduced ? resampled(field(kind), density.grid, coarse(density.grid)) : new Float32Array(field(kind))
    drawn.set(key, values)
  }
  return values
}

/** Buffers that can be handed over instead of copied: only of what was made for the answer. */
function buffers(method: string, result: any): Transferable[] {
  if (method === 'surfaces')
    return result.meshes.flatMap((m: Mesh) => [m.positions.buffer, m.normals.buffer, m.indices.buffer])
  if (method === 'slice') return [result.values.buffer]
  if (method === 'values') return [result.buffer]
  return []
}

onmessage = async ({ data: { id, method, args } }) => {
  try {
    const result = await (methods as any)[method](args)
    postMessage({ id, result }, { transfer: buffers(method, result) })
  } catch (error) {
    postMessage({ id, error: error instanceof Error ? error.message : String(error) })
  }
}
