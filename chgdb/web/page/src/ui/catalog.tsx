// The catalog: criteria, a table, a scatter plot; all of its state is in the address.
import { useEffect, useMemo, useState } from 'preact/hooks'
import {
  type Columns,
  type Criteria,
  criteriaOf,
  load,
  matching,
  needed,
  pointsOf,
  sorted,
  toParameters,
} from '../catalog'
import { type ColumnInfo, PREDICTED, type Source } from '../store/source'
import { cell, save, short, UNITS } from './numbers'
import { PeriodicTable } from './periodic'
import { address, parse, type Route } from './route'
import { Scatter } from './scatter'
import { Typed } from './typed'

const PAGE = 25
const SHOWN = ['material_id', 'formula', 'space_group', 'n_atoms', 'band_gap', 'bulk_modulus', 'nmae', 'stored_bytes']

/** Where the store's own label is too long for a table. */
const NAMES: Record<string, string> = {
  material_id: 'id',
  formula: 'formula',
  space_group: 'space group',
  n_atoms: 'atoms',
  nmae: 'NMAE',
  stored_bytes: 'record (bytes)',
  text_bytes: 'as VASP text (bytes)',
}

export function labelOf(c: ColumnInfo): string {
  if (NAMES[c.name]) return NAMES[c.name]
  const short = c.label.replace(/ \(.*\)$/, '').split(/[,;]/)[0]
  return c.units ? `${short} (${UNITS(c.units)})` : short
}

type Go = (change: (c: Criteria) => Criteria, more?: Record<string, string | undefined>) => void
const same = (c: Criteria) => c

export function CatalogScreen({ source, route }: { source: Source; route: Route }) {
  const { query } = route
  const key = query.toString()
  const criteria = useMemo(() => criteriaOf(query), [key])
  const sort = query.get('sort') ?? ''
  const page = Math.max(0, Number(query.get('page')) - 1 || 0)
  const byName = useMemo(() => new Map(source.columns.map((c) => [c.name, c])), [source])
  const choices = useMemo(() => source.columns.filter((c) => !c.name.endsWith('_out_of_fold')), [source])
  const numeric = useMemo(() => source.columns.filter((c) => !c.text && !c.name.startsWith(PREDICTED)), [source])
  const truths = useMemo(() => new Set(source.columns.filter((c) => c.truth).map((c) => c.name)), [source])
  const has = (name: string) => (byName.has(name) || byName.has(PREDICTED + name) ? name : undefined)
  const x = has(query.get('x') ?? '') ?? has('bulk_modulus') ?? numeric[0]?.name ?? ''
  const y = has(query.get('y') ?? '') ?? has('shear_modulus') ?? numeric[1]?.name ?? ''
  const [columns, setColumns] = useState<Columns>(new Map())
  const [plotted, setPlotted] = useState(false)
  const [problem, setProblem] = useState('')
  const shown = useMemo(
    () =>
      [...new Set([...SHOWN, ...criteria.ranges.map((r) => r.name), sort.replace(/^-/, '')])].filter((n) =>
        byName.has(n),
      ),
    [criteria, sort, byName],
  )
  const unknown = criteria.ranges.find((r) => !byName.has(r.name))
  useEffect(() => {
    let gone = false
    const read = async () => {
      // The table first, then what the plot takes.
      let known = await load(source, [...needed(criteria), ...shown], columns)
      if (gone) return
      setColumns(known)
      const forPlot = [x, y].flatMap((n) => [n, PREDICTED + n, `${PREDICTED}${n}_std`])
      known = await load(source, forPlot, known)
      if (gone) return
      setColumns(known)
      setPlotted(true)
    }
    read().catch((error) => !gone && setProblem(error.message))
    return () => {
      gone = true
    }
  }, [source, key])
  const ready = [...needed(criteria), ...shown].every((n) => columns.has(n) || !byName.has(n))
  const found = useMemo(
    () => (ready ? sorted(matching(criteria, columns, truths), sort, columns) : []),
    [ready, key, columns],
  )
  const counts = useMemo(() => {
    const out = new Map<string, number>()
    for (const text of (columns.get('elements') as string[] | undefined) ?? [])
      for (const s of text.split(' ')) out.set(s, (out.get(s) ?? 0) + 1)
    return out
  }, [columns.get('elements')])
  const points = useMemo(() => pointsOf(found, x, y, columns), [found, x, y, columns, plotted])

  /** From what the address says now: keys can come faster than pictures. */
  const go: Go = (change, more = {}) => {
    const now = parse(location.hash).query
    const next = new URLSearchParams(toParameters(change(criteriaOf(now))))
    const kept = ['sort', 'x', 'y'].map((name) => [name, now.get(name) ?? undefined])
    const rest: Record<string, string | undefined> = { ...Object.fromEntries(kept), ...more }
    for (const [name, value] of Object.entries(rest)) if (value) next.set(name, value)
    const text = next.toString()
    location.hash = `#/${text ? '?' + text : ''}`
  }
  const pages = Math.max(1, Math.ceil(found.length / PAGE))
  const here = Math.min(page, pages - 1)
  const rows = found.slice(here * PAGE, here * PAGE + PAGE)
  const ids = columns.get('material_id') as string[] | undefined
  const csv = () => {
    const lines = [shown.map((n) => cell(n.replace(PREDICTED, 'predicted_'))).join()]
    for (const row of found) lines.push(shown.map((n) => cell(columns.get(n)![row])).join())
    save(lines.join('\n') + '\n', 'materials.csv', 'text/csv')
  }
  return (
    <main id="main" tabIndex={-1} data-found={ready ? found.length : undefined}>
      <h1>{source.attributes.title ?? 'Catalog'}</h1>
      {(problem || unknown) && (
        <p class="error" role="alert">
          {problem || `the store has no column ${unknown!.name}`}
        </p>
      )}
      <div class="catalog">
        <Filters criteria={criteria} choices={choices} counts={counts} go={go} />
        <section aria-labelledby="found">
          <h2 id="found" aria-live="polite">
            {ready
              ? `${found.length.toLocaleString('en')} of ${source.count.toLocaleString('en')} materials`
              : 'Reading the catalog …'}
          </h2>
          <div class="scroll" tabIndex={0} role="region" aria-label="Table of materials">
            <table class="materials">
              <thead>
                <tr>
                  {shown.map((name) => {
                    const info = byName.get(name)!
                    const order = sort === name ? 'ascending' : sort === `-${name}` ? 'descending' : 'none'
                    return (
                      <th key={name} scope="col" aria-sort={order} class={info.text ? '' : 'number'} title={info.label}>
                        <button
                          type="button"
                          onClick={() =>
                            go(same, { sort: parse(location.hash).query.get('sort') === name ? `-${name}` : name })
                          }
                        >
                          {labelOf(info)}
                          {name.startsWith(PREDICTED) && !/predicted/.test(labelOf(info)) && ', predicted'}
                          <span aria-hidden="true">
                            {order === 'ascending' ? ' ▲' : order === 'descending' ? ' ▼' : ''}
                          </span>
                        </button>
                      </th>
                    )
                  })}
                </tr>
              </thead>
              <tbody>
                {rows.map((row) => (
                  <tr key={row}>
                    {shown.map((name) => {
                      const value = columns.get(name)![row]
                      if (name === 'material_id')
                        return (
                          <th key={name} scope="row">
                            <a href={address('material', String(value))}>{value}</a>
                          </th>
                        )
                      return (
                        <td key={name} class={typeof value === 'number' ? 'number' : ''}>
                          {name === 'nmae'
                            ? `${short(100 * (value as number), 3)} %`
                            : value === ''
                              ? '–'
                              : short(value)}
                        </td>
                      )
                    })}
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
          <nav class="pages buttons" aria-label="Pages of the table">
            <button
              type="button"
              disabled={here === 0}
              onClick={() => go(same, { page: here > 1 ? String(here) : undefined })}
            >
              Previous
            </button>
            <span>
              Page {here + 1} of {pages}
            </span>
            <button type="button" disabled={here + 1 >= pages} onClick={() => go(same, { page: String(here + 2) })}>
              Next
            </button>
            <button type="button" onClick={csv} disabled={!found.length}>
              CSV of all {found.length}
            </button>
          </nav>
          <h2>Two properties</h2>
          <form class="pair" onSubmit={(e) => e.preventDefault()} aria-label="Axes of the plot">
            {(['x', 'y'] as const).map((which) => (
              <label key={which}>
                {which === 'x' ? 'Across' : 'Up'}
                <select
                  name={which}
                  value={which === 'x' ? x : y}
                  onChange={(e) => go(same, { [which]: e.currentTarget.value, page: undefined })}
                >
                  {numeric.map((c) => (
                    <option key={c.name} value={c.name}>
                      {labelOf(c)}
                    </option>
                  ))}
                </select>
              </label>
            ))}
          </form>
          {ready && (
            <Scatter
              points={points}
              x={byName.has(x) ? labelOf(byName.get(x)!) : x}
              y={byName.has(y) ? labelOf(byName.get(y)!) : y}
              name={(row) => `${ids?.[row]} ${(columns.get('formula') as string[])[row]}`}
              onOpen={(row) => (location.hash = address('material', ids![row]))}
            />
          )}
        </section>
      </div>
    </main>
  )
}

function Filters({
  criteria,
  choices,
  counts,
  go,
}: {
  criteria: Criteria
  choices: ColumnInfo[]
  counts: Map<string, number>
  go: Go
}) {
  const name = (c: ColumnInfo) =>
    c.name.startsWith(PREDICTED) && !/predicted/.test(c.label) ? `predicted ${labelOf(c)}` : labelOf(c)
  const set = (i: number, part: Partial<Criteria['ranges'][number]>) =>
    go((c) => ({ ...c, ranges: c.ranges.map((r, k) => (k === i ? { ...r, ...part } : r)) }))
  const search = (text: string) => go((c) => ({ ...c, text }))
  const press = (symbol: string) =>
    go((c) => {
      const elements = c.elements.filter((s) => s !== symbol)
      const without = c.without.filter((s) => s !== symbol)
      if (c.elements.includes(symbol)) return { ...c, elements, without: [...without, symbol] }
      return c.without.includes(symbol) ? { ...c, without } : { ...c, elements: [...elements, symbol] }
    })
  const end = (text: string, open: number) => (text.trim() === '' ? open : Number(text))
  return (
    <form class="filters" onSubmit={(e) => e.preventDefault()} aria-label="Criteria">
      <label>
        Id or formula
        <Typed
          type="search"
          name="q"
          value={criteria.text}
          placeholder="mp-149, SiO2"
          onText={search}
        />
      </label>
      <PeriodicTable chosen={criteria.elements} without={criteria.without} counts={counts} onPress={press} />
      <fieldset class="pair">
        <legend>Of the elements asked for</legend>
        {(['all', 'any', 'only', 'none'] as const).map((mode) => (
          <label key={mode} class="check">
            <input
              type="radio"
              name="mode"
              value={mode}
              checked={criteria.mode === mode}
              onChange={() => go((c) => ({ ...c, mode }))}
            />
            {{ all: 'all occur', any: 'any occurs', only: 'all, and no others', none: 'none occurs' }[mode]}
          </label>
        ))}
        <button type="button" onClick={() => go((c) => ({ ...c, elements: [], without: [] }))}>
          Clear
        </button>
      </fieldset>
      {criteria.ranges.map((r, i) => {
        const info = choices.find((c) => c.name === r.name)
        const label = info ? name(info) : r.name
        return (
          <fieldset key={i} class="pair">
            <legend>{label}</legend>
            {info?.text ? (
              <Typed aria-label={label} value={r.text} onText={(text) => set(i, { text })} />
            ) : (
              <>
                <Typed
                  type="number"
                  step="any"
                  name={`low-${r.name}`}
                  aria-label={`${label}, at least`}
                  placeholder="at least"
                  value={Number.isFinite(r.low) ? r.low : ''}
                  onText={(text) => set(i, { low: end(text, -Infinity), text: '' })}
                />
                <Typed
                  type="number"
                  step="any"
                  name={`high-${r.name}`}
                  aria-label={`${label}, at most`}
                  placeholder="at most"
                  value={Number.isFinite(r.high) ? r.high : ''}
                  onText={(text) => set(i, { high: end(text, Infinity), text: '' })}
                />
              </>
            )}
            <button
              type="button"
              aria-label={`Remove ${label}`}
              onClick={() => go((c) => ({ ...c, ranges: c.ranges.filter((_, k) => k !== i) }))}
            >
              ×
            </button>
          </fieldset>
        )
      })}
      <label>
        Add a criterion
        <select
          name="add"
          value=""
          onChange={(e) => {
            const added = e.currentTarget.value
            e.currentTarget.value = ''
            if (added)
              go((c) => ({ ...c, ranges: [...c.ranges, { name: added, low: -Infinity, high: Infinity, text: '' }] }))
          }}
        >
          <option value="">column or prediction …</option>
          {choices.map((c) => (
            <option key={c.name} value={c.name}>
              {name(c)}
            </option>
          ))}
        </select>
      </label>
    </form>
  )
}
