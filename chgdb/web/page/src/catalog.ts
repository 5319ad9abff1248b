// Which materials meet the criteria: the same ones as `chgdb search` finds.
import { numberOf } from './elements'
import { PREDICTED, type Source } from './store/source'

export type ElementMode = 'all' | 'any' | 'only' | 'none'
export interface Criteria {
  /** Parts of ids or a formula. */
  text: string
  elements: string[]
  mode: ElementMode
  without: string[]
  /** Column or prediction -> ends, both included; a text. */
  ranges: { name: string; low: number; high: number; text: string }[]
}
export type Columns = Map<string, Float64Array | string[]>

export function criteriaOf(query: URLSearchParams): Criteria {
  const list = (name: string) => (query.get(name) ?? '').split(',').filter((s) => numberOf(s) > 0)
  const mode = query.get('mode')
  const ranges = query.getAll('where').map((text) => {
    const at = text.indexOf(':')
    const [low, high] = text.slice(at + 1).split('..')
    const number = (x: string | undefined, open: number) => (x === undefined || x.trim() === '' ? open : Number(x))
    const ranged = high !== undefined
    return {
      name: text.slice(0, at),
      low: ranged ? number(low, -Infinity) : NaN,
      high: ranged ? number(high, Infinity) : NaN,
      text: ranged ? '' : text.slice(at + 1),
    }
  })
  return {
    text: query.get('q') ?? '',
    elements: list('elements'),
    mode: mode === 'any' || mode === 'only' || mode === 'none' ? mode : 'all',
    without: list('without'),
    ranges: ranges.filter((r) => r.name),
  }
}

export function toParameters(c: Criteria): [string, string][] {
  const out: [string, string][] = []
  if (c.text) out.push(['q', c.text])
  if (c.elements.length) out.push(['elements', c.elements.join()])
  if (c.mode !== 'all') out.push(['mode', c.mode])
  if (c.without.length) out.push(['without', c.without.join()])
  const end = (x: number) => (Number.isFinite(x) ? String(x) : '')
  for (const r of c.ranges) out.push(['where', `${r.name}:${r.text || `${end(r.low)}..${end(r.high)}`}`])
  return out
}

/** Columns that these criteria take. */
export function needed(c: Criteria): string[] {
  return ['material_id', 'formula', 'elements', ...c.ranges.map((r) => r.name)]
}

export async function load(source: Source, names: Iterable<string>, into: Columns): Promise<Columns> {
  const known = new Set(source.columns.map((c) => c.name))
  const missing = [...new Set(names)].filter((n) => known.has(n) && !into.has(n))
  const values = await Promise.all(missing.map((n) => source.column(n)))
  const out = new Map(into)
  missing.forEach((n, i) => out.set(n, values[i]))
  return out
}

/** Element -> count, by their greatest common divisor: the same for every way to write a formula. */
export function reduced(formula: string): string | undefined {
  const counts = new Map<string, number>()
  const parts = [...formula.matchAll(/([A-Z][a-z]?)(\d*)/g)]
  if (!parts.length || parts.map((p) => p[0]).join('') !== formula) return undefined
  for (const [, symbol, n] of parts) {
    if (numberOf(symbol) < 1) return undefined
    counts.set(symbol, (counts.get(symbol) ?? 0) + Number(n || 1))
  }
  let divisor = 0
  for (let n of counts.values()) {
    let a = divisor
    while (n) [a, n] = [n, a % n]
    divisor = a
  }
  return [...counts]
    .map(([s, n]) => `${s}${n / (divisor || 1)}`)
    .sort()
    .join('')
}

const WORDS: Record<string, number> = { yes: 1, true: 1, '1': 1, no: 0, false: 0, '0': 0, unknown: -1 }
/** Columns that hold several words, of which a criterion names some. */
const LISTS = ['elements', 'channels']

/** Whether a value meets a criterion; one that is not known meets none. The same as `chgdb search --where`. */
function meets({ name, low, high, text }: Criteria['ranges'][number], truth: boolean): (v: number | string) => boolean {
  if (!text) {
    const known = (v: number) => !Number.isNaN(v) && !(truth && v < 0) && !(name === 'space_group' && v === 0)
    return (v) => typeof v === 'number' && known(v) && v >= low && v <= high
  }
  if (name === 'formula') {
    const wanted = reduced(text)
    return (v) => reduced(String(v)) === wanted
  }
  if (LISTS.includes(name)) {
    const words = text.split(/[\s,;-]+/).filter(Boolean)
    return (v) => words.every((w) => String(v).split(' ').includes(w))
  }
  const pattern = new RegExp(`^${text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}([,;].*| v?\\d.*)?$`, 'is')
  const number = truth ? (WORDS[text.toLowerCase()] ?? NaN) : Number(text)
  return (v) => (typeof v === 'string' ? pattern.test(v) : Math.abs(v - number) <= 1e-9 * Math.abs(number))
}

/** Rows, in the store's order. truths: columns of true and false. */
export function matching(c: Criteria, columns: Columns, truths: Set<string>): number[] {
  const ids = columns.get('material_id') as string[]
  const elements = columns.get('elements') as string[]
  const formulas = columns.get('formula') as string[]
  const text = c.text.trim()
  const formula = text ? reduced(text) : undefined
  const lower = text.toLowerCase()
  const wanted = new Set(c.elements)
  const without = new Set(c.without)
  const tests = c.ranges.map((r) => ({ values: columns.get(r.name), test: meets(r, truths.has(r.name)) }))
  const rows: number[] = []
  for (let row = 0; row < ids.length; row++) {
    const named = ids[row].toLowerCase().includes(lower) || (formula && reduced(formulas[row]) === formula)
    if (text && !named) continue
    if (wanted.size || without.size) {
      const has = elements[row].split(' ')
      if (without.size && has.some((s) => without.has(s))) continue
      const found = has.filter((s) => wanted.has(s)).length
      if (c.mode === 'none' && found > 0) continue
      if (wanted.size && c.mode === 'any' && found === 0) continue
      if ((c.mode === 'all' || c.mode === 'only') && found !== wanted.size) continue
      if (wanted.size && c.mode === 'only' && has.length !== wanted.size) continue
    }
    if (tests.every(({ values, test }) => values && test(values[row]))) rows.push(row)
  }
  return rows
}

/** Ascending, or descending where the name begins with a minus; what is not known comes last. */
export function sorted(rows: number[], sort: string, columns: Columns): number[] {
  const down = sort.startsWith('-')
  const values = columns.get(down ? sort.slice(1) : sort)
  if (!values) return rows
  const missing = (v: number | string) => v === '' || Number.isNaN(v)
  return [...rows].sort((a, b) => {
    const x = values[a],
      y = values[b]
    if (missing(x) || missing(y)) return Number(missing(x)) - Number(missing(y)) || a - b
    const order = typeof x === 'string' ? (x < (y as string) ? -1 : x > (y as string) ? 1 : 0) : x - (y as number)
    return (down ? -order : order) || a - b
  })
}

/** A property as known, and where it is not, as predicted. */
export interface Points {
  rows: number[]
  x: number[]
  y: number[]
  /** Standard deviations; 0 for what is known. */
  dx: number[]
  dy: number[]
}

export function pointsOf(rows: number[], x: string, y: string, columns: Columns): Points {
  const out: Points = { rows: [], x: [], y: [], dx: [], dy: [] }
  const value = (name: string, row: number): [number, number] => {
    const known = columns.get(name)?.[row]
    if (typeof known === 'number' && Number.isFinite(known)) return [known, 0]
    const predicted = columns.get(PREDICTED + name)?.[row]
    const std = columns.get(`${PREDICTED}${name}_std`)?.[row]
    return [typeof predicted === 'number' ? predicted : NaN, typeof std === 'number' ? std : 0]
  }
  for (const row of rows) {
    const [vx, sx] = value(x, row)
    const [vy, sy] = value(y, row)
    if (!Number.isFinite(vx) || !Number.isFinite(vy)) continue
    out.rows.push(row)
    out.x.push(vx)
    out.y.push(vy)
    out.dx.push(sx)
    out.dy.push(sy)
  }
  return out
}
