// A plane through the field, with contours and a scale.
import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { SYMBOLS } from '../elements'
import type { V3 } from '../field/density'
import { contours } from '../field/contours'
import { type Slice, startPlane } from '../field/slice'
import { latest, type Session } from '../session'
import type { Meta } from '../worker'
import { colour, type Mapping, mappingOf, nice } from './colours'
import { short } from './numbers'
import { labelOf, signed, unitOf, type ViewState } from './state'
import { Typed } from './typed'

const WIDTH = 520
const HEIGHT = 380
/** Pixels of the picture for each of the raster: lines and letters are sharp on fine screens, too. */
const FINE = 2

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
  const [slice, setSlice] = useState<Slice & { kind: string }>()
  const [hover, setHover] = useState('')
  const about = useMemo(() => startPlane(meta).about, [meta])
  const newest = useRef({ session, state, about })
  newest.current = { session, state, about }
  const ask = useRef(
    latest(async () => {
      const { session, state, about } = newest.current
      const { kind, hkl, offset } = state
      try {
        const found = await session.ask('slice', { kind, hkl, offset, width: WIDTH, height: HEIGHT, about })
        if (newest.current.session === session) setSlice({ ...found, kind })
      } catch (problem) {
        if (String(problem) !== 'Error: closed') setHover(String(problem))
      }
    }),
  )
  useEffect(() => ask.current(), [session, meta, state.kind, state.hkl.join(), state.offset])
  useEffect(() => {
    const at = canvas.current
    if (!slice || !at) return
    let letters = 0
    const fit = () => {
      if (letters !== (letters = enlarged(at))) draw(at, slice, signed(slice.kind))
    }
    fit()
    const observer = new ResizeObserver(fit)
    observer.observe(at)
    return () => observer.disconnect()
  }, [slice])
  // Of the slice that is there: another one may be on its way.
  const unit = unitOf(slice?.kind ?? state.kind)
  const set = (k: number, text: string) => {
    const hkl = state.hkl.map((x, i) => (i === k ? Math.round(Number(text)) || 0 : x)) as V3
    if (hkl.some(Boolean)) change({ hkl, offset: state.offset })
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
            <Typed
              type="number"
              name={name}
              min="-20"
              max="20"
              value={state.hkl[k]}
              onText={(text) => set(k, text)}
            />
          </label>
        ))}
        <label>
          From the origin: {short(state.offset, 3)} d(hkl)
          <input
            type="range"
            name="offset"
            min="-1"
            max="1"
            step="0.01"
            value={state.offset}
            aria-valuetext={String(state.offset)}
            onInput={(e) => change({ hkl: state.hkl, offset: Number(e.currentTarget.value) })}
          />
        </label>
      </form>
      <canvas
        ref={canvas}
        width={FINE * WIDTH}
        height={FINE * HEIGHT}
        class="slice"
        role="img"
        aria-label={`${labelOf(state.kind)} on the plane (${state.hkl.join(' ')}), with contours`}
        onPointerMove={point}
        onPointerLeave={() => setHover('')}
      />
      {slice && <Scale slice={slice} unit={unit} signed={signed(slice.kind)} />}
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
  // Numbers where there is room for them.
  const labels: { at: number; text: string }[] = []
  for (const level of mapping.levels) {
    const at = mapping.place(level)
    if (at > 0.04 && at < 0.96 && at - (labels.at(-1)?.at ?? -1) > 0.13) labels.push({ at, text: short(level, 2) })
  }
  return (
    <div class="scale">
      <canvas ref={canvas} width={256} height={12} aria-hidden="true" />
      <div class="ticks" aria-hidden="true">
        {mapping.levels.map((level) => (
          <i key={level} style={{ left: `${100 * mapping.place(level)}%` }} />
        ))}
        {labels.map(({ at, text }) => (
          <span key={at} style={{ left: `${100 * at}%` }}>
            {text}
          </span>
        ))}
      </div>
      <p>
        {unit}; contours at {mapping.levels.map((l) => short(l, 2)).join(', ')}
      </p>
    </div>
  )
}

/** On a small screen the picture shrinks; its letters do not. */
const enlarged = (canvas: HTMLCanvasElement) => Math.max(1, WIDTH / (canvas.clientWidth || WIDTH))

function draw(canvas: HTMLCanvasElement, slice: Slice, isSigned: boolean) {
  const context = canvas.getContext('2d')!
  const { width, height, values } = slice
  const mapping = mappingOf(slice.min, slice.max, isSigned)
  context.setTransform(FINE, 0, 0, FINE, 0, 0)
  context.drawImage(raster(slice, mapping), 0, 0, width, height)
  const lines = contours(values, width, height, mapping.levels)
  context.lineWidth = 1
  context.strokeStyle = isSigned ? 'rgba(0,0,0,.55)' : 'rgba(255,255,255,.6)'
  lines.forEach((pieces, n) => {
    context.beginPath()
    for (let i = 0; i < pieces.length; i += 4) {
      // Below zero dashed, as in print: the pieces are too short for the canvas's own dashes.
      if (mapping.levels[n] < 0 && (Math.floor(pieces[i] / 5) + Math.floor(pieces[i + 1] / 5)) % 2) continue
      context.moveTo(pieces[i] + 0.5, pieces[i + 1] + 0.5)
      context.lineTo(pieces[i + 2] + 0.5, pieces[i + 3] + 0.5)
    }
    context.stroke()
  })
  const size = 13 * enlarged(canvas)
  context.font = `bold ${size}px sans-serif`
  context.textAlign = 'center'
  context.textBaseline = 'middle'
  const write = (text: string, x: number, y: number) => {
    context.lineWidth = size / 4
    context.lineJoin = 'round'
    context.strokeStyle = '#fff'
    context.fillStyle = '#111'
    context.strokeText(text, x, y)
    context.fillText(text, x, y)
  }
  for (const { z, x, y } of slice.atoms) write(SYMBOLS[z], x, y)
  // How long an Å is.
  const length = nice(slice.span / 8)
  const pixels = (length / slice.span) * width
  context.fillStyle = '#fff'
  context.fillRect(9, height - 13, pixels + 2, 6)
  context.fillStyle = '#111'
  context.fillRect(10, height - 12, pixels, 4)
  context.textAlign = 'left'
  write(`${length} Å`, 10, height - 15 - 0.7 * size)
}

/** The colours, one pixel a value. */
function raster({ width, height, values }: Slice, mapping: Mapping): HTMLCanvasElement {
  const out = document.createElement('canvas')
  out.width = width
  out.height = height
  const context = out.getContext('2d')!
  const image = context.createImageData(width, height)
  const table = new Uint8ClampedArray(4 * 256)
  for (let i = 0; i < 256; i++) table.set([...colour(mapping.scale, i / 255), 255], 4 * i)
  for (let p = 0; p < values.length; p++) {
    const i = Math.round(255 * Math.min(1, Math.max(0, mapping.place(values[p]))))
    for (let k = 0; k < 4; k++) image.data[4 * p + k] = table[4 * i + k]
  }
  context.putImageData(image, 0, 0)
  return out
}
