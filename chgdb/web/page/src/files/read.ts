// A file of the user: a density or a structure, looked at without leaving the computer.
import { type Crystal, type Density, inverse, points, type V3, volumeOf } from '../field/density'
import { numberOf, SYMBOLS } from '../elements'
import { unfolded } from '../store/transport'
import { cif } from './cif'
import { Text } from './text'

export const BOHR = 0.529177210903
/** Values of one channel: more is refused, a page would run out of memory. */
const MOST_POINTS = 1 << 27

/** Atoms that a page can draw and list. */
const MOST_ATOMS = 100_000

/** A density has channels; a structure (POSCAR, CIF) has none, and a grid of one point. */
export async function readFile(name: string, data: Uint8Array): Promise<{ density: Density; format: string }> {
  if (data[0] === 0x1f && data[1] === 0x8b) {
    const most = (16 << 20) + 100 * data.length
    try {
      data = await unfolded(data, 'gzip', most)
    } catch (error) {
      throw new Error(`${name}: cannot be unpacked (${error instanceof Error ? error.message : error})`)
    }
    name = name.replace(/\.gz$/i, '')
  }
  const head = new TextDecoder().decode(data.subarray(0, 4096))
  if (/^\s*(#|data_)/m.test(head) && /(^|\n)\s*(_cell_length_a|data_|_symmetry|_space_group)/i.test(head))
    return { density: structure(cif(new TextDecoder().decode(data), name)), format: 'CIF' }
  const text = new Text(data, name)
  if (looksLikeCube(head)) return { density: cube(text), format: 'cube' }
  if (head.startsWith('PK'))
    throw new Error(`${name}: a .zip or .npz; drop a CHGCAR, cube, POSCAR or CIF, or use chgdb convert`)
  return vasp(text)
}

const structure = (crystal: Crystal): Density => ({ ...crystal, grid: [1, 1, 1], channels: {} })

function looksLikeCube(head: string): boolean {
  const rows = head
    .split('\n')
    .slice(2, 6)
    .map((l) => l.trim().split(/\s+/))
  return (
    rows.length === 4 &&
    rows.every(
      (r) => r.length >= 4 && /^[+-]?\d+$/.test(r[0]) && r.slice(1, 4).every((x) => Number.isFinite(Number(x))),
    )
  )
}

function tooMany(atoms: number, name: string) {
  if (atoms > MOST_ATOMS) throw new Error(`${name}: ${atoms} atoms are too many for a page`)
}

/** POSCAR, and CHGCAR, CHG and PARCHG, which begin with one. */
function vasp(text: Text): { density: Density; format: string } {
  const crystal = poscar(text)
  const volume = volumeOf(crystal.cell)
  const channels: Record<string, Float64Array> = {}
  let grid: V3 | undefined
  const blocks: Float64Array[] = []
  while (!text.ended && blocks.length < 4) {
    const words = text.words()
    if (words.length !== 3 || !words.every((w) => /^\d+$/.test(w))) continue
    const found = words.map(Number) as V3
    if (!grid) {
      grid = found
      if (!(points(grid) > 0 && points(grid) <= MOST_POINTS))
        throw new Error(`${text.name}: a grid of ${grid.join(' × ')} is too large for a page`)
    } else if (found.some((n, i) => n !== grid![i])) continue
    blocks.push(
      text.values(
        points(grid),
        1 / volume,
        ['the total density', 'the second block', 'the third block', 'the fourth block'][blocks.length],
      ),
    )
  }
  if (!grid) return { density: structure(crystal), format: 'POSCAR' }
  const names = [
    ['total'],
    ['total', 'magnetization'],
    [],
    ['total', 'magnetization_x', 'magnetization_y', 'magnetization_z'],
  ]
  const used = names[blocks.length - 1]
  if (!used.length) throw new Error(`${text.name}: it has ${blocks.length} blocks of values; expected 1, 2 or 4`)
  used.forEach((n, i) => (channels[n] = blocks[i]))
  return { density: { ...crystal, grid, channels }, format: 'CHGCAR' }
}

function poscar(text: Text): Crystal {
  text.line()
  const scales = text.words().map(Number)
  if (!scales.length || scales.some((s) => !Number.isFinite(s) || s === 0))
    throw new Error(`${text.name}: the second line should be the scale of the cell, a number`)
  const rows = [1, 2, 3].flatMap((i) => text.numbers(3, `lattice vector ${i}`))
  let scale = scales.length >= 3 ? scales.slice(0, 3) : [scales[0], scales[0], scales[0]]
  if (scales[0] < 0) {
    const s = Math.cbrt(-scales[0] / volumeOf(rows))
    scale = [s, s, s]
  }
  const cell = Float64Array.from(rows, (x, i) => x * scale[i % 3])
  if (!(volumeOf(cell) > 1e-6)) throw new Error(`${text.name}: its lattice vectors are not independent`)
  const species = text.words()
  if (species.every((w) => /^\d+$/.test(w)))
    throw new Error(`${text.name}: it names no elements (VASP 4); put a line with their symbols before the counts`)
  const elements = species.map((w) => numberOf(w.match(/^[A-Z][a-z]?/)?.[0] ?? ''))
  const wrong = elements.findIndex((z) => z < 1)
  if (wrong >= 0) throw new Error(`${text.name}: "${species[wrong].slice(0, 20)}" is no element`)
  const counts = text.words().map(Number)
  if (counts.length < elements.length || counts.some((n) => !Number.isInteger(n) || n < 0))
    throw new Error(`${text.name}: a count of atoms is missing`)
  tooMany(counts.slice(0, elements.length).reduce((sum, n) => sum + n, 0), text.name)
  const numbers = elements.flatMap((z, i) => new Array<number>(counts[i]).fill(z))
  let mode = text.line()
  if (/^s/i.test(mode)) mode = text.line()
  const inv = inverse(cell)
  const positions = Float64Array.from(
    numbers.flatMap((_, i) => {
      const p = text.numbers(3, `the place of atom ${i + 1}`)
      if (!/^[ck]/i.test(mode)) return p
      const c = p.map((x, k) => x * scale[k])
      return [0, 1, 2].map((k) => c[0] * inv[k] + c[1] * inv[3 + k] + c[2] * inv[6 + k])
    }),
  )
  return { cell, numbers, positions }
}

/** One field, z fastest, in e/bohr³. */
function cube(text: Text): Density {
  text.line()
  text.line()
  const [atoms, ...origin] = text.numbers(4, 'the number of atoms and the origin')
  const axes = [0, 1, 2].map(() => text.numbers(4, 'the voxels along an axis and the voxel'))
  const unit = axes.some((a) => a[0] < 0) ? 1 : BOHR
  const grid = axes.map((a) => Math.abs(a[0])) as V3
  if (!(points(grid) > 0 && points(grid) <= MOST_POINTS))
    throw new Error(`${text.name}: a grid of ${grid.join(' × ')} is too large for a page, or has no points`)
  const cell = Float64Array.from(axes.flatMap((a, i) => a.slice(1).map((x) => x * grid[i] * unit)))
  const inv = inverse(cell)
  const numbers: number[] = []
  const positions: number[] = []
  tooMany(Math.abs(atoms), text.name)
  for (let n = 0; n < Math.abs(atoms); n++) {
    const [z, , ...p] = text.numbers(5, `atom ${n + 1}`)
    const c = p.map((x, k) => (x - origin[k]) * unit)
    if (!SYMBOLS[z]) throw new Error(`${text.name}: ${z} is no atomic number`)
    numbers.push(z)
    positions.push(...[0, 1, 2].map((k) => c[0] * inv[k] + c[1] * inv[3 + k] + c[2] * inv[6 + k]))
  }
  if (atoms < 0 && text.numbers(1, 'the number of data sets')[0] !== 1)
    throw new Error(`${text.name}: several data sets in one file; a density has one`)
  const raw = text.values(points(grid), 1 / unit ** 3, 'the density')
  const [nx, ny, nz] = grid
  const total = new Float64Array(raw.length)
  for (let i = 0, p = 0; i < nx; i++)
    for (let j = 0; j < ny; j++) for (let k = 0; k < nz; k++) total[i + nx * (j + ny * k)] = raw[p++]
  return { cell, numbers, positions: Float64Array.from(positions), grid, channels: { total } }
}
