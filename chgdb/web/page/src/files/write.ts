// Densities and structures as other programs read them.
import { SYMBOLS } from '../elements'
import { cartesian, type Crystal, type Density, parameters, points, volumeOf } from '../field/density'
import { BOHR } from './read'

export type Format = 'CHGCAR' | 'cube' | 'XSF' | 'npz' | 'CIF' | 'POSCAR'
export const SUFFIX: Record<Format, string> = {
  CHGCAR: '',
  cube: '.cube',
  XSF: '.xsf',
  npz: '.npz',
  CIF: '.cif',
  POSCAR: '',
}

/** Parts of the file, one after the other. */
export function written(density: Density, format: Format, title: string): BlobPart[] {
  const write = { CHGCAR: chgcar, cube, XSF: xsf, npz, CIF: cif, POSCAR: (d: Density, t: string) => [poscar(d, t)] }[
    format
  ]
  return write(density, title.replace(/[^\x20-\x7e]/g, '?'))
}

const fixed = (x: number, digits = 16) => x.toFixed(digits).padStart(digits + 4)

/** Atoms in runs of the same element, as they stand: the order is the density's. */
function poscar(crystal: Crystal, title: string): string {
  const runs: [number, number][] = []
  for (const z of crystal.numbers) {
    if (runs.at(-1)?.[0] === z) runs.at(-1)![1]++
    else runs.push([z, 1])
  }
  const rows = [0, 1, 2].map((i) => ' ' + [0, 1, 2].map((k) => fixed(crystal.cell[3 * i + k])).join(' '))
  const atoms = crystal.numbers.map((_, n) => ' ' + [0, 1, 2].map((k) => fixed(crystal.positions[3 * n + k])).join(' '))
  const species = runs.map(([z]) => SYMBOLS[z]).join(' ')
  return [title, '1.0', ...rows, species, runs.map(([, n]) => n).join(' '), 'Direct', ...atoms, ''].join('\n')
}

/** Values as text, a million at a time. */
function lines(count: number, value: (i: number) => number, perLine: number, digits: number): string[] {
  const parts: string[] = []
  let text: string[] = []
  for (let i = 0; i < count; i++) {
    const v = value(i)
    text.push(
      (v < 0 ? ' ' : '  ') +
        v
          .toExponential(digits)
          .replace(/e([+-])(\d)$/, 'E$10$2')
          .replace('e', 'E'),
    )
    if ((i + 1) % perLine === 0 || i + 1 === count) text.push('\n')
    if (text.length > 1 << 20) {
      parts.push(text.join(''))
      text = []
    }
  }
  parts.push(text.join(''))
  return parts
}

/** ρV, x fastest, without augmentation occupancies. */
function chgcar(density: Density, title: string): string[] {
  const volume = volumeOf(density.cell)
  const size = density.grid.map((n) => String(n).padStart(5)).join('')
  const blocks = Object.values(density.channels).flatMap((v) => [
    `${size}\n`,
    ...lines(v.length, (i) => v[i] * volume, 5, 11),
  ])
  return [poscar(density, title), '\n', ...blocks]
}

/** Index of point number p where z runs fastest. */
function zFastest([nx, ny, nz]: number[]): (p: number) => number {
  return (p) => Math.floor(p / (ny * nz)) + nx * ((Math.floor(p / nz) % ny) + ny * (p % nz))
}

function cube(density: Density, title: string): string[] {
  const { cell, grid, numbers } = density
  const axes = grid.map(
    (n, i) => `${String(n).padStart(5)} ${[0, 1, 2].map((k) => fixed(cell[3 * i + k] / n / BOHR, 12)).join(' ')}`,
  )
  const atoms = numbers.map((z, n) => {
    const p = cartesian(cell, density.positions.subarray(3 * n, 3 * n + 3))
    return `${String(z).padStart(5)} ${fixed(z, 6)} ${p.map((x) => fixed(x / BOHR, 12)).join(' ')}`
  })
  const head = [
    title,
    'total density, e/bohr^3, written by chgdb',
    `${String(numbers.length).padStart(5)} ${[0, 0, 0].map((x) => fixed(x, 6)).join(' ')}`,
    ...axes,
    ...atoms,
    '',
  ]
  const at = zFastest(grid)
  const total = density.channels.total
  const nz = grid[2]
  const parts: string[] = []
  // A new line begins with every column along z.
  for (let column = 0; column < total.length / nz; column++)
    parts.push(...lines(nz, (k) => total[at(column * nz + k)] * BOHR ** 3, 6, 10))
  return [head.join('\n'), ...parts]
}

/** A general grid of XSF repeats its first points at its end. */
function xsf(density: Density): string[] {
  const { cell, grid, numbers, positions } = density
  const rows = [0, 1, 2].map((i) => [0, 1, 2].map((k) => fixed(cell[3 * i + k], 10)).join(' '))
  const atoms = numbers.map(
    (z, n) =>
      `${z} ${cartesian(cell, positions.subarray(3 * n, 3 * n + 3))
        .map((x) => fixed(x, 10))
        .join(' ')}`,
  )
  const [mx, my, mz] = grid.map((n) => n + 1)
  const [nx, ny, nz] = grid
  const field = (name: string, v: Float64Array) => [
    `BEGIN_DATAGRID_3D_${name}\n${mx} ${my} ${mz}\n0.0 0.0 0.0\n${rows.join('\n')}\n`,
    ...lines(
      mx * my * mz,
      (p) => v[((p % mx) % nx) + nx * (((Math.floor(p / mx) % my) % ny) + ny * (Math.floor(p / (mx * my)) % nz))],
      5,
      10,
    ),
    'END_DATAGRID_3D\n',
  ]
  const fields = Object.entries(density.channels).flatMap(([name, v]) => field(name, v))
  return [
    `CRYSTAL\nPRIMVEC\n${rows.join('\n')}\nPRIMCOORD\n${numbers.length} 1\n${atoms.join('\n')}\n`,
    'BEGIN_BLOCK_DATAGRID_3D\ndensity_in_e_per_cubic_angstrom\n',
    ...fields,
    'END_BLOCK_DATAGRID_3D\n',
  ]
}

function cif(crystal: Crystal, title: string): string[] {
  const [a, b, c, alpha, beta, gamma] = parameters(crystal.cell)
  const counts = new Map<number, number>()
  const sites = crystal.numbers.map((z, n) => {
    counts.set(z, (counts.get(z) ?? 0) + 1)
    const f = [0, 1, 2].map((k) => fixed(crystal.positions[3 * n + k], 12).trim()).join(' ')
    return `${SYMBOLS[z]}${counts.get(z)} ${SYMBOLS[z]} ${f} 1`
  })
  return [
    `# ${title}\ndata_chgdb\n_cell_length_a ${a.toFixed(10)}\n_cell_length_b ${b.toFixed(10)}\n_cell_length_c ${c.toFixed(10)}\n`,
    `_cell_angle_alpha ${alpha.toFixed(10)}\n_cell_angle_beta ${beta.toFixed(10)}\n_cell_angle_gamma ${gamma.toFixed(10)}\n`,
    `_symmetry_space_group_name_H-M 'P 1'\n_symmetry_Int_Tables_number 1\nloop_\n_symmetry_equiv_pos_as_xyz\n'x, y, z'\n`,
    'loop_\n_atom_site_label\n_atom_site_type_symbol\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n_atom_site_occupancy\n',
    `${sites.join('\n')}\n`,
  ]
}

/** NumPy's archive, not compressed, with the arrays that chgdb reads. */
function npz(density: Density): BlobPart[] {
  const integers = BigInt64Array.from(density.numbers, BigInt)
  const { grid } = density
  const at = zFastest(grid)
  const files: [string, Uint8Array][] = [
    ['cell', npy(density.cell, '<f8', [3, 3])],
    ['positions', npy(density.positions, '<f8', [density.numbers.length, 3])],
    ['numbers', npy(integers, '<i8', [density.numbers.length])],
  ]
  for (const [name, v] of Object.entries(density.channels)) {
    const ordered = Float64Array.from({ length: points(grid) }, (_, p) => v[at(p)])
    files.push([name, npy(ordered, '<f8', grid)])
  }
  return zip(files.map(([name, data]) => [`${name}.npy`, data]))
}

function npy(values: Float64Array | BigInt64Array, type: string, shape: number[]): Uint8Array {
  const text = `{'descr': '${type}', 'fortran_order': False, 'shape': (${shape.join(', ')}${shape.length === 1 ? ',' : ''}), }`
  const size = Math.ceil((10 + text.length + 1) / 64) * 64
  const out = new Uint8Array(size + values.byteLength)
  out.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, (size - 10) & 255, (size - 10) >> 8])
  out.set(new TextEncoder().encode(text.padEnd(size - 11) + '\n'), 10)
  out.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), size)
  return out
}

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n
  for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1
  return c
})

function zip(files: [string, Uint8Array][]): BlobPart[] {
  const parts: Uint8Array[] = []
  const directory: Uint8Array[] = []
  let offset = 0
  for (const [name, data] of files) {
    let crc = ~0
    for (let i = 0; i < data.length; i++) crc = CRC[(crc ^ data[i]) & 255] ^ (crc >>> 8)
    const text = new TextEncoder().encode(name)
    const common = (signature: number[], extra: number[], before: number) => {
      const out = new Uint8Array(before + 26 + extra.length + text.length)
      const view = new DataView(out.buffer)
      out.set(signature)
      let at = before
      const fields: [number, number][] = [
        [20, 2],
        [0, 2],
        [0, 2],
        [0, 2],
        [0x21, 2],
        [~crc >>> 0, 4],
        [data.length, 4],
        [data.length, 4],
        [text.length, 2],
        [0, 2],
      ]
      for (const [value, size] of fields) {
        if (size === 2) view.setUint16(at, value, true)
        else view.setUint32(at, value, true)
        at += size
      }
      out.set(extra, at)
      out.set(text, at + extra.length)
      return out
    }
    const head = common([0x50, 0x4b, 3, 4], [], 4)
    const where = new Uint8Array(Uint32Array.of(offset).buffer)
    directory.push(common([0x50, 0x4b, 1, 2, 20, 0], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ...where], 6))
    parts.push(head, data)
    offset += head.length + data.length
  }
  const size = directory.reduce((n, d) => n + d.length, 0)
  const end = new DataView(new ArrayBuffer(22))
  end.setUint32(0, 0x06054b50, true)
  end.setUint16(8, files.length, true)
  end.setUint16(10, files.length, true)
  end.setUint32(12, size, true)
  end.setUint32(16, offset, true)
  return [...parts, ...directory, new Uint8Array(end.buffer)] as BlobPart[]
}
