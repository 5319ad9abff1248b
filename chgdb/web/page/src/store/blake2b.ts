// BLAKE2b (RFC 7693) of a short text, eight bytes long: by it the index of a store finds a material.
const IV = [
  0x6a09e667f3bcc908n,
  0xbb67ae8584caa73bn,
  0x3c6ef372fe94f82bn,
  0xa54ff53a5f1d36f1n,
  0x510e527fade682d1n,
  0x9b05688c2b3e6c1fn,
  0x1f83d9abfb41bd6bn,
  0x5be0cd19137e2179n,
]
const SIGMA = [
  '0123456789abcdef',
  'ea489fd61c02b753',
  'b8c052fdae367194',
  '7931dcbe265a40f8',
  '905724afe1bc683d',
  '2c6a0b834d75fe19',
  'c51fed4a0763928b',
  'db7ec13950f4862a',
  '6fe9b308c2d714a5',
  'a2847615fb9e3cd0',
]
const MASK = (1n << 64n) - 1n
const rotated = (x: bigint, n: bigint) => ((x >> n) | (x << (64n - n))) & MASK

/** Eight bytes as a big-endian number. */
export function hash64(text: string): bigint {
  const data = new TextEncoder().encode(text)
  const h = [...IV]
  h[0] ^= 0x01010000n ^ 8n
  const blocks = Math.max(1, Math.ceil(data.length / 128))
  for (let b = 0; b < blocks; b++) {
    const block = new Uint8Array(128)
    block.set(data.subarray(128 * b, 128 * b + 128))
    const view = new DataView(block.buffer)
    const m = Array.from({ length: 16 }, (_, i) => view.getBigUint64(8 * i, true))
    const last = b === blocks - 1
    const v = [...h, ...IV]
    v[12] ^= BigInt(last ? data.length : 128 * (b + 1))
    if (last) v[14] ^= MASK
    const mix = (a: number, b: number, c: number, d: number, x: bigint, y: bigint) => {
      v[a] = (v[a] + v[b] + x) & MASK
      v[d] = rotated(v[d] ^ v[a], 32n)
      v[c] = (v[c] + v[d]) & MASK
      v[b] = rotated(v[b] ^ v[c], 24n)
      v[a] = (v[a] + v[b] + y) & MASK
      v[d] = rotated(v[d] ^ v[a], 16n)
      v[c] = (v[c] + v[d]) & MASK
      v[b] = rotated(v[b] ^ v[c], 63n)
    }
    for (let round = 0; round < 12; round++) {
      const s = Array.from(SIGMA[round % 10], (c) => m[parseInt(c, 16)])
      for (let i = 0; i < 4; i++) mix(i, 4 + i, 8 + i, 12 + i, s[2 * i], s[2 * i + 1])
      for (let i = 0; i < 4; i++)
        mix(i, 4 + ((i + 1) % 4), 8 + ((i + 2) % 4), 12 + ((i + 3) % 4), s[8 + 2 * i], s[9 + 2 * i])
    }
    for (let i = 0; i < 8; i++) h[i] ^= v[i] ^ v[8 + i]
  }
  const view = new DataView(new ArrayBuffer(8))
  view.setBigUint64(0, h[0], true)
  return view.getBigUint64(0)
}
