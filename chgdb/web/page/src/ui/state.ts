// What a picture shows, and how it is written into an address.
import type { V3 } from '../field/density'
import type { Kind } from '../worker'

export type Sign = 'both' | 'positive' | 'negative'
export interface ViewState {
  kind: Kind
  /** Isovalue, positive; 0 until the field is known. */
  level: number
  sign: Sign
  positive: string
  negative: string
  opacity: number
  repeat: V3
  atoms: boolean
  bonds: boolean
  /** 0 0 0: the plane that suits the crystal. */
  hkl: V3
  offset: number
}

export const START: ViewState = {
  kind: 'total',
  level: 0,
  sign: 'both',
  positive: '#e0a800',
  negative: '#0097b8',
  opacity: 0.6,
  repeat: [1, 1, 1],
  atoms: true,
  bonds: true,
  hkl: [0, 0, 0],
  offset: 0,
}

const triple = (text: string | null, low: number, high: number): V3 | undefined => {
  const values = (text ?? '').split(/[ ,x]+/).map(Number)
  const good = values.length === 3 && values.every((n) => Number.isInteger(n) && n >= low && n <= high)
  return good ? (values as V3) : undefined
}

export function fromQuery(query: URLSearchParams): ViewState {
  const hkl = triple(query.get('hkl'), -20, 20)
  const level = Number(query.get('iso'))
  const offset = Number(query.get('at') ?? 0)
  const sign = query.get('sign')
  return {
    ...START,
    kind: query.get('show') ?? START.kind,
    level: level > 0 && Number.isFinite(level) ? level : 0,
    sign: sign === 'positive' || sign === 'negative' ? sign : 'both',
    repeat: triple(query.get('repeat'), 1, 4) ?? START.repeat,
    hkl: hkl ?? START.hkl,
    offset: hkl?.some(Boolean) && Math.abs(offset) <= 1 ? offset : 0,
  }
}

export function toQuery(s: ViewState, start: number): Record<string, string | undefined> {
  return {
    show: s.kind === START.kind ? undefined : s.kind,
    iso: s.level && Math.abs(s.level / start - 1) > 1e-3 ? String(Number(s.level.toPrecision(4))) : undefined,
    sign: s.sign === 'both' ? undefined : s.sign,
    repeat: s.repeat.some((n) => n > 1) ? s.repeat.join('x') : undefined,
    hkl: s.hkl.join() === START.hkl.join() ? undefined : s.hkl.join(','),
    at: s.offset ? String(s.offset) : undefined,
  }
}

export const LABELS: Record<string, string> = {
  total: 'density',
  difference: 'difference to the superposition of atoms',
  magnetization: 'magnetisation',
  magnetization_x: 'magnetisation along x',
  magnetization_y: 'magnetisation along y',
  magnetization_z: 'magnetisation along z',
  'magnetization norm': 'magnetisation, its length',
  latent: 'reconstruction from the latent',
  'latent error': 'error of the latent',
  'difference of the two': 'difference of the two',
}
export const labelOf = (kind: string) => LABELS[kind] ?? kind
export const unitOf = (kind: string) => (kind.startsWith('magnetization') ? 'μB/Å³' : 'e/Å³')
export const signed = (kind: string) => !['total', 'latent', 'magnetization norm'].includes(kind)
