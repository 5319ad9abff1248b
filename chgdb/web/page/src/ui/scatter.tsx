// Any two properties of the materials found; known and predicted told apart, with intervals.
import { useEffect, useRef, useState } from 'preact/hooks'
import uPlot from 'uplot'
import type { Points } from '../catalog'
import { INTERVAL, short } from './numbers'
import { axis, inked } from './plot'

const KNOWN = '#0a84b5'
const GUESSED = '#d9730d'
/** Intervals of more points than this would hide everything. */
const MOST_INTERVALS = 400

interface Props {
  points: Points
  x: string
  y: string
  name: (row: number) => string
  onOpen: (row: number) => void
}

export function Scatter({ points, x, y, name, onOpen }: Props) {
  const holder = useRef<HTMLDivElement>(null)
  const [near, setNear] = useState<number>()
  const found = useRef<number | undefined>(undefined)
  useEffect(() => {
    const at = holder.current!
    const { dx, dy } = points
    const guessed = points.rows.map((_, i) => dx[i] > 0 || dy[i] > 0)
    // uPlot wants x ascending.
    const order = points.rows.map((_, i) => i).sort((a, b) => points.x[a] - points.x[b])
    const xs = order.map((i) => points.x[i])
    const ys = order.map((i) => points.y[i])
    const draw = (u: uPlot) => {
      const { ctx } = u
      ctx.save()
      ctx.beginPath()
      ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height)
      ctx.clip()
      const r = 1.8 * devicePixelRatio
      const px = (v: number) => u.valToPos(v, 'x', true)
      const py = (v: number) => u.valToPos(v, 'y', true)
      for (const i of order) {
        const cx = px(points.x[i]),
          cy = py(points.y[i])
        ctx.strokeStyle = ctx.fillStyle = guessed[i] ? GUESSED : KNOWN
        if (guessed[i] && order.length <= MOST_INTERVALS) {
          ctx.globalAlpha = 0.4
          ctx.beginPath()
          ctx.moveTo(px(points.x[i] - INTERVAL * dx[i]), cy)
          ctx.lineTo(px(points.x[i] + INTERVAL * dx[i]), cy)
          ctx.moveTo(cx, py(points.y[i] - INTERVAL * dy[i]))
          ctx.lineTo(cx, py(points.y[i] + INTERVAL * dy[i]))
          ctx.stroke()
        }
        ctx.globalAlpha = 0.75
        // Told apart without colour, too. Squares: thousands of discs take a weak machine seconds.
        if (guessed[i]) ctx.strokeRect(cx - r, cy - r, 2 * r, 2 * r)
        else ctx.fillRect(cx - r, cy - r, 2 * r, 2 * r)
      }
      ctx.restore()
    }
    const margin = (_: uPlot, low: number, high: number): [number, number] => {
      const wide = (high - low || Math.abs(high) || 1) * 0.04
      return [low - wide, high + wide]
    }
    const plot = new uPlot(
      {
        width: Math.max(200, at.clientWidth),
        height: 300,
        scales: { x: { time: false, range: margin }, y: { range: margin } },
        axes: [axis(x, 32), axis(y)],
        series: [{}, { paths: () => null, points: { show: false } }],
        legend: { show: false },
        cursor: { points: { show: false } },
        hooks: {
          draw: [draw],
          setCursor: [
            (u) => {
              const { left = -1, top = -1 } = u.cursor
              let best = 15 ** 2
              let hit: number | undefined
              if (left >= 0)
                for (const i of order) {
                  const d = (u.valToPos(points.x[i], 'x') - left) ** 2 + (u.valToPos(points.y[i], 'y') - top) ** 2
                  if (d < best) {
                    best = d
                    hit = i
                  }
                }
              found.current = hit
              setNear(hit)
            },
          ],
        },
      },
      [xs, ys],
      at,
    )
    const click = () => found.current !== undefined && onOpen(points.rows[found.current])
    plot.over.addEventListener('click', click)
    const observer = new ResizeObserver(() => plot.setSize({ width: Math.max(200, at.clientWidth), height: 300 }))
    observer.observe(at)
    const end = inked(plot)
    return () => {
      end()
      observer.disconnect()
      plot.destroy()
    }
  }, [points, x, y])
  const predicted = points.rows.filter((_, i) => points.dx[i] > 0 || points.dy[i] > 0).length
  const part = (v: number, s: number) => short(v) + (s > 0 ? ` ± ${short(INTERVAL * s, 2)}` : '')
  return (
    <div>
      <div class="plot" ref={holder} role="img" aria-label={`${y} against ${x} of ${points.rows.length} materials`} />
      <p class="note" role="status">
        <span class="known">■</span> {points.rows.length - predicted} known, <span class="guessed">□</span> {predicted}{' '}
        with a predicted value (90 % interval)
        {near !== undefined && points.rows[near] !== undefined && (
          <>
            ; {name(points.rows[near])}: {part(points.x[near], points.dx[near])},{' '}
            {part(points.y[near], points.dy[near])}
          </>
        )}
      </p>
    </div>
  )
}
