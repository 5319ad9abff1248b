// As much of Zarr v3 as a chgdb store uses: regular chunks; bytes, vlen-utf8, transpose, zstd, blosc, crc32c.
import { unblosc, unzstd } from '../codec/blosc'
import { checked } from '../codec/crc'

export interface ArrayInfo {
  shape: number[]
  data_type: string
  chunk_grid: { configuration: { chunk_shape: number[] } }
  fill_value: unknown
  codecs: { name: string; configuration?: Record<string, any> }[]
  attributes: Record<string, any>
}
export type Values = Float64Array | string[]

/** Of a decompressed chunk: more is refused. */
const MOST_BYTES = 64 << 20
const SIZES: Record<string, number> = {
  ...{ int8: 1, uint8: 1, bool: 1, int16: 2, uint16: 2, int32: 4, uint32: 4, float32: 4 },
  ...{ int64: 8, uint64: 8, float64: 8 },
}

/** What is in a chunk that has no file. */
export function filled(info: ArrayInfo, count: number): Values {
  if (info.data_type === 'string') return new Array(count).fill(String(info.fill_value ?? ''))
  const fill = info.fill_value
  const value = fill === 'NaN' ? NaN : fill === 'Infinity' ? Infinity : fill === '-Infinity' ? -Infinity : Number(fill)
  return new Float64Array(count).fill(value)
}

/** Values of one chunk in C order; numbers as doubles (the store's 64-bit integers are below 2⁵³). */
export function decodeChunk(data: Uint8Array, info: ArrayInfo, what: string): Values {
  const count = info.chunk_grid.configuration.chunk_shape.reduce((x, y) => x * y, 1)
  let bytes = data
  const text = info.data_type === 'string'
  const size = text ? MOST_BYTES : count * SIZES[info.data_type]
  if (!(size <= MOST_BYTES)) throw new Error(`${what}: its chunks are too large for this page`)
  try {
    for (const codec of [...info.codecs].reverse()) {
      if (codec.name === 'crc32c') bytes = checked(bytes, what)
      else if (codec.name === 'zstd') bytes = unzstd(bytes, size)
      else if (codec.name === 'blosc') bytes = unblosc(bytes, size)
      else if (codec.name !== 'bytes' && codec.name !== 'vlen-utf8') throw new Error(`codec ${codec.name} is not known`)
    }
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error)
    throw new Error(text.startsWith(what) ? text : `${what}: ${text}`)
  }
  return text ? texts(bytes, count, what) : numbers(bytes, count, info.data_type, what)
}

function numbers(bytes: Uint8Array, count: number, type: string, what: string): Float64Array {
  if (bytes.length !== count * SIZES[type]) throw new Error(`${what}: damaged (a chunk has the wrong size)`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const read: Record<string, (at: number) => number> = {
    int8: (i) => view.getInt8(i),
    bool: (i) => view.getUint8(i),
    uint8: (i) => view.getUint8(i),
    int16: (i) => view.getInt16(2 * i, true),
    uint16: (i) => view.getUint16(2 * i, true),
    int32: (i) => view.getInt32(4 * i, true),
    uint32: (i) => view.getUint32(4 * i, true),
    float32: (i) => view.getFloat32(4 * i, true),
    float64: (i) => view.getFloat64(8 * i, true),
    int64: (i) => Number(view.getBigInt64(8 * i, true)),
    uint64: (i) => Number(view.getBigUint64(8 * i, true)),
  }
  if (!read[type]) throw new Error(`${what}: numbers of the type ${type} are not known`)
  return Float64Array.from({ length: count }, (_, i) => read[type](i))
}

function texts(bytes: Uint8Array, count: number, what: string): string[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes.length < 4 || view.getUint32(0, true) !== count) throw new Error(`${what}: damaged (a chunk of texts)`)
  const decoder = new TextDecoder()
  const out: string[] = []
  for (let i = 0, at = 4; i < count; i++) {
    const size = view.getUint32(at, true)
    out.push(decoder.decode(bytes.subarray(at + 4, at + 4 + size)))
    at += 4 + size
  }
  return out
}
