// Numbers and units as people read them.
export const UNITS = (units: string) =>
  units
    .replace(/angstrom/g, 'Å')
    .replace('mu_B', 'μB')
    .replace('^3', '³')

export function short(x: number | string | undefined, digits = 4): string {
  if (typeof x === 'string') return x
  if (x === undefined || !Number.isFinite(x)) return '–'
  if (Number.isInteger(x) && Math.abs(x) < 1e9) return x.toLocaleString('en')
  const size = Math.abs(x)
  if (size !== 0 && (size < 1e-3 || size >= 1e7)) return x.toExponential(Math.max(0, digits - 2))
  return String(Number(x.toPrecision(digits)))
}

export const percent = (x: number) => (x === 0 ? '0 %' : `${Number((100 * x).toPrecision(3))} %`)

export function bytes(n: number): string {
  if (n < 1000) return `${n} bytes`
  return n < 1e6 ? `${(n / 1e3).toFixed(1)} kB` : `${(n / 1e6).toFixed(1)} MB`
}

/** Value and standard deviation, both to the second digit of the latter. */
export function withStd(value: number, std: number): [string, string] {
  const digits = std > 0 ? Math.max(0, 1 - Math.floor(Math.log10(std))) : 3
  return [(value + 0).toFixed(digits), std.toFixed(digits)]
}

/** 90 % of true values lie within so many standard deviations. */
export const INTERVAL = 1.645

export function save(data: Blob | string, name: string, type = 'text/plain') {
  const url = URL.createObjectURL(typeof data === 'string' ? new Blob([data], { type }) : data)
  const link = document.createElement('a')
  link.href = url
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(url), 60_000)
}

/** One cell of CSV. A spreadsheet would run a text that begins like a formula. */
export function cell(x: number | string): string {
  if (typeof x === 'number') return Number.isFinite(x) ? String(x) : ''
  const text = /^[=+\-@\t]/.test(x) ? `'${x}` : x
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}
