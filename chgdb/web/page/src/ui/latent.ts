// The autoencoder's reconstruction, which the server decodes.
import type { V3 } from '../field/density'
import { points } from '../field/density'
import { answer } from '../store/rest'

export async function reconstruction(
  api: string,
  id: string,
  grid: V3,
): Promise<{ values: Float64Array; nmae: number }> {
  const response = await answer(`${api}materials/${encodeURIComponent(id)}/latent`)
  const values = new Float64Array(await response.arrayBuffer())
  if (values.length !== points(grid)) throw new Error('the latent was decoded on another grid')
  return { values, nmae: Number(response.headers.get('x-chgdb-nmae')) }
}
