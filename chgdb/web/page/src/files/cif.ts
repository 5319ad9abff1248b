// Structures from CIF: cell, symmetry operations, sites.
import { cartesian, type Crystal } from '../field/density'
import { numberOf } from '../elements'

export function cif(source: string, name: string): Crystal {
  const { single, loops } = parse(source)
  const cell = cellOf(
    ['a', 'b', 'c'].map((k) => number(single[`_cell_length_${k}`])),
    ['alpha', 'beta', 'gamma'].map((k) => number(single[`_cell_angle_${k}`] ?? '90')),
  )
  if (cell.some((x) => !Number.isFinite(x))) throw new Error(`${name}: the cell is missing or no number`)
  const sites = loops.find((l) => '_atom_site_fract_x' in l)
  if (!sites) throw new Error(`${name}: there are no sites (_atom_site_fract_x)`)
  const symmetry = loops.flatMap((l) => l['_symmetry_equiv_pos_as_xyz'] ?? l['_space_group_symop_operation_xyz'] ?? [])
  const operations = (symmetry.length ? symmetry : ['x,y,z']).map((t) => operation(t, name))
  const numbers: number[] = []
  const positions: number[] = []
  const labels = sites['_atom_site_type_symbol'] ?? sites['_atom_site_label']
  if (!labels) throw new Error(`${name}: the sites have neither symbols nor labels`)
  labels.forEach((label, n) => {
    const symbol = label.match(/^[A-Z][a-z]?/)?.[0] ?? ''
    const z = numberOf(symbol) > 0 ? numberOf(symbol) : numberOf(symbol[0] ?? '')
    if (z < 1) throw new Error(`${name}: "${label.slice(0, 20)}" is no element`)
    const occupancy = number(sites['_atom_site_occupancy']?.[n] ?? '1')
    if (Math.abs(occupancy - 1) > 1e-3)
      throw new Error(`${name}: site ${label.slice(0, 20)} is occupied by ${occupancy}; order the sites first`)
    const p = ['x', 'y', 'z'].map((k) => number(sites[`_atom_site_fract_${k}`][n]))
    for (const { W, w } of operations) {
      numbers.push(z)
      positions.push(...[0, 1, 2].map((r) => W[3 * r] * p[0] + W[3 * r + 1] * p[1] + W[3 * r + 2] * p[2] + w[r]))
    }
    if (numbers.length > 20000) throw new Error(`${name}: too many atoms for a page`)
  })
  return merged({ cell, numbers, positions: Float64Array.from(positions) })
}

/** Without its standard uncertainty: 5.431(2). */
const number = (text: string | undefined) => (text === undefined ? NaN : Number(text.replace(/\(.*\)/, '')))

function parse(source: string) {
  const tokens = source.replace(/^#.*$/gm, '').match(/^;[\s\S]*?^;|'[^\n]*?'(?=\s|$)|"[^\n]*?"(?=\s|$)|[^\s]+/gm) ?? []
  const single: Record<string, string> = {}
  const loops: Record<string, string[]>[] = []
  const plain = (t: string) => (/^['"]/.test(t) ? t.slice(1, -1) : t)
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i]
    if (/^data_/i.test(token) && loops.length) break // of several structures the first
    if (/^loop_$/i.test(token)) {
      const names: string[] = []
      while (tokens[i + 1]?.startsWith('_')) names.push(tokens[++i].toLowerCase())
      const columns = Object.fromEntries(names.map((n) => [n, [] as string[]]))
      for (let k = 0; i + 1 < tokens.length && !/^(_|loop_$|data_)/i.test(tokens[i + 1]); k++)
        columns[names[k % names.length]].push(plain(tokens[++i]))
      loops.push(columns)
    } else if (token.startsWith('_') && tokens[i + 1] !== undefined) single[token.toLowerCase()] = plain(tokens[++i])
  }
  return { single, loops }
}

/** "-y, x-y, z+1/3" as a matrix and a translation. */
function operation(text: string, name: string): { W: number[]; w: number[] } {
  const rows = text.toLowerCase().replace(/\s/g, '').split(',')
  const W = new Array(9).fill(0),
    w = [0, 0, 0]
  rows.forEach((row, r) => {
    for (const [, sign, term] of row.matchAll(/([+-]?)([xyz]|\d+(?:\.\d+)?(?:\/\d+)?)/g)) {
      const s = sign === '-' ? -1 : 1
      const k = 'xyz'.indexOf(term)
      if (k >= 0) W[3 * r + k] += s
      else w[r] += (s * Number(term.split('/')[0])) / Number(term.split('/')[1] ?? 1)
    }
  })
  if (rows.length !== 3) throw new Error(`${name}: "${text.slice(0, 40)}" is no symmetry operation`)
  return { W, w }
}

function cellOf([a, b, c]: number[], angles: number[]): Float64Array {
  const [ca, cb, cg] = angles.map((x) => (x === 90 ? 0 : Math.cos((x * Math.PI) / 180)))
  const sg = Math.sqrt(1 - cg * cg)
  const y = (ca - cb * cg) / sg
  return Float64Array.from([a, 0, 0, b * cg, b * sg, 0, c * cb, c * y, c * Math.sqrt(1 - cb * cb - y * y)])
}

/** Atoms that are the same within this distance (Å) are one. */
function merged(crystal: Crystal, distance = 0.01): Crystal {
  const numbers: number[] = []
  const kept: number[][] = []
  crystal.numbers.forEach((z, n) => {
    const f = Array.from(crystal.positions.subarray(3 * n, 3 * n + 3), (x) => x - Math.floor(x))
    const same = kept.some((p, m) => {
      const d = p.map((x, i) => x - f[i] - Math.round(x - f[i]))
      return Math.hypot(...cartesian(crystal.cell, d)) < distance && numbers[m] === z
    })
    if (!same) {
      kept.push(f)
      numbers.push(z)
    }
  })
  return { cell: crystal.cell, numbers, positions: Float64Array.from(kept.flat()) }
}
