// A record of a store: its payload, whichever codec it is of, and the checksum at its end.
import { coarse, type Density, points, type V3 } from '../field/density'
import { Bits } from './bits'
import { unblosc } from './blosc'
import { checked } from './crc'
import { Fourier } from './fourier'
import { type Frame, frame } from './frame'
import type { Prior } from './prior'
import { realspace } from './realspace'

export const CODECS: Record<number, string> = { 1: 'lossless', 2: 'Fourier', 3: 'real space', 4: 'Fourier' }

export class Decoded {
  private readonly fourier?: Fourier
  private readonly own?: Density
  readonly codec: string

  /** Raises where the payload is damaged; nothing of it is shown then. */
  constructor(payload: Uint8Array, priorOf: (id: number) => Prior) {
    const source = new Bits(payload)
    const codec = source.read(8)
    this.codec = CODECS[codec] ?? `${codec}`
    if (codec === 1) this.own = lossless(source)
    else if (codec === 2 || codec === 4) this.fourier = new Fourier(source, priorOf, codec === 4)
    else if (codec === 3) this.own = realspace(source)
    else throw new Error(`codec ${codec} is newer than this page: update chgdb`)
  }

  get grid(): V3 {
    return this.fourier?.frame.grid ?? this.own!.grid
  }
  /** Whether it says what differs from the superposition of its atoms. */
  get hasPrior(): boolean {
    return this.fourier?.hasPrior ?? false
  }
  density(): Density {
    return this.own ?? this.fourier!.density()
  }
  /** A coarse one at once, where the whole one would take long. */
  preview(): Density | undefined {
    const small = coarse(this.grid)
    return this.fourier && points(small) < points(this.grid) ? this.fourier.density(small) : undefined
  }
  /** The superposition of atoms, on the grid of the record. */
  atoms(): Float64Array {
    if (!this.fourier) throw new Error('this record holds no superposition of atoms')
    return this.fourier.density(this.grid, 'only').channels.total
  }
}

function lossless(source: Bits): Density {
  const bytes = source.read(1) ? 8 : 4
  const fr: Frame = frame(source)
  const n = points(fr.grid)
  const raw = unblosc(source.rest(), n * bytes * fr.names.length)
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength)
  const [nx, ny, nz] = fr.grid
  const channels: Record<string, Float64Array> = {}
  let at = 0
  for (const name of fr.names) {
    const values = (channels[name] = new Float64Array(n))
    for (let i = 0; i < nx; i++)
      for (let j = 0; j < ny; j++)
        for (let k = 0; k < nz; k++, at += bytes)
          values[i + nx * (j + ny * k)] = bytes === 8 ? view.getFloat64(at, true) : view.getFloat32(at, true)
  }
  return { cell: fr.cell, numbers: fr.numbers, positions: fr.positions, grid: fr.grid, channels }
}

/** Payload of a record as it lies in a store: extras and checksum are behind it. */
export function payloadOf(record: Uint8Array, extras: number, id: string): Uint8Array {
  const body = checked(record, id)
  if (extras > body.length) throw new Error(`${id}: damaged (its record is shorter than it states); nothing is shown`)
  return body.subarray(0, body.length - extras)
}
