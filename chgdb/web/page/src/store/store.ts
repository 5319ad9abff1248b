// A store on any file server, read by range requests (docs/format.md, sections 1 and 2).
import { payloadOf } from '../codec/record'
import { crc32c } from '../codec/crc'
import type { Prior } from '../codec/prior'
import { hash64 } from './blake2b'
import { type ColumnInfo, PREDICTED, type RecordBytes, type Source } from './source'
import { file, fileIfAny, range, unfolded } from './transport'
import { type ArrayInfo, decodeChunk, filled, type Values } from './zarr'

/** The newest format that this page reads. */
const FORMAT = 3
const HEAD = new TextEncoder().encode('chgdb head 1\n')
/** Columns that only a decoder needs. */
const INTERNAL = new Set(['payload_offset', 'extras_length', 'atom_offset', 'source_crc32c'])
const HEX = (id: number) => id.toString(16).padStart(8, '0')

export class StoreSource implements Source {
  private arrays: Record<string, ArrayInfo> = {}
  private chunks = new Map<string, Promise<Values>>()
  private known = new Map<string, Uint8Array>()
  /** All files of the store, where its head lists them: what is not among them need not be asked for. */
  private listed?: Set<string>
  private base: string
  attributes: Record<string, any> = {}
  columns: ColumnInfo[] = []
  count = 0

  private constructor(
    url: string,
    readonly api?: string,
  ) {
    this.base = url.endsWith('/') ? url : `${url}/`
  }

  /** url: of the store's folder. api: of the REST server beside it, if any. */
  static async open(url: string, api?: string): Promise<StoreSource> {
    const source = new StoreSource(new URL(url, document.baseURI).href, api)
    await source.readHead()
    const raw = source.known.get('zarr.json') ?? (await file(`${source.base}zarr.json`, 'the store', 'no-cache'))
    const root = JSON.parse(new TextDecoder().decode(raw))
    const format = root.attributes?.chgdb_format
    if (!(format <= FORMAT))
      throw new Error(
        format ? `the store has format ${format}, newer than this page: update it` : 'this is no chgdb store',
      )
    source.attributes = root.attributes
    for (const [name, node] of Object.entries<any>(root.consolidated_metadata.metadata))
      if (node.node_type === 'array') source.arrays[name] = node
    source.count = source.arrays.material_id.shape[0]
    source.columns = source.describe()
    return source
  }

  /** zarr.json and priors in one request; stores that are not published lack it, or it is out of date. */
  private async readHead() {
    const head = await fileIfAny(`${this.base}head.bin`, 'the head of the store', 'no-cache')
    if (!head || !HEAD.every((b, i) => head[i] === b)) return
    const text = await unfolded(head.subarray(HEAD.length), 'deflate', 64 << 20)
    let at = text.indexOf(10)
    const folder = new TextDecoder().decode(text.subarray(0, at++)).replace(/^base ?/, '')
    const files = new Map<string, Uint8Array>()
    while (at < text.length) {
      const end = text.indexOf(10, at)
      const line = new TextDecoder().decode(text.subarray(at, end))
      const [size, key] = [Number(line.slice(0, line.indexOf(' '))), line.slice(line.indexOf(' ') + 1)]
      files.set(key, text.subarray(end + 1, end + 1 + size))
      at = end + 1 + size
    }
    if (folder) this.base = new URL(`${folder}/`, this.base).href
    const sums = new TextDecoder().decode(files.get('checksums.txt'))
    this.listed = new Set()
    for (const line of sums.split('\n')) {
      const [crc, size, key] = line.split(' ')
      if (key) this.listed.add(key)
      const data = key === undefined ? undefined : files.get(key)
      if (!data) continue
      if (data.length !== Number(size) || crc32c(data) !== parseInt(crc, 16))
        throw new Error(`${key}: damaged (its checksum does not agree); run chgdb verify on the store`)
      this.known.set(key, data)
    }
  }

  private describe(): ColumnInfo[] {
    const out: ColumnInfo[] = []
    for (const [name, info] of Object.entries(this.arrays)) {
      const predicted = name.startsWith(PREDICTED) && name !== `${PREDICTED}material_id`
      if ((name.includes('/') && !predicted) || info.shape.length !== 1 || info.shape[0] !== this.count) continue
      if (INTERNAL.has(name)) continue
      const { long_name: label = name, units = '', ...attributes } = info.attributes
      const truth = info.data_type === 'int8' && !predicted
      out.push({ name, label, units: units === '1' ? '' : units, text: info.data_type === 'string', truth, attributes })
    }
    return out
  }

  /** One chunk along the first dimension; every other dimension is whole in it. */
  private chunk(name: string, index: number): Promise<Values> {
    const key = `${name}/c/${index}${'/0'.repeat(this.arrays[name].shape.length - 1)}`
    let values = this.chunks.get(key)
    if (!values) {
      values = this.readChunk(name, key)
      this.chunks.set(key, values)
      values.catch(() => this.chunks.delete(key))
    }
    return values
  }

  private async readChunk(name: string, key: string): Promise<Values> {
    const info = this.arrays[name]
    const absent = this.listed && !this.listed.has(key)
    const data = this.known.get(key) ?? (absent ? undefined : await fileIfAny(this.base + key, name))
    const count = info.chunk_grid.configuration.chunk_shape.reduce((x, y) => x * y, 1)
    return data ? decodeChunk(data, info, name) : filled(info, count)
  }

  /** Rows of an array with several dimensions follow each other in the result. */
  private async whole(name: string): Promise<Values> {
    const info = this.arrays[name]
    const rows = info.chunk_grid.configuration.chunk_shape[0]
    const width = info.shape.slice(1).reduce((x, y) => x * y, 1)
    const parts = await Promise.all(
      Array.from({ length: Math.ceil(info.shape[0] / rows) }, (_, i) => this.chunk(name, i)),
    )
    const size = info.shape[0] * width
    if (info.data_type === 'string') return (parts as string[][]).flat().slice(0, size)
    const out = new Float64Array(size)
    parts.forEach((part, i) => {
      const left = size - i * rows * width
      out.set((part as Float64Array).subarray(0, left), i * rows * width)
    })
    return out
  }

  private async value(name: string, row: number): Promise<number | string> {
    const rows = this.arrays[name].chunk_grid.configuration.chunk_shape[0]
    return (await this.chunk(name, Math.floor(row / rows)))[row % rows]
  }

  column(name: string): Promise<Float64Array | string[]> {
    if (!this.columns.some((c) => c.name === name)) throw new Error(`the store has no column ${name}`)
    return this.whole(name)
  }

  async facts(row: number): Promise<Record<string, number | string>> {
    const pairs = this.columns.map(async ({ name }) => [name, await this.value(name, row)] as const)
    return Object.fromEntries(await Promise.all(pairs))
  }

  async record(id: string): Promise<RecordBytes> {
    const { row, offset, length } = await this.find(id)
    const [facts, record, priors] = await Promise.all([
      this.recordFacts(row),
      this.payload(offset, length, id),
      this.priors(),
    ])
    if (facts.crc !== undefined && facts.crc !== new DataView(record.buffer).getUint32(length - 4, true))
      throw new Error(
        `${id}: its record is not the one the store states (damaged, or replaced meanwhile): reload the page`,
      )
    return { id, row, payload: payloadOf(record, facts.extras, id), priors, stored: length, ...facts }
  }

  /** By the index, which is sorted by hash: hashes are even, so that the right chunk can be guessed. */
  private async find(id: string): Promise<{ row: number; offset: number; length: number }> {
    const wanted = hash64(id)
    const { shape, chunk_grid } = this.arrays['index/lookup']
    const [rows] = chunk_grid.configuration.chunk_shape
    const chunks = Math.ceil(shape[0] / rows)
    let at = Math.min(chunks - 1, Math.floor((Number(wanted >> 11n) / 2 ** 53) * (shape[0] / rows)))
    for (const seen = new Set<number>(); at >= 0 && at < chunks && !seen.has(at);) {
      seen.add(at)
      const bytes = Uint8Array.from((await this.chunk('index/lookup', at)) as Float64Array)
      const view = new DataView(bytes.buffer)
      const last = Math.min(rows, shape[0] - at * rows) - 1
      if (wanted < view.getBigUint64(0, true)) at--
      else if (wanted > view.getBigUint64(24 * last, true)) at++
      else {
        for (let low = 0, high = last; low <= high;) {
          const middle = (low + high) >> 1
          const hash = view.getBigUint64(24 * middle, true)
          if (hash === wanted)
            return {
              offset: Number(view.getBigUint64(24 * middle + 8, true)),
              row: view.getUint32(24 * middle + 16, true),
              length: view.getUint32(24 * middle + 20, true),
            }
          if (hash < wanted) low = middle + 1
          else high = middle - 1
        }
        break
      }
    }
    throw new Error(`there is no material ${id} in this store; search the catalog for it`)
  }

  private async recordFacts(row: number) {
    if (!this.arrays['index/facts']) {
      const names = ['extras_length', 'nmae', 'max_error', 'tolerance', 'text_bytes']
      const values = await Promise.all(names.map(async (n) => Number(await this.value(n, row))))
      const [extras, nmae, maxError, tolerance, text] = values
      return { crc: undefined as number | undefined, extras, nmae, maxError, tolerance, text }
    }
    const [rows] = this.arrays['index/facts'].chunk_grid.configuration.chunk_shape
    const chunk = (await this.chunk('index/facts', Math.floor(row / rows))) as Float64Array
    const bytes = Uint8Array.from(chunk.subarray(32 * (row % rows), 32 * (row % rows) + 32))
    const view = new DataView(bytes.buffer)
    return {
      crc: view.getUint32(0, true),
      extras: view.getUint32(4, true),
      nmae: view.getFloat32(8, true),
      maxError: view.getFloat32(12, true),
      tolerance: view.getFloat64(16, true),
      text: Number(view.getBigInt64(24, true)),
    }
  }

  /** Bytes of the array `payload`, which may lie in several files. */
  private async payload(offset: number, length: number, id: string): Promise<Uint8Array> {
    const [size] = this.arrays.payload.chunk_grid.configuration.chunk_shape
    const out = new Uint8Array(length)
    for (let at = offset; at < offset + length;) {
      const shard = Math.floor(at / size)
      const end = Math.min(offset + length, (shard + 1) * size)
      out.set(await range(`${this.base}payload/c/${shard}`, at - shard * size, end - at, id), at - offset)
      at = end
    }
    return out
  }

  private priorsOnce?: Promise<Record<number, Prior>>
  private priors(): Promise<Record<number, Prior>> {
    this.priorsOnce ??= (async () => {
      const out: Record<number, Prior> = {}
      for (const id of (this.attributes.priors ?? []) as number[]) {
        const [numbers, coefficients] = await Promise.all([
          this.whole(`prior/${HEX(id)}/numbers`),
          this.whole(`prior/${HEX(id)}/coefficients`),
        ])
        out[id] = {
          numbers: Array.from(numbers as Float64Array),
          coefficients: Float32Array.from(coefficients as Float64Array),
        }
      }
      return out
    })()
    return this.priorsOnce
  }
}
