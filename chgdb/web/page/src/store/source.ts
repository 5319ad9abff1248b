// One interface, whatever a material comes from: a store on a file server, the REST server, a record in the page.
import type { Prior } from '../codec/prior'

export interface ColumnInfo {
  name: string
  label: string
  units: string
  text: boolean
  /** 1 true, 0 false, -1 unknown. */
  truth: boolean
  attributes: Record<string, any>
}

/** What is needed to draw one material, and to say how exact the picture is. */
export interface RecordBytes {
  id: string
  row: number
  payload: Uint8Array
  priors: Record<number, Prior>
  nmae: number
  maxError: number
  tolerance: number
  /** Bytes of its record, of the text it stands for, and of what its file held beside the density. */
  stored: number
  text: number
  extras: number
}

export interface Source {
  readonly count: number
  readonly attributes: Record<string, any>
  /** Columns and predictions that can be shown and searched. */
  readonly columns: ColumnInfo[]
  /** A whole column. */
  column(name: string): Promise<Float64Array | string[]>
  record(id: string): Promise<RecordBytes>
  /** All that is known of one material, by column. */
  facts(row: number): Promise<Record<string, number | string>>
  /** What else can be asked, where a server is behind it. */
  readonly api?: string
}

export const PREDICTED = 'view/properties/'
