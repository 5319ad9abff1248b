// Lines and points with axes, by uPlot.
import { useEffect, useRef } from 'preact/hooks'
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'

export interface Series {
  label: string
  x: ArrayLike<number>
  y: ArrayLike<number>
  colour: string
}

/** Text of the page, as it is in light or dark. */
const ink = (u: uPlot) => getComputedStyle(u.root).color

export const axis = (label: string, size = 54): uPlot.Axis => ({
  label,
  stroke: ink,
  grid: { stroke: 'rgba(128,128,128,.25)', width: 1 },
  ticks: { stroke: 'rgba(128,128,128,.5)', width: 1 },
  size,
  labelSize: 20,
})

/** Drawn again where the screen turns light or dark: a canvas keeps the ink that it was drawn with. Ends what it began. */
export function inked(plot: uPlot): () => void {
  const dark = matchMedia('(prefers-color-scheme: dark)')
  const redraw = () => plot.redraw()
  dark.addEventListener('change', redraw)
  return () => dark.removeEventListener('change', redraw)
}

/** Line charts; all series share their x. */
export function Lines({ label, x, y, series }: { label: string; x: string; y: string; series: Series[] }) {
  const holder = useRef<HTMLDivElement>(null)
  useEffect(() => {
    const at = holder.current!
    if (!series.length) return
    const data = [Array.from(series[0].x), ...series.map((s) => Array.from(s.y))] as uPlot.AlignedData
    const plot = new uPlot(
      {
        width: Math.max(200, at.clientWidth),
        height: 220,
        scales: { x: { time: false } },
        axes: [axis(x, 32), axis(y)],
        series: [{ label: x }, ...series.map((s) => ({ label: s.label, stroke: s.colour, width: 2 }))],
        legend: { live: true },
      },
      data,
      at,
    )
    const observer = new ResizeObserver(() => plot.setSize({ width: Math.max(200, at.clientWidth), height: 220 }))
    observer.observe(at)
    const end = inked(plot)
    return () => {
      end()
      observer.disconnect()
      plot.destroy()
    }
  }, [series])
  return <div class="plot" ref={holder} role="img" aria-label={label} />
}
