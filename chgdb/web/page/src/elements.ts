// Symbols, colours (Jmol's) and covalent radii (Cordero 2008) of the elements, by atomic number.
const TEXT = `X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og`
export const SYMBOLS = TEXT.split(' ')
export const numberOf = (symbol: string) => SYMBOLS.indexOf(symbol)

const COLOURS = [
  'ff0000ffffffd9ffffcc80ffc2ff00ffb5b59090903050f8ff0d0d90e050b3e3f5ab5cf28aff00bfa6a6f0c8a0ff8000ffff301ff01f',
  '80d1e38f40d43dff00e6e6e6bfc2c7a6a6ab8a99c79c7ac7e06633f090a050d050c880337d80b0c28f8f668f8fbd80e3ffa100a62929',
  '5cb8d1702eb000ff0094ffff94e0e073c2c954b5b53b9e9e248f8f0a7d8c006985c0c0c0ffd98fa675736680809e63b5d47a00940094',
  '429eb057178f00c90070d4ffffffc7d9ffc7c7ffc7a3ffc78fffc761ffc745ffc730ffc71fffc700ff9c00e67500d45200bf3800ab24',
  '4dc2ff4da6ff2194d6267dab266696175487d0d0e0ffd123b8b8d0a6544d5759619e4fb5ab5c00754f45428296420066007d0070abfa',
  '00baff00a1ff008fff0080ff006bff545cf2785ce38a4fe3a136d4b31fd4b31fbab30da6bd0d87c70066',
].join('')
/** Hundredths of an Å, three digits an element. */
const RADII = [
  '020031028128096084076071066057058166141121111107105102106203176170160153139139132126124132122122120119120120',
  '116220195190175164154147146142139145144142139139138139140244215207204203201199198198196194192192189190187187',
  '175170162151144141136136132145146148140150150260221215206200196190187180169',
].join('')

export const colourOf = (z: number) => parseInt(COLOURS.slice(6 * z, 6 * z + 6) || 'd070d0', 16)
export const radiusOf = (z: number) => Number(RADII.slice(3 * z, 3 * z + 3) || 160) / 100

/** Reduced formula, elements in the order of the file. */
export function formulaOf(numbers: number[]): string {
  const counts = new Map<number, number>()
  for (const z of numbers) counts.set(z, (counts.get(z) ?? 0) + 1)
  const divisor = [...counts.values()].reduce((a, b) => {
    while (b) [a, b] = [b, a % b]
    return a
  }, 0)
  return [...counts].map(([z, n]) => SYMBOLS[z] + (n / divisor > 1 ? n / divisor : '')).join('')
}

/** Row and column of each element in the periodic table; the f block is below it. */
export function placeOf(z: number): [number, number] {
  if (z >= 57 && z <= 71) return [8, z - 54]
  if (z >= 89 && z <= 103) return [9, z - 86]
  const starts = [1, 3, 11, 19, 37, 55, 87]
  const period = starts.findLastIndex((s) => z >= s) + 1
  const at = z - starts[period - 1]
  const left = period === 1 ? 1 : 2
  if (at < left) return [period, at + 1]
  const next = starts[period] ?? 119
  return [period, 18 - (next - 1 - z)]
}
