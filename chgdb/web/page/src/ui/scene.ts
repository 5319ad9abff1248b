// The picture: atoms, bonds, the true cell, isosurfaces; repeated as often as asked.
import * as THREE from 'three'
import { OrbitControls } from 'three/addons/controls/OrbitControls.js'
import { colourOf, radiusOf } from '../elements'
import { cartesian, type Crystal, type V3 } from '../field/density'
import type { Mesh } from '../field/isosurface'

export interface Look {
  repeat: V3
  atoms: boolean
  bonds: boolean
  opacity: number
}
export interface CameraState {
  position: number[]
  up: number[]
  target: number[]
  zoom: number
}
/** More atoms or bonds than this are not drawn: a page is no place for them. */
const MOST = 20_000

export class Scene {
  private renderer: THREE.WebGLRenderer
  private scene = new THREE.Scene()
  private camera = new THREE.OrthographicCamera(-1, 1, 1, -1, 0.1, 1000)
  private controls: OrbitControls
  private crystal = new THREE.Group()
  private surfaces = new THREE.Group()
  /** Made once: three throws a shader away with the last material that uses it, and the next crystal compiled it anew. */
  private line = new THREE.LineBasicMaterial({ color: 0x7f8c9d })
  private solid = new THREE.MeshPhongMaterial({ shininess: 60 })
  private letters = ['a', 'b', 'c'].map(letter)
  private centre = new THREE.Vector3()
  private radius = 1
  private queued = false
  private observer: ResizeObserver
  frames = 0
  onMove?: (state: CameraState) => void

  /** Raises where there is no WebGL. */
  constructor(readonly canvas: HTMLCanvasElement) {
    this.renderer = new THREE.WebGLRenderer({ canvas, antialias: true, alpha: true, preserveDrawingBuffer: true })
    // Asking for errors waits until shaders are compiled, which takes weak machines long.
    this.renderer.debug.checkShaderErrors = false
    const light = new THREE.DirectionalLight(0xffffff, 2)
    light.position.set(1, 2, 3)
    this.camera.add(light)
    this.scene.add(this.crystal, this.surfaces, this.camera, new THREE.HemisphereLight(0xffffff, 0x8090a0, 2))
    // A shader that is new waits until everything before it has been drawn, which can be a large surface. So those of
    // surfaces are made with the first picture, for triangles of no area.
    const point = new THREE.BufferGeometry().setFromPoints(Array.from({ length: 3 }, () => new THREE.Vector3()))
    point.computeVertexNormals()
    for (const side of SIDES) {
      const nothing = new THREE.Mesh(point, surface(0.5, side))
      nothing.frustumCulled = false
      this.scene.add(nothing)
    }
    this.controls = new OrbitControls(this.camera, canvas)
    this.controls.addEventListener('change', () => {
      this.draw()
      this.onMove?.(this.state)
    })
    canvas.addEventListener('keydown', (event) => this.key(event))
    this.observer = new ResizeObserver(() => this.resize())
    this.observer.observe(canvas)
  }

  show(crystal: Crystal, look: Look) {
    clear(this.crystal)
    const { cell } = crystal
    const at = (f: ArrayLike<number>) => new THREE.Vector3(...cartesian(cell, f))
    const [na, nb, nc] = look.repeat
    const corners: THREE.Vector3[] = []
    const edges: THREE.Vector3[] = []
    for (let i = 0; i <= na; i++)
      for (let j = 0; j <= nb; j++)
        for (let k = 0; k <= nc; k++) {
          corners.push(at([i, j, k]))
          if (i < na) edges.push(at([i, j, k]), at([i + 1, j, k]))
          if (j < nb) edges.push(at([i, j, k]), at([i, j + 1, k]))
          if (k < nc) edges.push(at([i, j, k]), at([i, j, k + 1]))
        }
    const lines = new THREE.BufferGeometry().setFromPoints(edges)
    this.crystal.add(new THREE.LineSegments(lines, this.line))
    const centre = at([na / 2, nb / 2, nc / 2])
    const reach = Math.max(...corners.map((p) => p.distanceTo(centre)))
    // Beyond the ends of the axes, and over everything: in the middle of an edge atoms and surfaces hide them.
    const letters = this.letters.map((material, i) => {
      const end = at([0, 1, 2].map((k) => (k === i ? look.repeat[k] : 0)))
      const label = new THREE.Sprite(material)
      label.renderOrder = 3
      label.scale.setScalar(0.11 * reach)
      label.position.copy(end.clone().setLength(end.length() + 0.4 + 0.08 * reach))
      return label
    })
    this.crystal.add(...letters)
    const atoms = periodicAtoms(crystal, look.repeat)
    if (look.atoms) this.addAtoms(atoms)
    if (look.bonds) this.addBonds(atoms)
    const moved = centre.clone().sub(this.centre)
    const fresh = this.frames === 0 || moved.length() > 1e-6
    this.radius = Math.max(reach + 0.5, ...letters.map((l) => l.position.distanceTo(centre) + 0.06 * reach))
    this.centre = centre
    if (fresh) this.reset()
    this.resize()
  }

  private addAtoms(atoms: { z: number; p: THREE.Vector3 }[]) {
    const sphere = new THREE.SphereGeometry(1, 24, 16)
    const mesh = new THREE.InstancedMesh(sphere, this.solid, atoms.length)
    const matrix = new THREE.Matrix4()
    atoms.forEach(({ z, p }, n) => {
      const r = 0.15 + 0.18 * radiusOf(z)
      mesh.setMatrixAt(n, matrix.makeScale(r, r, r).setPosition(p))
      mesh.setColorAt(n, new THREE.Color(colourOf(z)))
    })
    this.crystal.add(mesh)
  }

  private addBonds(atoms: { z: number; p: THREE.Vector3 }[]) {
    const bonds: [THREE.Vector3, THREE.Vector3][] = []
    if (atoms.length > 1500) return
    for (let i = 0; i < atoms.length && bonds.length < MOST; i++)
      for (let j = i + 1; j < atoms.length; j++) {
        const d = atoms[i].p.distanceTo(atoms[j].p)
        if (d > 0.4 && d < 1.15 * (radiusOf(atoms[i].z) + radiusOf(atoms[j].z))) bonds.push([atoms[i].p, atoms[j].p])
      }
    if (!bonds.length) return
    const stick = new THREE.CylinderGeometry(0.07, 0.07, 1, 10)
    const mesh = new THREE.InstancedMesh(stick, this.solid, bonds.length)
    const colour = new THREE.Color(0x9aa4b0)
    const y = new THREE.Vector3(0, 1, 0)
    bonds.forEach(([p, q], n) => {
      const d = q.clone().sub(p)
      const turn = new THREE.Quaternion().setFromUnitVectors(y, d.clone().normalize())
      const middle = p.clone().add(q).multiplyScalar(0.5)
      mesh.setMatrixAt(n, new THREE.Matrix4().compose(middle, turn, new THREE.Vector3(1, d.length(), 1)))
      mesh.setColorAt(n, colour) // as atoms have: the same shader
    })
    this.crystal.add(mesh)
  }

  setSurfaces(meshes: { mesh: Mesh; colour: string }[], crystal: Crystal, look: Look) {
    this.clearSurfaces()
    for (const { mesh, colour } of meshes) {
      const geometry = new THREE.BufferGeometry()
      geometry.setAttribute('position', new THREE.BufferAttribute(mesh.positions, 3))
      geometry.setAttribute('normal', new THREE.BufferAttribute(mesh.normals, 3))
      geometry.setIndex(new THREE.BufferAttribute(mesh.indices, 1))
      // Far sides first, so that near ones lie over them.
      for (const side of SIDES) {
        const material = surface(look.opacity, side, colour)
        for (let i = 0; i < look.repeat[0]; i++)
          for (let j = 0; j < look.repeat[1]; j++)
            for (let k = 0; k < look.repeat[2]; k++) {
              const part = new THREE.Mesh(geometry, material)
              part.position.set(...cartesian(crystal.cell, [i, j, k]))
              part.renderOrder = side === THREE.BackSide ? 1 : 2
              this.surfaces.add(part)
            }
      }
    }
    this.draw()
  }

  private clearSurfaces() {
    for (const part of this.surfaces.children as THREE.Mesh[]) (part.material as THREE.Material).dispose()
    clear(this.surfaces)
  }

  /** The view along which a user begins. */
  reset() {
    this.controls.target.copy(this.centre)
    this.camera.up.set(0, 0, 1)
    this.camera.zoom = 1
    this.camera.position.copy(this.centre).add(new THREE.Vector3(1.4, -2.6, 1.1).setLength(this.radius * 4))
    this.controls.update()
    this.resize()
  }

  get state(): CameraState {
    const { position, up, zoom } = this.camera
    return {
      position: position.clone().sub(this.centre).normalize().toArray(),
      up: up.toArray(),
      target: this.controls.target.clone().sub(this.centre).toArray(),
      zoom,
    }
  }
  /** Look from where another picture is looked at. */
  set state(state: CameraState) {
    this.controls.target.fromArray(state.target).add(this.centre)
    this.camera.position
      .fromArray(state.position)
      .multiplyScalar(this.radius * 4)
      .add(this.centre)
    this.camera.up.fromArray(state.up)
    this.camera.zoom = state.zoom
    this.camera.lookAt(this.controls.target)
    this.camera.updateProjectionMatrix()
    this.draw()
  }

  private key(event: KeyboardEvent) {
    const turns: Record<string, V3> = {
      ArrowLeft: [-0.15, 0, 1],
      ArrowRight: [0.15, 0, 1],
      ArrowUp: [0, -0.15, 1],
      ArrowDown: [0, 0.15, 1],
      '+': [0, 0, 1.15],
      '-': [0, 0, 1 / 1.15],
    }
    const turn = turns[event.key]
    if (!turn || event.ctrlKey || event.metaKey) return
    event.preventDefault()
    const offset = this.camera.position.clone().sub(this.controls.target)
    // The spherical coordinates of three have y up, the picture z.
    const swap = new THREE.Quaternion().setFromUnitVectors(this.camera.up, new THREE.Vector3(0, 1, 0))
    const s = new THREE.Spherical().setFromVector3(offset.applyQuaternion(swap))
    s.theta += turn[0]
    s.phi = Math.min(3.1, Math.max(0.05, s.phi + turn[1]))
    this.camera.position.setFromSpherical(s).applyQuaternion(swap.invert()).add(this.controls.target)
    this.camera.zoom *= turn[2]
    this.camera.updateProjectionMatrix()
    this.controls.update()
    this.draw()
    this.onMove?.(this.state)
  }

  private resize() {
    const { clientWidth: w, clientHeight: h } = this.canvas
    if (!w || !h) return
    this.renderer.setPixelRatio(Math.min(2, devicePixelRatio))
    this.renderer.setSize(w, h, false)
    const r = this.radius * 1.05,
      s = w / h
    const right = r * Math.max(1, s),
      top = r * Math.max(1, 1 / s)
    Object.assign(this.camera, { left: -right, right, top, bottom: -top, near: 0.01, far: this.radius * 12 })
    this.camera.updateProjectionMatrix()
    this.draw()
  }

  private draw() {
    if (this.queued) return
    this.queued = true
    requestAnimationFrame(() => {
      this.queued = false
      this.renderer.render(this.scene, this.camera)
      this.frames++
    })
  }

  /** Å from the left to the right edge. */
  get span(): number {
    return (this.camera.right - this.camera.left) / this.camera.zoom
  }

  close() {
    this.observer.disconnect()
    this.controls.dispose()
    clear(this.crystal)
    this.clearSurfaces()
    for (const material of [this.line, this.solid, ...this.letters]) material.dispose()
    this.renderer.dispose()
    this.renderer.forceContextLoss()
  }
}

const SIDES = [THREE.BackSide, THREE.FrontSide] as const

/** `transparent` of opaque ones, too, which would need shaders of their own. */
function surface(opacity: number, side: THREE.Side, color = '#fff'): THREE.MeshPhongMaterial {
  return new THREE.MeshPhongMaterial({ color, transparent: true, opacity, side, depthWrite: opacity === 1, shininess: 40 })
}

function clear(group: THREE.Group) {
  for (const child of group.children) {
    if (child instanceof THREE.Sprite) continue // their geometry is that of all sprites
    const { geometry } = child as THREE.Mesh
    geometry.dispose()
    if (child instanceof THREE.InstancedMesh) child.dispose()
  }
  group.clear()
}

/** Atoms in the cells shown; those on a face are on the opposite one, too. */
function periodicAtoms(crystal: Crystal, repeat: V3): { z: number; p: THREE.Vector3 }[] {
  const out: { z: number; p: THREE.Vector3 }[] = []
  crystal.numbers.forEach((z, n) => {
    const f = [0, 1, 2].map((k) => {
      const x = crystal.positions[3 * n + k]
      return x - Math.floor(x + 1e-4)
    })
    const images = f.map((x, k) => Array.from({ length: repeat[k] + (Math.abs(x) < 1e-3 ? 1 : 0) }, (_, i) => i))
    for (const i of images[0])
      for (const j of images[1])
        for (const k of images[2]) {
          if (out.length >= MOST) return
          out.push({ z, p: new THREE.Vector3(...cartesian(crystal.cell, [f[0] + i, f[1] + j, f[2] + k])) })
        }
  })
  return out
}

function letter(text: string): THREE.SpriteMaterial {
  const canvas = document.createElement('canvas')
  canvas.width = canvas.height = 64
  const context = canvas.getContext('2d')!
  context.font = 'italic bold 56px serif'
  context.textAlign = 'center'
  context.textBaseline = 'middle'
  context.fillStyle = '#6b7a8c'
  context.fillText(text, 32, 32)
  const map = new THREE.CanvasTexture(canvas)
  map.colorSpace = THREE.SRGBColorSpace
  return new THREE.SpriteMaterial({ map, depthTest: false })
}
