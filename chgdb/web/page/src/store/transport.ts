// Whole files and ranges of them, from any file server.
export interface Traffic {
  requests: number
  bytes: number
}
export const traffic: Traffic = { requests: 0, bytes: 0 }

/** Of a file that a server without ranges sends whole: kept while it is not too large. */
const KEPT = 32 << 20
const whole = new Map<string, Uint8Array>()

async function fetched(
  url: string,
  what: string,
  headers?: Record<string, string>,
  cache: RequestCache = headers ? 'no-store' : 'default',
): Promise<Response> {
  traffic.requests++
  let response: Response
  try {
    response = await fetch(url, { headers, cache })
  } catch {
    throw new Error(`${what}: the server does not answer; is it still running, and does it allow this page to read it?`)
  }
  if (!response.ok) throw new Error(`${what}: the server answers ${response.status}`)
  return response
}

/** cache: 'no-cache' asks the server whether a file that is known is still the newest. */
export async function file(url: string, what: string, cache: RequestCache = 'default'): Promise<Uint8Array> {
  const data = new Uint8Array(await (await fetched(url, what, undefined, cache)).arrayBuffer())
  traffic.bytes += data.length
  return data
}

/** undefined where there is no such file. */
export async function fileIfAny(url: string, what: string, cache?: RequestCache): Promise<Uint8Array | undefined> {
  try {
    return await file(url, what, cache)
  } catch (error) {
    if (String(error).includes('answers 404')) return undefined
    throw error
  }
}

export async function range(url: string, from: number, size: number, what: string): Promise<Uint8Array> {
  const known = whole.get(url)
  if (known) return known.slice(from, from + size)
  const response = await fetched(url, what, { Range: `bytes=${from}-${from + size - 1}` })
  if (response.status === 206) {
    const data = new Uint8Array(await response.arrayBuffer())
    traffic.bytes += data.length
    if (data.length !== size)
      throw new Error(`${what}: the server sent ${data.length} bytes where ${size} were asked for`)
    return data
  }
  return prefix(url, response, from, size, what)
}

/** A server without ranges sends the file from its start: what is asked for is in it. */
async function prefix(url: string, response: Response, from: number, size: number, what: string): Promise<Uint8Array> {
  const length = Number(response.headers.get('content-length') ?? Infinity)
  if (length <= KEPT) {
    const data = new Uint8Array(await response.arrayBuffer())
    traffic.bytes += data.length
    whole.set(url, data)
    return cut(data.subarray(from, from + size), size, what)
  }
  const out = new Uint8Array(size)
  const reader = response.body!.getReader()
  let at = 0
  while (at < from + size) {
    const { done, value } = await reader.read()
    if (done) break
    const first = Math.max(at, from),
      last = Math.min(at + value.length, from + size)
    if (last > first) out.set(value.subarray(first - at, last - at), first - from)
    at += value.length
    traffic.bytes += value.length
  }
  await reader.cancel()
  return cut(at < from + size ? out.subarray(0, 0) : out, size, what)
}

function cut(data: Uint8Array, size: number, what: string): Uint8Array {
  if (data.length !== size) throw new Error(`${what}: the file on the server is shorter than the store states`)
  return data.slice()
}

/** What zlib packed; refused where it unfolds to more than `most` bytes. */
export async function unfolded(data: Uint8Array, format: 'deflate' | 'gzip', most: number): Promise<Uint8Array> {
  const stream = new Blob([data as BlobPart]).stream().pipeThrough(new DecompressionStream(format))
  const reader = stream.getReader()
  const parts: Uint8Array[] = []
  let size = 0
  for (;;) {
    const { done, value } = await reader.read()
    if (done) break
    size += value.length
    if (size > most) {
      await reader.cancel()
      throw new Error(`it unfolds to more than ${most} bytes: refused`)
    }
    parts.push(value)
  }
  const out = new Uint8Array(size)
  let at = 0
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}
