// Parts of three.js that this page never runs: physical materials, shadows, environments, virtual reality.
// Their shader texts and modules are left out of the bundle; what is left of them answers "not in use".
const SHADERS =
  /^(lights_physical|lights_toon|lights_lambert|shadowmap_pars_fragment|shadowmap_pars_vertex|shadowmap_vertex|shadowmask|transmission|iridescence|clearcoat|envmap_|lightprobes|metalnessmap|roughnessmap|skin|morph|displacementmap|gradientmap|bumpmap|batching|logdepthbuf|fog_|alphahash|dithering)/
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
}

export const trimmed = {
  name: 'trimmed',
  setup(build) {
    build.onLoad({ filter: /three[\\/]src[\\/].*\.js$/ }, ({ path }) => {
      const name = path.split(/[\\/]/).at(-1)
      if (path.includes('ShaderChunk') && SHADERS.test(name)) return { contents: "export default ''" }
      if (path.includes('ShaderLib') && LIBRARY.test(name))
        return { contents: "export const vertex = ''; export const fragment = ''" }
      return MODULES[name] && { contents: MODULES[name], resolveDir: path.slice(0, -name.length) }
    })
  },
}
