// Along a line between two atoms or points, and averages over planes.
import { useEffect, useId, useState } from 'preact/hooks'
import { SYMBOLS } from '../elements'
import type { V3 } from '../field/density'
import type { Session } from '../session'
import type { Meta } from '../worker'
import { cell, save } from './numbers'
import { Lines, type Series } from './plot'
import { labelOf, unitOf } from './state'
import { Typed } from './typed'

const COLOURS = ['#c9740b', '#0a84b5', '#6a8f1f']

export function ProfilePanel({
  session,
  meta,
  kind,
  name,
}: {
  session: Session
  meta: Meta
  kind: string
  name: string
}) {
  const id = useId()
  const [what, setWhat] = useState<'line' | '0' | '1' | '2'>('line')
  const [ends, setEnds] = useState<[string, string]>(['', ''])
  const [series, setSeries] = useState<Series[]>([])
  const [problem, setProblem] = useState('')
  const atom = (n: number) => Array.from(meta.positions.subarray(3 * n, 3 * n + 3))
  // By default from the first atom to its nearest other, or across the cell.
  const fallback = [atom(0), meta.numbers.length > 1 ? near(meta) : [1, 1, 1].map((x, k) => x + (atom(0)[k] ?? 0))]
  const point = (text: string, i: number): V3 | undefined => {
    const values = text.trim() === '' ? fallback[i] : text.trim().split(/[ ,]+/).map(Number)
    return values.length === 3 && values.every(Number.isFinite) ? (values as V3) : undefined
  }
  useEffect(() => {
    let gone = false
    const [from, to] = ends.map(point)
    if (what === 'line' && (!from || !to)) {
      setProblem('A point is three fractional coordinates, such as 0.5 0.5 0.5')
      return
    }
    const answer =
      what === 'line'
        ? session.ask('line', { kind, from: from!, to: to! })
        : session.ask('average', { kind, axis: Number(what) })
    answer.then(
      ({ distance, values }) => {
        if (gone) return
        setProblem('')
        setSeries([
          { label: labelOf(kind), x: distance, y: values, colour: COLOURS[what === 'line' ? 0 : Number(what)] },
        ])
      },
      (error) => !gone && setProblem(error.message === 'closed' ? '' : error.message),
    )
    return () => {
      gone = true
    }
  }, [session, meta, kind, what, ends.join('|')])
  const choose = (i: number, text: string) => setEnds(ends.map((e, k) => (k === i ? text : e)) as [string, string])
  const csv = () => {
    const rows = Array.from(series[0].x, (x, i) => `${cell(x)},${cell(series[0].y[i])}`)
    save(
      [`distance_angstrom,${labelOf(kind).replaceAll(' ', '_')}`, ...rows, ''].join('\n'),
      `${name}-profile.csv`,
      'text/csv',
    )
  }
  return (
    <section class="panel" aria-labelledby={`${id}h`}>
      <h2 id={`${id}h`}>Profile</h2>
      <form class="pair" onSubmit={(e) => e.preventDefault()} aria-label="Profile">
        <label>
          Along
          <select value={what} name="profile" onChange={(e) => setWhat(e.currentTarget.value as typeof what)}>
            <option value="line">a line between two points</option>
            {['a', 'b', 'c'].map((axis, k) => (
              <option key={axis} value={String(k)}>
                {axis}, averaged over planes
              </option>
            ))}
          </select>
        </label>
        {what === 'line' &&
          ['From', 'To'].map((label, i) => (
            <label key={label}>
              {label}
              <Typed
                name={label.toLowerCase()}
                list={`${id}atoms`}
                value={ends[i]}
                placeholder={fallback[i].map((x) => Number(x.toFixed(3))).join(' ')}
                onText={(text) => choose(i, text)}
              />
            </label>
          ))}
        <button type="button" onClick={csv} disabled={!series.length}>
          CSV
        </button>
      </form>
      <datalist id={`${id}atoms`}>
        {meta.numbers.slice(0, 200).map((z, n) => (
          <option
            key={n}
            value={atom(n)
              .map((x) => Number(x.toFixed(6)))
              .join(' ')}
          >
            {SYMBOLS[z]} {n + 1}
          </option>
        ))}
      </datalist>
      {problem ? (
        <p class="error" role="alert">
          {problem}
        </p>
      ) : (
        <Lines label={`Profile of the ${labelOf(kind)}`} x="distance (Å)" y={unitOf(kind)} series={series} />
      )}
    </section>
  )
}

/** The image of another atom that is nearest to the first. */
function near(meta: Meta): number[] {
  const { cell: c, positions } = meta
  let best = Infinity
  let found = [1, 1, 1]
  for (let n = 1; n < meta.numbers.length; n++) {
    const d = [0, 1, 2].map((k) => positions[3 * n + k] - positions[k])
    const f = d.map((x) => x - Math.round(x))
    const r = Math.hypot(...[0, 1, 2].map((k) => f[0] * c[k] + f[1] * c[3 + k] + f[2] * c[6 + k]))
    if (r < best) {
      best = r
      found = f.map((x, k) => x + positions[k])
    }
  }
  return found
}
