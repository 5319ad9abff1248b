// Builds ../static from src: the same bytes from the same sources, on any machine.
import { build } from 'esbuild'
import { copyFile, mkdir, readFile } from 'node:fs/promises'
import { gzipSync } from 'node:zlib'
import { trimmed } from './trim.mjs'

const out = new URL('../static/', import.meta.url).pathname
await mkdir(out, { recursive: true })
const common = {
  absWorkingDir: new URL('.', import.meta.url).pathname,
  bundle: true,
  minify: true,
  legalComments: 'none',
  charset: 'utf8',
  target: 'es2022',
  jsx: 'automatic',
  jsxImportSource: 'preact',
  plugins: [trimmed],
  alias: {
    // fzstd's package names its module only for bundlers of old.
    fzstd: './node_modules/fzstd/esm/index.mjs',
    // The sources, module by module, so that parts can be left out.
    'three/addons': './node_modules/three/examples/jsm',
    three: './node_modules/three/src/Three.js',
  },
}
await build({ ...common, entryPoints: { app: 'src/app.tsx' }, format: 'esm', outdir: out })
await build({ ...common, entryPoints: { worker: 'src/worker.ts' }, format: 'iife', outdir: out })
await copyFile(new URL('src/index.html', import.meta.url), `${out}index.html`)
for (const name of ['app.js', 'worker.js', 'app.css', 'index.html']) {
  const bytes = await readFile(out + name)
  console.log(name, bytes.length, gzipSync(bytes, { level: 9 }).length, 'gzip')
}
