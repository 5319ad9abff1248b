// A plane through the field, with contours and a scale.
import { useEffect, useRef, useState } from 'preact/hooks'
import { SYMBOLS } from '../elements'
import type { V3 } from '../field/density'
import type { Slice } from '../field/slice'
import { latest, type Session } from '../session'
import type { Meta } from '../worker'
import { colour, mappingOf } from './colours'
import { short } from './numbers'
import { labelOf, signed, unitOf, type ViewState } from './state'

const WIDTH = 520
const HEIGHT = 380

export function SlicePanel({
  session,
  meta,
  state,
  change,
  of = '',
}: {
  session: Session
  meta: Meta
  state: ViewState
  change: (part: Partial<ViewState>) => void
  /** Which of several densities on the screen. */
  of?: string
}) {
  const canvas = useRef<HTMLCanvasElement>(null)
  const [slice, setSlice] = useState<Slice>()
  const [hover, setHover] = useState('')
  const newest = useRef({ session, state })
  newest.current = { session, state }
  const ask = useRef(
    latest(async () => {
      const { session, state } = newest.current
      const { kind, hkl, offset } = state
      try {
        setSlice(await session.ask('slice', { kind, hkl, offset, width: WIDTH, height: HEIGHT }))
      } catch (problem) {
        if (String(problem) !== 'Error: closed') setHover(String(problem))
      }
    }),
  )
  useEffect(() => ask.current(), [session, meta, state.kind, state.hkl.join(), state.offset])
  useEffect(() => {
    if (slice && canvas.current) draw(canvas.current, slice, signed(state.kind))
  }, [slice])
  const unit = unitOf(state.kind)
  const set = (k: number, text: string) => {
    const hkl = state.hkl.map((x, i) => (i === k ? Math.round(Number(text)) || 0 : x)) as V3
    if (hkl.some(Boolean)) change({ hkl })
  }
  const point = (e: PointerEvent) => {
    if (!slice) return
    const box = canvas.current!.getBoundingClientRect()
    const x = Math.floor(((e.clientX - box.left) / box.width) * WIDTH)
    const y = Math.floor(((e.clientY - box.top) / box.height) * HEIGHT)
    const v = slice.values[y * WIDTH + x]
    setHover(v === undefined ? '' : `${short(v)} ${unit} here`)
  }
  return (
    <section class="panel" aria-label={`Slice ${of}`.trim()}>
      <h2>Slice</h2>
      <form class="pair" onSubmit={(e) => e.preventDefault()} aria-label={`Plane ${of}`.trim()}>
        {['h', 'k', 'l'].map((name, k) => (
          <label key={name} class="small">
            {name}
            <input
              type="number"
              name={name}
              min="-20"
              max="20"
              value={state.hkl[k]}
              onChange={(e) => set(k, e.currentTarget.value)}
            />
          </label>
        ))}
        <label>
          Distance from the origin, in d(hkl)
          <input
            type="range"
            name="offset"
            min="-1"
            max="1"
            step="0.01"
            value={state.offset}
            aria-valuetext={String(state.offset)}
            onInput={(e) => change({ offset: Number(e.currentTarget.value) })}
          />
        </label>
      </form>
      <canvas
        ref={canvas}
        width={WIDTH}
        height={HEIGHT}
        class="slice"
        role="img"
        aria-label={`${labelOf(state.kind)} on the plane (${state.hkl.join(' ')}), with contours`}
        onPointerMove={point}
        onPointerLeave={() => setHover('')}
      />
      {slice && <Scale slice={slice} unit={unit} signed={signed(state.kind)} />}
      <p class="note" role="status">
        {hover ||
          (slice &&
            `From ${short(slice.min)} to ${short(slice.max)} ${unit} on this plane; d(hkl) = ${short(slice.spacing)} Å, ${short(slice.span, 3)} Å wide`)}
      </p>
    </section>
  )
}

/** The colours and their values; contours are at the ticks. */
function Scale({ slice, unit, signed }: { slice: Slice; unit: string; signed: boolean }) {
  const canvas = useRef<HTMLCanvasElement>(null)
  const mapping = mappingOf(slice.min, slice.max, signed)
  useEffect(() => {
    const context = canvas.current!.getContext('2d')!
    for (let x = 0; x < 256; x++) {
      context.fillStyle = `rgb(${colour(mapping.scale, x / 255)
        .map(Math.round)
        .join()})`
      context.fillRect(x, 0, 1, 12)
    }
  }, [slice])
  const ticks = mapping.levels.filter((_, i) => mapping.levels.length < 7 || i % 2 === 0)
  return (
    <div class="scale">
      <canvas ref={canvas} width={256} height={12} aria-hidden="true" />
      <p>
        Contours at {ticks.map((l) => short(l, 2)).join(', ')}
        {ticks.length < mapping.levels.length ? ' … ' : ' '}
        {unit}
      </p>
    </div>
  )
}

function draw(canvas: HTMLCanvasElement, slice: Slice, isSigned: boolean) {
  const context = canvas.getContext('2d')!
  const { width, height, values } = slice
  const mapping = mappingOf(slice.min, slice.max, isSigned)
  const levels = [...mapping.levels].sort((a, b) => a - b)
  const image = context.createImageData(width, height)
  const table = Array.from({ length: 256 }, (_, i) => colour(mapping.scale, i / 255))
  const band = new Uint8Array(values.length)
  for (let p = 0; p < values.length; p++) {
    let n = 0
    while (n < levels.length && values[p] >= levels[n]) n++
    band[p] = n
  }
  for (let y = 0, p = 0; y < height; y++)
    for (let x = 0; x < width; x++, p++) {
      const edge = (x + 1 < width && band[p] !== band[p + 1]) || (y + 1 < height && band[p] !== band[p + width])
      const [r, g, b] = table[Math.round(255 * Math.min(1, Math.max(0, mapping.place(values[p]))))]
      const dim = edge ? (isSigned ? 0.55 : 1.6) : 1
      image.data.set(
        [Math.min(255, r * dim + (edge && !isSigned ? 40 : 0)), Math.min(255, g * dim), Math.min(255, b * dim), 255],
        4 * p,
      )
    }
  context.putImageData(image, 0, 0)
  context.font = 'bold 13px sans-serif'
  context.textAlign = 'center'
  context.textBaseline = 'middle'
  context.lineWidth = 3
  for (const { z, x, y } of slice.atoms) {
    context.strokeStyle = '#fff'
    context.fillStyle = '#111'
    context.strokeText(SYMBOLS[z], x, y)
    context.fillText(SYMBOLS[z], x, y)
  }
}
