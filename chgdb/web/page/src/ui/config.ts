// Where a page finds its material: a file beside it, or a part of it.
import type { ColumnInfo } from '../store/source'

export interface InlineRecord {
  id: string
  payload: string
  nmae: number
  maxError: number
  tolerance: number
  stored: number
  text: number
  extras: number
  priors: Record<string, { numbers: number[]; coefficients: number[] }>
  facts: Record<string, number | string | null>
  columns: ColumnInfo[]
  attributes: Record<string, any>
}

export interface Config {
  title: string
  version: string
  /** Folder of the store, relative to the page; empty where only the REST server reads it. */
  store: string
  /** The REST server, relative to the page. */
  api?: string
  /** What that server can do beside reading. */
  server?: { models: string[]; latents: boolean; pack: string | null; estimate: boolean; limit: number }
  record?: InlineRecord
}

export function base64(data: Uint8Array): string {
  let text = ''
  for (let i = 0; i < data.length; i += 1 << 15) text += String.fromCharCode(...data.subarray(i, i + (1 << 15)))
  return btoa(text)
}

export const fromBase64 = (text: string) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0))

export async function readConfig(): Promise<Config> {
  const inline = document.getElementById('chgdb-config')
  if (inline) return JSON.parse(inline.textContent ?? '')
  const response = await fetch(new URL('config.json', document.baseURI))
  if (!response.ok) throw new Error(`config.json: the server answers ${response.status}; is the page complete?`)
  return response.json()
}
