// What the picture shows: field, isovalue, signs, colours, how many cells.
import { useId } from 'preact/hooks'
import type { V3 } from '../field/density'
import type { Meta, Range } from '../worker'
import { short } from './numbers'
import { labelOf, type Sign, unitOf, type ViewState } from './state'
import { Typed } from './typed'

interface Props {
  meta: Meta
  range: Range | undefined
  state: ViewState
  change: (part: Partial<ViewState>) => void
}

/** Decades that the slider spans. */
const DECADES = 4

export function Controls({ meta, range, state, change }: Props) {
  const id = useId()
  const top = range ? Math.max(range.max, -range.min) : 1
  const place = state.level > 0 ? Math.round(1000 * (1 + Math.log10(state.level / top) / DECADES)) : 0
  const levelAt = (p: number) => Number((top * 10 ** (DECADES * (p / 1000 - 1))).toPrecision(4))
  const repeat = (k: number, text: string) => {
    const n = Math.min(4, Math.max(1, Math.round(Number(text)) || 1))
    change({ repeat: state.repeat.map((x, i) => (i === k ? n : x)) as V3 })
  }
  return (
    <form class="controls" onSubmit={(e) => e.preventDefault()} aria-label="What the picture shows">
      {meta.kinds.length > 0 && (
        <>
          <div class="pair">
            <label>
              Show
              <select value={state.kind} onChange={(e) => change({ kind: e.currentTarget.value, level: 0 })} name="kind">
                {meta.kinds.map((k) => (
                  <option key={k} value={k}>
                    {labelOf(k)}
                  </option>
                ))}
              </select>
            </label>
            <label>
              Sign
              <select value={state.sign} name="sign" onChange={(e) => change({ sign: e.currentTarget.value as Sign })}>
                <option value="both">both</option>
                <option value="positive">positive</option>
                <option value="negative">negative</option>
              </select>
            </label>
          </div>
          <label for={`${id}iso`}>Isovalue, {unitOf(state.kind)}</label>
          <div class="pair">
            <input
              id={`${id}iso`}
              name="iso"
              type="range"
              min="0"
              max="1000"
              value={place}
              aria-valuetext={`${short(state.level)} ${unitOf(state.kind)}`}
              onInput={(e) => change({ level: levelAt(Number(e.currentTarget.value)) })}
            />
            <Typed
              name="level"
              type="number"
              step="any"
              min="0"
              aria-label={`Isovalue in ${unitOf(state.kind)}`}
              value={state.level ? Number(state.level.toPrecision(4)) : ''}
              onText={(text) => Number(text) > 0 && change({ level: Number(text) })}
            />
          </div>
          <div class="pair">
            <label>
              Positive
              <input type="color" value={state.positive} onInput={(e) => change({ positive: e.currentTarget.value })} />
            </label>
            <label>
              Negative
              <input type="color" value={state.negative} onInput={(e) => change({ negative: e.currentTarget.value })} />
            </label>
            <label>
              Opacity
              <input
                type="range"
                min="0.1"
                max="1"
                step="0.05"
                value={state.opacity}
                onInput={(e) => change({ opacity: Number(e.currentTarget.value) })}
              />
            </label>
          </div>
        </>
      )}
      <fieldset class="pair small">
        <legend>Cells along a, b, c</legend>
        {['a', 'b', 'c'].map((axis, k) => (
          <Typed
            key={axis}
            type="number"
            min="1"
            max="4"
            name={`repeat-${axis}`}
            aria-label={`Cells along ${axis}`}
            value={state.repeat[k]}
            onText={(text) => repeat(k, text)}
          />
        ))}
        <label class="check">
          <input type="checkbox" checked={state.atoms} onChange={(e) => change({ atoms: e.currentTarget.checked })} />
          Atoms
        </label>
        <label class="check">
          <input type="checkbox" checked={state.bonds} onChange={(e) => change({ bonds: e.currentTarget.checked })} />
          Bonds
        </label>
      </fieldset>
    </form>
  )
}
