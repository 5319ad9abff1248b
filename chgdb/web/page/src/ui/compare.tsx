// Two densities side by side: linked cameras, one isovalue, their difference where the grids allow it.
import { useEffect, useMemo, useState } from 'preact/hooks'
import { formulaOf } from '../elements'
import type { Session } from '../session'
import type { Source } from '../store/source'
import type { Meta } from '../worker'
import { Controls } from './controls'
import { startPlane } from '../field/slice'
import { planed, useRange } from './explorer'
import { DropZone, openFile, type Opened } from './file'
import { errorLine, useRecord } from './material'
import { bytes, percent } from './numbers'
import { Picture } from './picture'
import { address, type Route } from './route'
import type { CameraState } from './scene'
import { SlicePanel } from './slice'
import { START, type ViewState } from './state'

interface Side {
  session: Session
  meta: Meta
  name: string
  error: string
}
const DIFFERENCE = 'difference of the two'

export function CompareScreen({ source, route }: { source: Source; route: Route }) {
  const [state, setState] = useState<ViewState>(START)
  const [camera, setCamera] = useState<{ from: string; state: CameraState }>()
  const [sides, setSides] = useState<Record<string, Side | undefined>>({})
  const [note, setNote] = useState('')
  const { a, b } = sides
  useEffect(() => setNote(''), [a?.session, b?.session])
  const report = (which: string) => (side: Side | undefined) => setSides((s) => ({ ...s, [which]: side }))
  const kinds = a && b ? a.meta.kinds.filter((k) => b.meta.kinds.includes(k) || k === DIFFERENCE) : (a ?? b)?.meta.kinds
  const leader = a ?? b
  const plane = useMemo(() => leader && startPlane(leader.meta), [leader?.meta])
  const kind = kinds?.includes(state.kind) ? state.kind : 'total'
  const change = (part: Partial<ViewState>) => setState((s) => ({ ...s, kind, ...part }))
  const shown: ViewState = { ...(plane ? planed(state, plane) : state), kind }

  const subtract = async () => {
    try {
      const [x, y] = await Promise.all([a!, b!].map((s) => s.session.ask('values', { kind: 'total' })))
      let sum = 0
      let weight = 0
      const difference = x.map((v, i) => v - y[i])
      for (let i = 0; i < x.length; i++) {
        sum += Math.abs(difference[i])
        weight += Math.abs(y[i])
      }
      const meta = await a!.session.ask('add', { kind: DIFFERENCE, values: difference })
      setSides((s) => ({ ...s, a: { ...s.a!, meta } }))
      setState((s) => ({ ...s, kind: DIFFERENCE, level: 0 }))
      setNote(
        `NMAE of the first against the second: ${percent(sum / weight)}. The picture on the left shows the first minus the second.`,
      )
    } catch (error) {
      setNote(error instanceof Error ? error.message : String(error))
    }
  }
  const same =
    a &&
    b &&
    a.meta.grid.join() === b.meta.grid.join() &&
    Array.from(a.meta.cell).every((x, i) => Math.abs(x - b.meta.cell[i]) < 0.05)
  return (
    <main id="main" tabIndex={-1}>
      <h1>Compare</h1>
      {leader && kinds && <Shared side={leader} kinds={kinds} state={shown} change={change} setState={setState} />}
      <div class="two">
        {['a', 'b'].map((which) => (
          <Pane
            key={which}
            which={which}
            source={source}
            route={route}
            side={sides[which]}
            report={report(which)}
            state={shown}
            change={change}
            camera={camera && camera.from !== which ? camera.state : undefined}
            onCamera={(c) => setCamera({ from: which, state: c })}
          />
        ))}
      </div>
      {a && b && (
        <p class="buttons">
          <button type="button" disabled={!same || !a.meta.kinds.length || !b.meta.kinds.length} onClick={subtract}>
            Difference of the two
          </button>
          <span role="status">
            {note || (same ? '' : 'Their cells or grids differ: there is no difference to show.')}
          </span>
        </p>
      )}
    </main>
  )
}

/** One isovalue for both. */
function Shared({
  side,
  kinds,
  state,
  change,
  setState,
}: {
  side: Side
  kinds: string[]
  state: ViewState
  change: (part: Partial<ViewState>) => void
  setState: (update: (s: ViewState) => ViewState) => void
}) {
  const range = useRange(side.session, side.meta, state.kind)
  useEffect(() => {
    if (range && !state.level) setState((s) => ({ ...s, level: range.start }))
  }, [range, state.level])
  return <Controls meta={{ ...side.meta, kinds }} range={range} state={state} change={change} />
}

function Pane({
  which,
  source,
  route,
  side,
  report,
  state,
  change,
  camera,
  onCamera,
}: {
  which: string
  source: Source
  route: Route
  side: Side | undefined
  report: (side: Side | undefined) => void
  state: ViewState
  change: (part: Partial<ViewState>) => void
  camera?: CameraState
  onCamera: (state: CameraState) => void
}) {
  const id = route.query.get(which) ?? ''
  const [file, setFile] = useState<Opened>()
  const [problem, setProblem] = useState('')
  useEffect(() => () => file?.session.close(), [file])
  // What the address names comes instead of a file.
  useEffect(() => setFile(undefined), [id])
  const choose = (text: string) => {
    setFile(undefined)
    const query = Object.fromEntries(
      ['a', 'b'].map((w) => [w, w === which ? text.trim() : (route.query.get(w) ?? undefined)]),
    )
    location.hash = address('compare', '', query)
  }
  const open = async (chosen: File) => {
    setProblem('')
    try {
      const opened = await openFile(chosen)
      setFile(opened)
      const error = opened.meta.kinds.length
        ? `Exactly as in the file (${bytes(chosen.size)})`
        : 'A structure, without a density'
      report({ ...opened, name: `${chosen.name} ${formulaOf(opened.meta.numbers)}`, error })
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error))
    }
  }
  return (
    <section aria-label={which === 'a' ? 'First' : 'Second'} data-side={which}>
      <form
        class="pair"
        onSubmit={(e) => {
          e.preventDefault()
          choose(new FormData(e.currentTarget).get('id') as string)
        }}
      >
        <label>
          Material
          <input name="id" defaultValue={id} placeholder="mp-149" />
        </label>
        <button type="submit">Show</button>
      </form>
      <DropZone label="or a file" onFile={open} />
      {problem && (
        <p class="error" role="alert">
          {problem}
        </p>
      )}
      {id && !file && <FromStore key={id} source={source} id={id} report={report} />}
      {side && (
        <>
          <h2>{side.name}</h2>
          <Picture
            session={side.session}
            meta={side.meta}
            state={state}
            title={side.name}
            error={side.error}
            camera={camera}
            onCamera={onCamera}
          />
          {side.meta.kinds.includes(state.kind) && (
            <SlicePanel of={side.name} session={side.session} meta={side.meta} state={state} change={change} />
          )}
        </>
      )}
    </section>
  )
}

function FromStore({ source, id, report }: { source: Source; id: string; report: (side: Side | undefined) => void }) {
  const { loaded, problem } = useRecord(source, id)
  useEffect(() => {
    if (!loaded) return report(undefined)
    const { session, meta, record } = loaded
    report({ session, meta, name: `${id} ${formulaOf(meta.numbers)}`, error: errorLine(record) })
  }, [loaded])
  useEffect(() => () => report(undefined), [])
  return problem ? (
    <p class="error" role="alert">
      {problem}
    </p>
  ) : null
}
