// CRC-32C, of every chunk and record of a store.
const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n
  for (let k = 0; k < 8; k++) c = c & 1 ? 0x82f63b78 ^ (c >>> 1) : c >>> 1
  return c
})

export function crc32c(data: Uint8Array): number {
  let c = ~0
  for (let i = 0; i < data.length; i++) c = TABLE[(c ^ data[i]) & 255] ^ (c >>> 8)
  return ~c >>> 0
}

/** What the last four bytes vouch for. */
export function checked(data: Uint8Array, what: string): Uint8Array {
  const body = data.subarray(0, data.length - 4)
  const stated = data.length < 4 ? -1 : new DataView(data.buffer, data.byteOffset + body.length, 4).getUint32(0, true)
  if (stated !== crc32c(body)) throw new Error(`${what}: damaged (its checksum does not agree); nothing is shown`)
  return body
}
