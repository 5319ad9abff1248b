// A file of the user, read in the browser; a server can predict from it and pack it.
import { useEffect, useRef, useState } from 'preact/hooks'
import { formulaOf } from '../elements'
import type { V3 } from '../field/density'
import { Session } from '../session'
import type { Meta } from '../worker'
import { answer } from '../store/rest'
import type { Config } from './config'
import { Downloads } from './downloads'
import { Explorer } from './explorer'
import { CrystalCard } from './material'
import { bytes, INTERVAL, percent, UNITS, withStd } from './numbers'

export interface Opened {
  session: Session
  meta: Meta
  file: File
  /** What is to be known of a density that is not the file's own. */
  note?: string
}

/** In a worker of its own. */
export async function openFile(file: File): Promise<Opened> {
  const session = new Session()
  try {
    return { session, file, meta: await session.ask('file', { file }) }
  } catch (error) {
    session.close()
    throw error
  }
}

export function DropZone({ onFile, label }: { onFile: (file: File) => void; label: string }) {
  const [over, setOver] = useState(false)
  return (
    <div
      class={`drop ${over ? 'over' : ''}`}
      onDragOver={(e) => {
        e.preventDefault()
        setOver(true)
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(e) => {
        e.preventDefault()
        setOver(false)
        const file = e.dataTransfer?.files[0]
        if (file) onFile(file)
      }}
    >
      <label>
        {label}
        <input
          type="file"
          name="file"
          onClick={(e) => {
            e.currentTarget.value = '' // the same file, chosen again, may have changed
          }}
          onChange={(e) => {
            const file = e.currentTarget.files?.[0]
            if (file) onFile(file)
          }}
        />
      </label>
      <p class="note">CHGCAR, CHG, PARCHG, cube, POSCAR or CIF, also as .gz. It does not leave this computer.</p>
    </div>
  )
}

export function FileScreen({ config }: { config: Config }) {
  const [opened, setOpened] = useState<Opened>()
  const [problem, setProblem] = useState('')
  const [busy, setBusy] = useState(false)
  useEffect(() => () => opened?.session.close(), [opened?.session])
  const turn = useRef(0)
  const open = async (file: File) => {
    const mine = ++turn.current
    setBusy(true)
    setProblem('')
    setOpened(undefined)
    // Of files that come while one is read the last counts.
    try {
      const found = await openFile(file)
      if (mine !== turn.current) return found.session.close()
      setOpened(found)
    } catch (error) {
      if (mine !== turn.current) return
      setProblem(error instanceof Error ? error.message : String(error))
    }
    setBusy(false)
  }
  const meta = opened?.meta
  return (
    <main id="main" tabIndex={-1} data-file={opened?.file.name}>
      <h1>Your file</h1>
      <DropZone onFile={open} label="Drop a file here, or choose one" />
      <p role="status">{busy ? 'Reading …' : ''}</p>
      {problem && (
        <p class="error" role="alert">
          {problem}
        </p>
      )}
      {opened && meta && (
        <>
          <h2>
            {formulaOf(meta.numbers)} <small>{opened.file.name}</small>
          </h2>
          <Explorer
            key={opened.file.name + opened.file.lastModified}
            session={opened.session}
            meta={meta}
            title={`${opened.file.name} ${formulaOf(meta.numbers)}`}
            error={
              opened.note
                ? opened.note
                : meta.kinds.length
                  ? `Exactly as in the file (${meta.format}, ${bytes(opened.file.size)})`
                  : `A structure (${meta.format}), without a density`
            }
          >
            <Downloads
              session={opened.session}
              id={opened.file.name.replace(/\.(gz|cube|cif|vasp)$/i, '')}
              formula={formulaOf(meta.numbers)}
              structureOnly={!meta.kinds.length}
            />
            {config.api && config.server?.estimate && (!meta.kinds.length || opened.note) && (
              <Estimate api={config.api} opened={opened} onDone={setOpened} />
            )}
            {config.api && config.server && <OnServer config={config} opened={opened} />}
            {!config.api && <p class="note">Predictions need the server: chgdb web, or chgdb predict.</p>}
          </Explorer>
          <div class="cards">
            <CrystalCard meta={meta} />
          </div>
        </>
      )}
    </main>
  )
}

/** The density of a structure, without DFT: the server's model of what bonds change. */
function Estimate({ api, opened, onDone }: { api: string; opened: Opened; onDone: (opened: Opened) => void }) {
  const [busy, setBusy] = useState(false)
  const [problem, setProblem] = useState('')
  const { meta, session } = opened
  const run = async () => {
    setBusy(true)
    setProblem('')
    try {
      const rows = (values: ArrayLike<number>) =>
        Array.from({ length: values.length / 3 }, (_, i) => [values[3 * i], values[3 * i + 1], values[3 * i + 2]])
      const structure = { cell: rows(meta.cell), numbers: meta.numbers, positions: rows(meta.positions) }
      const response = await answer(new URL(`${api}estimate`, document.baseURI).href, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(structure),
      })
      const grid = response.headers.get('x-chgdb-grid')!.split('x').map(Number) as V3
      const total = new Float64Array(await response.arrayBuffer())
      const { cell, numbers, positions } = meta
      const found = await session.ask('density', {
        cell,
        numbers,
        positions,
        grid,
        channels: { total },
        format: 'estimated',
      })
      onDone({ ...opened, meta: found, note: response.headers.get('x-chgdb-summary') ?? 'estimated, not computed' })
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error))
    }
    setBusy(false)
  }
  return (
    <section class="panel" aria-label="Estimate">
      <h2>A density without DFT</h2>
      <p class="note">A model adds to the superposition of atoms what bonds change. The structure goes to chgdb web.</p>
      <button type="button" disabled={busy} onClick={run}>
        Estimate the density
      </button>
      <p class="note" role="status">
        {busy ? 'Estimating …' : (opened.note ?? '')}
      </p>
      {problem && (
        <p class="error" role="alert">
          {problem}
        </p>
      )}
    </section>
  )
}

interface Predictions {
  formula: string
  model: string
  density: string
  density_error: number | null
  density_limit: number | null
  properties: Record<string, { label: string; value: number; std: number; unit: string }>
  unlike_training: string[]
}

function OnServer({ config, opened }: { config: Config; opened: Opened }) {
  const server = config.server!
  const { file, session, meta } = opened
  /** What an estimate has added is not the file's. */
  const isStructure = !meta.kinds.length || opened.note !== undefined
  const [model, setModel] = useState(server.models[0])
  const [found, setFound] = useState<Predictions>()
  const [id, setId] = useState(file.name.replace(/[^A-Za-z0-9._-]/g, '-').replace(/^[^A-Za-z0-9]+/, '') || 'mine')
  const [message, setMessage] = useState('')
  const [problem, setProblem] = useState('')
  const [busy, setBusy] = useState('')
  const run = async (what: string, work: () => Promise<void>) => {
    setBusy(what)
    setMessage('')
    setProblem('')
    try {
      if (file.size > server.limit)
        throw new Error(`the file has ${bytes(file.size)}, more than the server takes (${bytes(server.limit)})`)
      await work()
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error))
    }
    setBusy('')
  }
  const post = async (path: string, body: Blob = file) =>
    (await answer(new URL(config.api! + path, document.baseURI).href, { method: 'POST', body })).json()
  const predict = () =>
    run('Predicting', async () => {
      const path = `predict?model=${encodeURIComponent(model)}`
      if (!isStructure) return setFound(await post(path))
      // As it was read here, so that the server needs no package for CIFs.
      const poscar = await session.ask('write', { as: 'POSCAR', title: formulaOf(meta.numbers) })
      setFound(await post(`${path}&name=POSCAR`, poscar))
    })
  const pack = () =>
    run('Packing', async () => {
      const done = await post(`pack?material_id=${encodeURIComponent(id)}`)
      setMessage(`${done.material_id} is in ${done.store}: NMAE ${percent(done.nmae)}, ${bytes(done.stored_bytes)}`)
    })
  return (
    <section class="panel" aria-label="Predict and pack">
      <h2>Properties</h2>
      <p class="note">
        {isStructure
          ? 'Of a density that is estimated from the structure, which goes to chgdb web.'
          : 'Both send the file to chgdb web, on this computer unless it was started elsewhere.'}
      </p>
      <form
        class="pair"
        onSubmit={(e) => {
          e.preventDefault()
          void predict()
        }}
      >
        <label>
          Model
          <select name="model" value={model} onChange={(e) => setModel(e.currentTarget.value)}>
            {server.models.map((m) => (
              <option key={m} value={m}>
                {m}
              </option>
            ))}
          </select>
        </label>
        <button type="submit" disabled={busy !== ''}>
          Predict
        </button>
      </form>
      {found && <PredictionTable found={found} />}
      {server.pack && !isStructure && (
        <form
          class="pair"
          onSubmit={(e) => {
            e.preventDefault()
            void pack()
          }}
        >
          <label>
            Id in the store {server.pack}
            <input name="id" value={id} onInput={(e) => setId(e.currentTarget.value)} />
          </label>
          <button type="submit" disabled={busy !== ''}>
            Pack into the store
          </button>
        </form>
      )}
      <p class="note" role="status">
        {busy ? `${busy} …` : message}
      </p>
      {problem && (
        <p class="error" role="alert">
          {problem}
        </p>
      )}
    </section>
  )
}

function PredictionTable({ found }: { found: Predictions }) {
  return (
    <>
      <table class="predictions">
        <caption class="note">
          {found.formula}, by {found.model}
          {found.density === 'estimated' &&
            `, of an estimated density (NMAE of about ${percent(found.density_error ?? NaN)}, in 9 of 10 below ${percent(found.density_limit ?? NaN)})`}
        </caption>
        <thead>
          <tr>
            <th scope="col">Property</th>
            <th scope="col" class="number">
              Value
            </th>
            <th scope="col">90 % interval</th>
            <th scope="col">Unit</th>
          </tr>
        </thead>
        <tbody>
          {Object.entries(found.properties).map(([name, { label, value, std, unit }]) => {
            const [v, s] = withStd(value, std)
            const digits = s.split('.')[1]?.length ?? 0
            return (
              <tr key={name} data-predicted={name} data-value={value} data-std={std}>
                <th scope="row">{label}</th>
                <td class="number">{v}</td>
                <td>{`${(value - INTERVAL * std).toFixed(digits)} to ${(value + INTERVAL * std).toFixed(digits)}`}</td>
                <td>{UNITS(unit)}</td>
              </tr>
            )
          })}
        </tbody>
      </table>
      {found.unlike_training.map((remark) => (
        <p key={remark} class="note">
          Unlike the training set: {remark}
        </p>
      ))}
    </>
  )
}
