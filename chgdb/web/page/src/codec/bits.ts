// Section 3.1 of docs/format.md: bits.
export class Bits {
  pos = 0
  constructor(readonly data: Uint8Array) {}
  /** Up to 53 bits; reading past the end throws. */
  read(width: number): number {
    let value = 0
    while (width > 0) {
      const byte = this.data[this.pos >> 3]
      if (byte === undefined) throw new Error('payload ends early')
      const left = 8 - (this.pos & 7)
      const take = Math.min(left, width)
      value = value * (1 << take) + ((byte >> (left - take)) & ((1 << take) - 1))
      this.pos += take
      width -= take
    }
    return value
  }
  big(width: number): bigint {
    let value = 0n
    while (width > 0) {
      const take = Math.min(32, width)
      value = (value << BigInt(take)) | BigInt(this.read(take))
      width -= take
    }
    return value
  }
  rest(): Uint8Array {
    return this.data.subarray((this.pos + 7) >> 3)
  }
}

export interface Source {
  read(width: number): number
}

export function gamma(s: Source): number {
  let zeros = 0
  while (s.read(1) === 0) if (++zeros > 52) throw new Error('damaged payload')
  return 2 ** zeros + s.read(zeros) - 1
}
export function signed(s: Source): number {
  const v = gamma(s)
  return v % 2 === 0 ? v / 2 : -(v + 1) / 2
}

export const bitLength = (n: number) => (n <= 0 ? 0 : Math.floor(Math.log2(n)) + 1)
