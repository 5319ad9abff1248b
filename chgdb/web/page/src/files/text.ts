// Lines and numbers of large text files, straight from bytes: no strings of megabytes.
const POWERS = Float64Array.from({ length: 617 }, (_, i) => Number(`1e${i - 308}`))

export class Text {
  at = 0
  private decoder = new TextDecoder()
  constructor(
    readonly bytes: Uint8Array,
    readonly name: string,
  ) {}

  line(): string {
    const from = this.at
    if (from >= this.bytes.length) throw new Error(`${this.name}: the file ends early`)
    let to = this.bytes.indexOf(10, from)
    if (to < 0) to = this.bytes.length
    this.at = to + 1
    return this.decoder.decode(this.bytes.subarray(from, Math.min(to, from + 4096))).trim()
  }
  words(): string[] {
    return this.line().split(/\s+/).filter(Boolean)
  }
  /** At least `least` numbers of the next line. */
  numbers(least: number, what: string): number[] {
    const words = this.words()
    const values = words.slice(0, least).map((w) => Number(w.replace(/[dD]/, 'e')))
    if (values.length < least || values.some((x) => !Number.isFinite(x)))
      throw new Error(
        `${this.name}: ${what} should be ${least} numbers, but the line is "${words.join(' ').slice(0, 60)}"`,
      )
    return values
  }
  get ended(): boolean {
    return this.at >= this.bytes.length
  }

  /** Values separated by white space, each times `scale`. */
  values(count: number, scale: number, what: string): Float64Array {
    const { bytes, name } = this
    const out = new Float64Array(count)
    let at = this.at
    const end = bytes.length
    for (let k = 0; k < count; k++) {
      while (at < end && bytes[at] <= 32) at++
      if (at >= end) throw new Error(`${name}: ${what} has ${count} values, but the file ends after ${k}`)
      const start = at
      let sign = 1,
        m = 0,
        e = 0,
        digits = 0,
        c = bytes[at]
      if (c === 45) {
        sign = -1
        c = bytes[++at]
      } else if (c === 43) c = bytes[++at]
      let seen = at
      for (; c >= 48 && c <= 57; c = bytes[++at]) {
        if (digits < 15) {
          m = m * 10 + c - 48
          if (m) digits++
        } else e++
      }
      if (c === 46) {
        seen++
        for (c = bytes[++at]; c >= 48 && c <= 57; c = bytes[++at]) {
          if (digits < 15) {
            m = m * 10 + c - 48
            e--
            if (m) digits++
          }
        }
      }
      // A sign or a point without a digit is no number.
      const empty = at === seen
      if ((c | 32) === 101 || (c | 32) === 100) {
        let s = 1,
          x = 0
        c = bytes[++at]
        if (c === 45) {
          s = -1
          c = bytes[++at]
        } else if (c === 43) c = bytes[++at]
        for (; c >= 48 && c <= 57; c = bytes[++at]) x = x * 10 + c - 48
        e += s * x
      }
      // Below 1e-308 nothing is left that a density could show.
      const value = e < -308 ? 0 : e > 308 ? Infinity : e < 0 ? m / POWERS[308 - e] : m * POWERS[308 + e]
      if (empty || value === Infinity || (at < end && bytes[at] > 32)) {
        const word = this.decoder.decode(bytes.subarray(start, Math.min(start + 24, end))).split(/\s/)[0]
        throw new Error(`${name}: value ${k + 1} of ${what} is "${word}", not a number`)
      }
      out[k] = sign * value * scale
    }
    this.at = at
    return out
  }
}
