// Parts of three.js that this page never runs: physical materials, shadows, environments, virtual reality, post-processing.
// Their shader texts and modules are left out of the bundle; what is left of them answers "not in use".
import { readFile } from 'node:fs/promises'
import { edgeTable, triTable } from 'three/addons/objects/MarchingCubes.js'

const SHADERS =
  /^(lights_physical|lights_toon|lights_lambert|lights_fragment_maps|shadowmap_pars_fragment|shadowmap_pars_vertex|shadowmap_vertex|shadowmask|transmission|iridescence|clearcoat|envmap_|lightprobes|metalnessmap|roughnessmap|skin|morph|displacementmap|gradientmap|bumpmap|normalmap_pars|emissivemap|aomap|lightmap|batching|logdepthbuf|fog_|alphahash|dithering|clipping_planes|tonemapping_pars|packing)/
const LIBRARY = /^(background|backgroundCube|cube|depth|distance|equirect|linedashed|meshlambert|meshmatcap|meshnormal|meshphysical|meshtoon|points|shadow|vsm)\.glsl/
const MODULES = {
  'PMREMGenerator.js': 'export class PMREMGenerator {}',
  'WebXRManager.js': `import { EventDispatcher } from '../../core/EventDispatcher.js'
export class WebXRManager extends EventDispatcher {
  enabled = false
  isPresenting = false
  getEnvironmentBlendMode() {}
  setAnimationLoop() {}
  dispose() {}
}`,
  'WebGLShadowMap.js': 'export class WebGLShadowMap { enabled = false; render() {} }',
  'DFGLUTData.js': 'export const getDFGLUT = () => null',
  'WebGLEnvironments.js': 'export class WebGLEnvironments { get(texture) { return texture ?? null } dispose() {} }',
  'WebGLMorphtargets.js': 'export class WebGLMorphtargets { update() {} }',
  'WebGLUniformsGroups.js': 'export class WebGLUniformsGroups { bind() {} update() {} dispose() {} }',
  'WebGLOutput.js': 'export class WebGLOutput {}',
  'WebGLCubeRenderTarget.js': 'export class WebGLCubeRenderTarget {}',
  'DirectionalLightShadow.js': 'export class DirectionalLightShadow { dispose() {} }',
  'FrustumArray.js': 'export class FrustumArray {}',
  // The canvas is cleared; there is nothing behind the scene.
  'WebGLBackground.js': `export class WebGLBackground {
  constructor(renderer, environments, { buffers }) {
    this.render = () => {
      buffers.color.setClear(0, 0, 0, 0, true)
      buffers.depth.setTest(true)
      buffers.depth.setMask(true)
      buffers.color.setMask(true)
      renderer.clear(true, true, true)
    }
  }
  addToRenderList() {}
  dispose() {}
}`,
  'MarchingCubes.js': tables(),
}

/** The tables of marching cubes, without the rest of their module: triangles as one text, edges found from them. */
function tables() {
  const rows = Array.from({ length: 256 }, (_, kind) =>
    Array.from(triTable.subarray ? triTable.subarray(16 * kind, 16 * kind + 16) : triTable.slice(16 * kind, 16 * kind + 16)),
  ).map((row) => row.filter((edge) => edge >= 0))
  rows.forEach((row, kind) => {
    if (row.reduce((edges, edge) => edges | (1 << edge), 0) !== edgeTable[kind])
      throw new Error(`the tables of marching cubes disagree in row ${kind}`)
  })
  return `export const triTable = new Int8Array(4096).fill(-1)
export const edgeTable = new Uint16Array(256)
'${rows.map((row) => row.map((edge) => edge.toString(16)).join('')).join(' ')}'.split(' ').forEach((row, kind) =>
  [...row].forEach((letter, n) => {
    const edge = parseInt(letter, 16)
    triTable[16 * kind + n] = edge
    edgeTable[kind] |= 1 << edge
  }),
)`
}

/** Without comments and indentation. */
const shortened = (glsl) =>
  glsl
    .replace(/\/\*[^]*?\*\//g, '')
    .replace(/\/\/.*$/gm, '')
    .replace(/\s*\n\s*/g, '\n')

export const trimmed = {
  name: 'trimmed',
  setup(build) {
    build.onLoad({ filter: /three[\\/](src|examples)[\\/].*\.js$/ }, async ({ path }) => {
      const name = path.split(/[\\/]/).at(-1)
      if (path.includes('ShaderChunk') && SHADERS.test(name)) return { contents: "export default ''" }
      if (path.includes('ShaderLib') && LIBRARY.test(name))
        return { contents: "export const vertex = ''; export const fragment = ''" }
      if (name.endsWith('.glsl.js')) return { contents: shortened(await readFile(path, 'utf8')) }
      return MODULES[name] && { contents: MODULES[name], resolveDir: path.slice(0, -name.length) }
    })
  },
}
