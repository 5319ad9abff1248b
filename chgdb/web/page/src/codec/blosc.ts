// Blosc 1 around Zstandard: the chunks of some columns, and the values of lossless records.
import { decompress } from 'fzstd'

/** A zlib-free, bounded Zstandard: a frame that states more than `most` bytes is refused before it unfolds. */
export function unzstd(data: Uint8Array, most: number): Uint8Array {
  const size = statedSize(data)
  if (size === undefined || size > most)
    throw new Error('damaged: a compressed part states no size, or too large a one')
  const out = decompress(data, new Uint8Array(size))
  if (out.length !== size) throw new Error('damaged: a compressed part is shorter than it states')
  return out
}

/** Frame content size of RFC 8878, section 3.1.1.1. */
function statedSize(data: Uint8Array): number | undefined {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  if (data.length < 6 || view.getUint32(0, true) !== 0xfd2fb528) return undefined
  const flags = data[4]
  const single = (flags >> 5) & 1
  const at = 5 + (single ? 0 : 1) + [0, 1, 2, 4][flags & 3]
  const kind = flags >> 6
  if (kind === 0) return single ? data[at] : undefined
  if (kind === 1) return view.getUint16(at, true) + 256
  return kind === 2 ? view.getUint32(at, true) : Number(view.getBigUint64(at, true))
}

/** nbytes: what it must unfold to. */
export function unblosc(src: Uint8Array, nbytes: number): Uint8Array {
  const view = new DataView(src.buffer, src.byteOffset, src.byteLength)
  if (src.length < 16) throw new Error('damaged: a compressed part ends early')
  const flags = src[2],
    typesize = src[3]
  const blocksize = view.getUint32(8, true)
  if (view.getUint32(12, true) !== src.length || view.getUint32(4, true) !== nbytes || (nbytes && !blocksize))
    throw new Error('damaged: a compressed part is not as long as it states')
  const out = new Uint8Array(nbytes)
  if (flags & 2) {
    out.set(src.subarray(16, 16 + nbytes))
    return out
  }
  if (flags >> 5 !== 4) throw new Error('a compressed part is not Zstandard')
  const blocks = Math.ceil(nbytes / blocksize)
  for (let b = 0; b < blocks; b++) {
    const size = Math.min(blocksize, nbytes - b * blocksize)
    let at = view.getUint32(16 + 4 * b, true)
    const splits = !(flags & 16) && typesize <= 16 && blocksize / typesize >= 128 && size === blocksize
    const split = splits ? typesize : 1
    const block = new Uint8Array(size)
    const part = size / split
    for (let s = 0; s < split; s++) {
      const n = view.getInt32(at, true)
      at += 4
      const piece = src.subarray(at, at + n)
      at += n
      block.set(n === part ? piece : unzstd(piece, part), s * part)
    }
    unshuffle(block, out.subarray(b * blocksize, b * blocksize + size), typesize, flags)
  }
  return out
}

function unshuffle(block: Uint8Array, target: Uint8Array, typesize: number, flags: number) {
  const size = block.length
  if (flags & 4) {
    // bits of groups of eight elements; what is left over is copied
    const n = Math.floor(size / typesize / 8) * 8
    const row = n / 8
    for (let bit = 0; bit < 8 * typesize; bit++)
      for (let e = 0; e < row; e++) {
        const byte = block[bit * row + e]
        if (!byte) continue
        for (let k = 0; k < 8; k++) if ((byte >> k) & 1) target[(8 * e + k) * typesize + (bit >> 3)] |= 1 << (bit & 7)
      }
    target.set(block.subarray(n * typesize), n * typesize)
  } else if (flags & 1) {
    const n = Math.floor(size / typesize)
    for (let k = 0; k < typesize; k++) for (let e = 0; e < n; e++) target[e * typesize + k] = block[k * n + e]
    target.set(block.subarray(n * typesize), n * typesize)
  } else target.set(block)
}
