// Everything about one density that needs no catalog: picture, slice, profile.
import type { ComponentChildren } from 'preact'
import { useEffect, useMemo, useState } from 'preact/hooks'
import { startPlane } from '../field/slice'
import type { V3 } from '../field/density'
import type { Session } from '../session'
import type { Meta, Range } from '../worker'
import { Controls } from './controls'
import { Picture } from './picture'
import { ProfilePanel } from './profile'
import { SlicePanel } from './slice'
import { START, type ViewState } from './state'

interface Props {
  session: Session
  meta: Meta
  /** Name of what is shown, and the line that states its error. */
  title: string
  error: string
  initial?: ViewState
  onState?: (state: ViewState, start: number) => void
  /** A picture is there. */
  onDrawn?: () => void
  children?: ComponentChildren
}

/** The range of a field, and the isovalue to begin with. */
export function useRange(session: Session, meta: Meta, kind: string): Range | undefined {
  const [range, setRange] = useState<Range & { kind: string }>()
  useEffect(() => {
    let gone = false
    if (!meta.kinds.includes(kind)) return
    session.ask('range', { kind }).then(
      (r) => !gone && setRange({ ...r, kind }),
      () => undefined, // the picture states what is wrong with the field
    )
    return () => {
      gone = true
    }
  }, [session, meta, kind])
  return range?.kind === kind ? range : undefined
}

/** With the plane that suits the crystal where none is chosen. */
export const planed = (state: ViewState, { hkl, offset }: { hkl: V3; offset: number }): ViewState =>
  state.hkl.some(Boolean) ? state : { ...state, hkl, offset }

export function Explorer({ session, meta, title, error, initial, onState, onDrawn, children }: Props) {
  const [state, setState] = useState(initial ?? START)
  const kind = meta.kinds.includes(state.kind) ? state.kind : (meta.kinds[0] ?? '')
  const range = useRange(session, meta, kind)
  const plane = useMemo(() => startPlane(meta), [meta])
  const shown = { ...planed(state, plane), kind, level: state.level || range?.start || 0 }
  const change = (part: Partial<ViewState>) => setState((s) => ({ ...s, kind, ...part }))
  useEffect(() => {
    if (range) onState?.({ ...shown, hkl: state.hkl, offset: state.offset }, range.start)
  }, [state, range])
  return (
    <div class="explorer">
      <div class="left">
        <Picture session={session} meta={meta} state={shown} title={title} error={error} onDrawn={onDrawn} />
        <Controls meta={meta} range={range} state={shown} change={change} />
        {children}
      </div>
      <div class="right">
        {meta.kinds.length > 0 && <SlicePanel session={session} meta={meta} state={shown} change={change} />}
        {meta.kinds.length > 0 && <ProfilePanel session={session} meta={meta} kind={kind} name={title.split(' ')[0]} />}
      </div>
    </div>
  )
}
