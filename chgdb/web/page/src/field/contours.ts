// Contours of a raster: marching squares, as line pieces.

/** For each level its pieces, x1 y1 x2 y2 in pixels of the raster. levels: ascending. */
export function contours(values: ArrayLike<number>, width: number, height: number, levels: number[]): number[][] {
  const out: number[][] = levels.map(() => [])
  const band = new Uint8Array(width * height)
  for (let p = 0; p < band.length; p++) while (band[p] < levels.length && values[p] >= levels[band[p]]) band[p]++
  for (let y = 0; y + 1 < height; y++)
    for (let x = 0; x + 1 < width; x++) {
      const p = y * width + x
      const corners = [p, p + 1, p + width + 1, p + width]
      const first = Math.min(...corners.map((c) => band[c]))
      const last = Math.max(...corners.map((c) => band[c]))
      for (let n = first; n < last; n++) piece(out[n], corners.map((c) => values[c]), levels[n], x, y)
    }
  return out
}

/** Where the level crosses the edges of one square; of a saddle the two pieces that its mean says. */
function piece(out: number[], v: number[], level: number, x: number, y: number) {
  const at: number[][] = []
  for (let e = 0; e < 4; e++) {
    const a = v[e],
      b = v[(e + 1) % 4]
    if (a >= level === b >= level) continue
    const t = (level - a) / (b - a)
    at.push([
      [x + t, y],
      [x + 1, y + t],
      [x + 1 - t, y + 1],
      [x, y + 1 - t],
    ][e])
  }
  if (at.length === 2) out.push(...at[0], ...at[1])
  else if (at.length === 4) {
    const inside = (v[0] + v[1] + v[2] + v[3]) / 4 >= level === v[0] >= level
    for (const [i, j] of inside
      ? [
          [0, 1],
          [2, 3],
        ]
      : [
          [0, 3],
          [1, 2],
        ])
      out.push(...at[i], ...at[j])
  }
}
