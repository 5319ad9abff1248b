// Two densities side by side: linked cameras, one isovalue, their difference where the grids allow it.
import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { formulaOf } from '../elements'
import type { Session } from '../session'
import type { Source } from '../store/source'
import type { Meta } from '../worker'
import { Controls } from './controls'
import { startPlane } from '../field/slice'
import { planed, useRange } from './explorer'
import { DropZone, openFile, type Opened } from './file'
import { errorLine, type Loaded, useRecord } from './material'
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
/** What was said of two sessions, and the field that shows it. Of other sessions it says nothing. */
interface Outcome {
  a: Session
  b: Session
  said: string
  meta?: Meta
}

export function CompareScreen({ source, route }: { source: Source; route: Route }) {
  const [state, setState] = useState<ViewState>(START)
  const [camera, setCamera] = useState<{ from: string; state: CameraState }>()
  const [sides, setSides] = useState<Record<string, Side | undefined>>({})
  const [found, setFound] = useState<Outcome>()
  const b = sides.b
  const outcome = found && found.a === sides.a?.session && found.b === b?.session ? found : undefined
  const a = sides.a && { ...sides.a, meta: outcome?.meta ?? sides.a.meta }
  const report = (which: string) => (side: Side | undefined) => setSides((s) => ({ ...s, [which]: side }))
  const kinds = a && b ? a.meta.kinds.filter((k) => b.meta.kinds.includes(k) || k === DIFFERENCE) : (a ?? b)?.meta.kinds
  const leader = a ?? b
  const plane = useMemo(() => leader && startPlane(leader.meta), [leader?.meta])
  /** An isovalue is one of its field: where that has gone with a side, both begin again. */
  const settled = (s: ViewState): ViewState => (kinds?.includes(s.kind) ? s : { ...s, kind: 'total', level: 0 })
  const change = (part: Partial<ViewState>) => setState((s) => ({ ...settled(s), ...part }))
  const shown = settled(plane ? planed(state, plane) : state)

  const subtract = async () => {
    const both = { a: a!.session, b: b!.session }
    try {
      const [x, y] = await Promise.all([both.a, both.b].map((s) => s.ask('values', { kind: 'total' })))
      let sum = 0
      let weight = 0
      const difference = x.map((v, i) => v - y[i])
      for (let i = 0; i < x.length; i++) {
        sum += Math.abs(difference[i])
        weight += Math.abs(y[i])
      }
      const meta = await both.a.ask('add', { kind: DIFFERENCE, values: difference })
      const said = `NMAE of the first against the second: ${percent(sum / weight)}. The picture on the left shows the first minus the second.`
      setFound({ ...both, meta, said })
      setState((s) => ({ ...s, kind: DIFFERENCE, level: 0 }))
    } catch (error) {
      setFound({ ...both, said: error instanceof Error ? error.message : String(error) })
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
      {leader && kinds && <Shared side={leader} kinds={kinds} state={shown} change={change} />}
      {a && b && (
        <p class="buttons">
          <button type="button" disabled={!same || !a.meta.kinds.length || !b.meta.kinds.length} onClick={subtract}>
            Difference of the two
          </button>
          <span role="status">
            {outcome?.said || (same ? '' : 'Their cells or grids differ: there is no difference to show.')}
          </span>
        </p>
      )}
      <div class="two">
        {['a', 'b'].map((which) => (
          <Pane
            key={which}
            which={which}
            source={source}
            route={route}
            side={which === 'a' ? a : b}
            report={report(which)}
            state={shown}
            change={change}
            camera={camera && camera.from !== which ? camera.state : undefined}
            onCamera={(c) => setCamera({ from: which, state: c })}
          />
        ))}
      </div>
    </main>
  )
}

/** One isovalue for both. */
function Shared({
  side,
  kinds,
  state,
  change,
}: {
  side: Side
  kinds: string[]
  state: ViewState
  change: (part: Partial<ViewState>) => void
}) {
  const range = useRange(side.session, side.meta, state.kind)
  useEffect(() => {
    if (range && !state.level) change({ level: range.start })
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
  const stored = useRecord(source, file ? '' : id)
  const turn = useRef(0)
  useEffect(() => () => file?.session.close(), [file])
  // What the address names comes instead of a file.
  useEffect(() => forget(), [id])
  // What was there stays until something else has been read: a new picture costs far more than another crystal in it.
  const known = sideOf(file, stored.loaded, id)
  const reading = !known && id !== '' && !stored.problem
  useEffect(() => {
    if (!reading) report(known)
  }, [file, stored.loaded, reading])
  const forget = () => {
    turn.current++
    setFile(undefined)
    setProblem('')
  }
  const choose = (text: string) => {
    forget()
    const query = Object.fromEntries(
      ['a', 'b'].map((w) => [w, w === which ? text.trim() : (route.query.get(w) ?? undefined)]),
    )
    location.hash = address('compare', '', query)
  }
  const open = async (chosen: File) => {
    const mine = ++turn.current
    setProblem('')
    // Of what comes while a file is read the last counts.
    try {
      const opened = await openFile(chosen)
      if (mine !== turn.current) return opened.session.close()
      setFile(opened)
    } catch (error) {
      if (mine === turn.current) setProblem(error instanceof Error ? error.message : String(error))
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
      {(problem || stored.problem) && (
        <p class="error" role="alert">
          {problem || stored.problem}
        </p>
      )}
      {reading && <p role="status">Reading {id} …</p>}
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

/** A file comes before what the address names. */
function sideOf(file: Opened | undefined, loaded: Loaded | undefined, id: string): Side | undefined {
  if (file) {
    const { session, meta } = file
    const { name, size } = file.file
    const error = meta.kinds.length ? `Exactly as in the file (${bytes(size)})` : 'A structure, without a density'
    return { session, meta, name: `${name} ${formulaOf(meta.numbers)}`, error }
  }
  if (!loaded) return undefined
  const { session, meta, record } = loaded
  return { session, meta, name: `${id} ${formulaOf(meta.numbers)}`, error: errorLine(record) }
}
