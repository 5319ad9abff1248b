// The REST server of `chgdb web`: for stores that are not a folder a page can read (a .zip, a bucket).
import { payloadOf } from '../codec/record'
import type { Prior } from '../codec/prior'
import type { ColumnInfo, RecordBytes, Source } from './source'
import { traffic } from './transport'

/** The answer, or what the server says is wrong. */
export async function answer(url: string, init?: RequestInit): Promise<Response> {
  traffic.requests++
  let response: Response
  try {
    response = await fetch(url, init)
  } catch {
    throw new Error('the server does not answer: is chgdb web still running?')
  }
  if (response.ok) return response
  const problem = await response.json().catch(() => ({}))
  const detail = typeof problem.detail === 'string' ? problem.detail : `the server answers ${response.status}`
  throw new Error(detail)
}

export class RestSource implements Source {
  count = 0
  attributes: Record<string, any> = {}
  columns: ColumnInfo[] = []
  private constructor(readonly api: string) {}

  static async open(api: string): Promise<RestSource> {
    const source = new RestSource(new URL(api, document.baseURI).href)
    const about = await (await answer(`${source.api}store`)).json()
    Object.assign(source, { count: about.materials, attributes: about.attributes, columns: about.columns })
    return source
  }
  async column(name: string): Promise<Float64Array | string[]> {
    const { values } = await (await answer(`${this.api}columns?name=${encodeURIComponent(name)}`)).json()
    const info = this.columns.find((c) => c.name === name)
    return info?.text ? values : Float64Array.from(values, (v: number | null) => v ?? NaN)
  }
  private rows = new Map<number, string>()
  async facts(row: number) {
    const id = this.rows.get(row) ?? ((await this.column('material_id')) as string[])[row]
    const { columns, predictions } = await (await answer(`${this.api}materials/${encodeURIComponent(id)}`)).json()
    const all = { ...columns, ...predictions } as Record<string, number | string | null>
    return Object.fromEntries(Object.entries(all).map(([name, v]) => [name, v ?? NaN]))
  }
  async record(id: string): Promise<RecordBytes> {
    const place = `${this.api}materials/${encodeURIComponent(id)}`
    const [facts, raw] = await Promise.all([
      answer(place).then((r) => r.json()),
      answer(`${place}/record`).then((r) => r.arrayBuffer()),
    ])
    const priors: Record<number, Prior> = {}
    for (const p of facts.priors as number[]) priors[p] = await this.prior(p)
    this.rows.set(facts.row, id)
    const { nmae, max_error: maxError, tolerance, stored_bytes: stored, text_bytes: text } = facts.columns
    const payload = payloadOf(new Uint8Array(raw), facts.extras_bytes, id)
    return { id, row: facts.row, payload, priors, nmae, maxError, tolerance, stored, text, extras: facts.extras_bytes }
  }
  private known = new Map<number, Promise<Prior>>()
  private prior(id: number): Promise<Prior> {
    let prior = this.known.get(id)
    if (!prior) {
      prior = answer(`${this.api}priors/${id}`)
        .then((r) => r.json())
        .then((p) => ({ numbers: p.numbers, coefficients: Float32Array.from(p.coefficients) }))
      this.known.set(id, prior)
    }
    return prior
  }
}
