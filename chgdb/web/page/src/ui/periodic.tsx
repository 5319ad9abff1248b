// The periodic table as a picker: each press asks for an element, leaves it out, or neither.
import { useEffect, useRef } from 'preact/hooks'
import { placeOf, SYMBOLS } from '../elements'

interface Props {
  chosen: string[]
  without: string[]
  /** How many materials have each element. */
  counts: Map<string, number>
  onPress: (symbol: string) => void
}

export function PeriodicTable({ chosen, without, counts, onPress }: Props) {
  const grid = useRef<HTMLDivElement>(null)
  const focus = useRef(8)
  useEffect(() => {
    for (const button of grid.current!.querySelectorAll<HTMLElement>('button'))
      button.tabIndex = Number(button.dataset.z) === focus.current ? 0 : -1
  })
  /** Arrows walk over the table; it is one stop for the tab key. */
  const key = (event: KeyboardEvent) => {
    const steps: Record<string, [number, number]> = {
      ArrowUp: [-1, 0],
      ArrowDown: [1, 0],
      ArrowLeft: [0, -1],
      ArrowRight: [0, 1],
    }
    const step = steps[event.key]
    if (!step) return
    event.preventDefault()
    let [row, column] = placeOf(focus.current)
    for (let tries = 0; tries < 18; tries++) {
      row += step[0]
      column += step[1]
      const z = SYMBOLS.findIndex((_, n) => n > 0 && placeOf(n)[0] === row && placeOf(n)[1] === column)
      if (z < 1) continue
      focus.current = z
      const button = grid.current!.querySelector<HTMLElement>(`[data-z="${z}"]`)
      for (const b of grid.current!.querySelectorAll<HTMLElement>('button')) b.tabIndex = b === button ? 0 : -1
      button?.focus()
      return
    }
  }
  return (
    <div
      class="periodic"
      ref={grid}
      role="group"
      aria-label="Periodic table: press an element to ask for it, again to leave it out"
      onKeyDown={key}
    >
      {SYMBOLS.slice(1, 104).map((symbol, i) => {
        const z = i + 1
        const [row, column] = placeOf(z)
        const state = chosen.includes(symbol) ? 'chosen' : without.includes(symbol) ? 'without' : ''
        const count = counts.get(symbol) ?? 0
        return (
          <button
            key={symbol}
            type="button"
            data-z={z}
            class={`${state} ${count ? '' : 'none'}`}
            style={{ gridRow: row, gridColumn: column }}
            aria-pressed={state === 'chosen' ? 'true' : state === 'without' ? 'mixed' : 'false'}
            aria-label={`${symbol}${state ? `, ${state === 'chosen' ? 'asked for' : 'left out'}` : ''}, ${count} materials`}
            onFocus={() => {
              focus.current = z
            }}
            onClick={() => onPress(symbol)}
          >
            {symbol}
          </button>
        )
      })}
    </div>
  )
}
