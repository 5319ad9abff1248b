// A record in the page itself: one HTML file.
import { type InlineRecord, fromBase64 } from '../ui/config'
import type { RecordBytes, Source } from './source'

export class InlineSource implements Source {
  readonly count = 1
  readonly attributes
  readonly columns
  constructor(private readonly data: InlineRecord) {
    this.attributes = data.attributes
    this.columns = data.columns
  }
  async column(name: string) {
    const value = this.data.facts[name]
    return typeof value === 'string' ? [value] : Float64Array.of(value ?? NaN)
  }
  async facts() {
    return Object.fromEntries(Object.entries(this.data.facts).map(([name, value]) => [name, value ?? NaN]))
  }
  async record(id: string): Promise<RecordBytes> {
    const { payload, priors, ...rest } = this.data
    if (id !== rest.id) throw new Error(`this file holds ${rest.id}, not ${id}`)
    const restored = Object.entries(priors).map(([key, p]) => [
      key,
      { numbers: p.numbers, coefficients: Float32Array.from(p.coefficients) },
    ])
    return { ...rest, row: 0, payload: fromBase64(payload), priors: Object.fromEntries(restored) }
  }
}
