// The viewer in a notebook: one density that Python sends, shown by anywidget.
import { render } from 'preact'
import { points, type V3 } from './field/density'
import { Session, setWorker } from './session'
import { Downloads } from './ui/downloads'
import { Explorer } from './ui/explorer'

interface Model {
  get(name: string): any
}

/** Returns what cleans up. */
export function widget({ model, el }: { model: Model; el: HTMLElement }): () => void {
  el.classList.add('chgdb')
  setWorker({ text: model.get('worker') })
  const session = new Session()
  const grid = model.get('grid') as V3
  const raw = model.get('values') as DataView
  const count = points(grid)
  const channels: Record<string, Float64Array> = {}
  ;(model.get('channels') as string[]).forEach((name, n) => {
    const from = raw.byteOffset + 8 * count * n
    channels[name] = new Float64Array(raw.buffer.slice(from, from + 8 * count))
  })
  const density = {
    cell: Float64Array.from(model.get('cell') as number[]),
    positions: Float64Array.from(model.get('positions') as number[]),
    numbers: model.get('numbers') as number[],
    grid,
    channels,
  }
  const title = model.get('title') as string
  session.ask('density', density).then(
    (meta) =>
      render(
        <Explorer session={session} meta={meta} title={title} error={model.get('note')}>
          <Downloads session={session} id={title} formula={title} structureOnly={false} />
        </Explorer>,
        el,
      ),
    (error) => render(<p class="error">{error.message}</p>, el),
  )
  return () => {
    session.close()
    render(null, el)
  }
}
