// Crystal and isosurfaces, with what tells how exact they are.
import { useEffect, useRef, useState } from 'preact/hooks'
import { colourOf, SYMBOLS } from '../elements'
import { latest, type Session } from '../session'
import type { Meta } from '../worker'
import { save, short } from './numbers'
import { type CameraState, Scene } from './scene'
import { labelOf, signed, unitOf, type ViewState } from './state'

export interface PictureProps {
  session: Session
  meta: Meta
  state: ViewState
  /** Name of the density, and a line that states its error. */
  title: string
  error: string
  /** Look along with another picture. */
  camera?: CameraState
  onCamera?: (state: CameraState) => void
  onDrawn?: () => void
}

export function levelsOf(state: ViewState): { level: number; colour: string }[] {
  const both = [
    { level: state.level, colour: state.positive, sign: 'positive' },
    { level: -state.level, colour: state.negative, sign: 'negative' },
  ]
  const shown = (sign: string) => (state.sign === 'both' ? sign === 'positive' || signed(state.kind) : state.sign === sign)
  return both.filter((l) => state.level > 0 && shown(l.sign))
}

/** What the surfaces depend on. */
const keyOf = (s: ViewState) => [s.kind, s.level, s.sign, s.positive, s.negative, s.opacity, s.repeat].join()

export function Picture(props: PictureProps) {
  const { session, meta, state, title, error } = props
  const canvas = useRef<HTMLCanvasElement>(null)
  const scene = useRef<Scene | null>(null)
  const newest = useRef(props)
  newest.current = props
  const [noWebGl, setNoWebGl] = useState(false)
  const [drawn, setDrawn] = useState('')
  const [found, setFound] = useState<number[]>([])
  const [problem, setProblem] = useState('')

  useEffect(() => {
    try {
      scene.current = new Scene(canvas.current!)
    } catch {
      setNoWebGl(true)
      return
    }
    scene.current.onMove = (camera) => newest.current.onCamera?.(camera)
    return () => scene.current?.close()
  }, [])

  const look = [state.repeat.join(), state.atoms, state.bonds].join()
  const crystal = [...meta.cell, ...meta.positions, ...meta.numbers].join()
  useEffect(() => scene.current?.show(meta, state), [crystal, look])

  const surfaces = useRef(
    latest(async (quick: boolean) => {
      const { session, meta, state } = newest.current
      // Without an isovalue, which is found from the field, there is no picture yet.
      if (!scene.current || !meta.kinds.includes(state.kind) || !state.level) return
      const levels = levelsOf(state)
      const ask = { kind: state.kind, levels: levels.map((l) => l.level), quick }
      try {
        const { meshes, levels: found, whole } = await session.ask('surfaces', ask)
        const pairs = meshes.map((mesh, i) => ({ mesh, colour: levels.find((l) => l.level === found[i])!.colour }))
        if (newest.current.session !== session) return
        scene.current.setSurfaces(pairs, meta, state)
        setFound(found)
        setDrawn(
          `${state.kind}|${state.level}|${whole ? 'whole' : 'coarse'}|${meshes.reduce((n, m) => n + m.indices.length / 3, 0)}`,
        )
        setProblem('')
        if (meshes.length) newest.current.onDrawn?.()
        const now = newest.current
        if (!whole && now.meta === meta && keyOf(now.state) === keyOf(state)) surfaces.current(false)
      } catch (error) {
        const text = error instanceof Error ? error.message : String(error)
        if (text !== 'closed') setProblem(text)
      }
    }),
  )
  // Surfaces of what was here before do not belong to this crystal.
  useEffect(() => {
    scene.current?.setSurfaces([], meta, state)
    setFound([])
    setDrawn('')
    setProblem('')
  }, [session])
  useEffect(() => surfaces.current(true), [session, meta, keyOf(state)])
  useEffect(() => {
    if (props.camera && scene.current) scene.current.state = props.camera
  }, [props.camera])

  const description = `${title}: crystal of ${meta.numbers.length} atoms${
    state.level ? ` and isosurfaces of the ${labelOf(state.kind)} at ${short(state.level)} ${unitOf(state.kind)}` : ''
  }. Arrow keys turn, plus and minus zoom.`
  return (
    <figure class="picture" data-drawn={drawn}>
      {noWebGl ? (
        <p class="note" role="status">
          This browser has no WebGL, which the 3-D picture needs. Slices, profiles, values and downloads work.
        </p>
      ) : (
        <canvas ref={canvas} tabIndex={0} role="img" aria-label={description} />
      )}
      {problem && (
        <p class="error" role="alert">
          {problem}
        </p>
      )}
      <figcaption>
        <span>{error}</span>
        <Legend meta={meta} state={state} found={found} />
        {!noWebGl && (
          <span class="buttons">
            <button type="button" onClick={() => scene.current?.reset()}>
              Reset view
            </button>
            <button
              type="button"
              onClick={() => scene.current && png(canvas.current!, scene.current, meta.numbers, state, title, error)}
            >
              PNG
            </button>
          </span>
        )}
      </figcaption>
    </figure>
  )
}

const css = (z: number) => `#${colourOf(z).toString(16).padStart(6, '0')}`

/** Which colour is which element, and which value a surface has. */
function Legend({ meta, state, found }: { meta: Meta; state: ViewState; found: number[] }) {
  const elements = state.atoms ? [...new Set(meta.numbers)] : []
  const levels = levelsOf(state).filter(({ level }) => found.includes(level))
  return (
    <span class="legend">
      {elements.map((z) => (
        <span key={z}>
          <i class="atom" style={{ background: css(z) }} /> {SYMBOLS[z]}
        </span>
      ))}
      {levels.map(({ level, colour }) => (
        <span key={level}>
          <i style={{ background: colour }} /> {short(level)} {unitOf(state.kind)}
        </span>
      ))}
    </span>
  )
}

/** The picture with a legend, a scale and its error, as it goes into a paper. */
function png(
  picture: HTMLCanvasElement,
  scene: Scene,
  numbers: number[],
  state: ViewState,
  title: string,
  error: string,
) {
  const out = document.createElement('canvas')
  const ratio = picture.width / picture.clientWidth
  const foot = 64 * ratio
  out.width = picture.width
  out.height = picture.height + foot
  const context = out.getContext('2d')!
  context.fillStyle = '#fff'
  context.fillRect(0, 0, out.width, out.height)
  context.drawImage(picture, 0, 0)
  context.fillStyle = '#111'
  context.font = `${13 * ratio}px sans-serif`
  const line = (text: string, row: number) =>
    context.fillText(text, 10 * ratio, picture.height + (16 + 18 * row) * ratio)
  line(title, 0)
  line(error, 2)
  let x = 10 * ratio
  const y = picture.height + 34 * ratio
  context.fillText(labelOf(state.kind), x, y)
  x += context.measureText(labelOf(state.kind)).width + 12 * ratio
  const entry = (colour: string, text: string) => {
    context.fillStyle = colour
    context.fillRect(x, y - 10 * ratio, 12 * ratio, 12 * ratio)
    context.fillStyle = '#111'
    context.fillText(text, x + 16 * ratio, y)
    x += context.measureText(text).width + 30 * ratio
  }
  for (const { level, colour } of levelsOf(state)) entry(colour, `${short(level)} ${unitOf(state.kind)}`)
  if (state.atoms) for (const z of new Set(numbers)) entry(css(z), SYMBOLS[z])
  // A whole number of Å, about a fifth of the picture.
  const perAngstrom = out.width / scene.span
  const length = [0.5, 1, 2, 5, 10, 20, 50].findLast((l) => l * perAngstrom < out.width / 4) ?? 0.5
  const right = out.width - 12 * ratio
  const base = picture.height + 16 * ratio
  context.fillRect(right - length * perAngstrom, base, length * perAngstrom, 3 * ratio)
  context.textAlign = 'right'
  context.fillText(`${length} Å`, right, base + 18 * ratio)
  out.toBlob((blob) => blob && save(blob, `${title.split(' ')[0]}.png`))
}
