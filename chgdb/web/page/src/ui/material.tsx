// One material of the catalog: picture, values, where they come from, files.
import { useEffect, useState } from 'preact/hooks'
import { parameters, volumeOf } from '../field/density'
import { formulaOf } from '../elements'
import { Session } from '../session'
import type { RecordBytes, Source } from '../store/source'
import { PREDICTED } from '../store/source'
import type { Meta } from '../worker'
import type { Config } from './config'
import { Downloads } from './downloads'
import { Explorer } from './explorer'
import { bytes, INTERVAL, percent, short, UNITS, withStd } from './numbers'
import { oneFile } from './onefile'
import { reconstruction } from './latent'
import { address, parse, remember, type Route } from './route'
import { fromQuery, toQuery, type ViewState } from './state'

export interface Loaded {
  session: Session
  meta: Meta
  record: RecordBytes
}

export const errorLine = (r: RecordBytes) =>
  r.tolerance === 0
    ? `Lossless; stored in ${bytes(r.stored)}`
    : `NMAE ${percent(r.nmae)} (tolerance ${percent(r.tolerance)}), largest error ${short(r.maxError, 3)} e/Å³; stored in ${bytes(r.stored)}`

/** A record, opened in a worker of its own; the coarse picture first. Nothing for an id of ''. */
export function useRecord(source: Source, id: string): { loaded?: Loaded; problem: string } {
  const [loaded, setLoaded] = useState<Loaded>()
  const [problem, setProblem] = useState('')
  useEffect(() => {
    setLoaded(undefined)
    setProblem('')
    if (!id) return
    const session = new Session()
    let gone = false
    const run = async () => {
      const record = await source.record(id)
      if (gone) return
      session.onPreview = (meta) => !gone && setLoaded({ session, meta, record })
      const meta = await session.ask('record', { payload: record.payload, priors: record.priors, id })
      if (!gone) setLoaded({ session, meta, record })
    }
    run().catch((error) => {
      if (gone) return
      setLoaded(undefined)
      setProblem(error.message.includes(id) ? error.message : `${id}: ${error.message}`)
    })
    return () => {
      gone = true
      session.close()
    }
  }, [source, id])
  return { loaded, problem }
}

export function MaterialScreen({ source, config, route }: { source: Source; config: Config; route: Route }) {
  const { id } = route
  const { loaded, problem } = useRecord(source, id)
  const [facts, setFacts] = useState<Record<string, number | string>>()
  const [latent, setLatent] = useState('')
  const [unread, setUnread] = useState('')
  const row = loaded?.record.row
  const [drawn, setDrawn] = useState(false)
  useEffect(() => {
    setDrawn(false)
    const late = setTimeout(() => setDrawn(true), 1500)
    return () => clearTimeout(late)
  }, [id])
  useEffect(() => {
    setFacts(undefined)
    setUnread('')
    // After the picture: it takes a request a column.
    if (row !== undefined && drawn) source.facts(row).then(setFacts, (error) =>
        setUnread(error.message.includes(id) ? error.message : `${id}: ${error.message}`),
      )
  }, [source, id, row, drawn])
  const [extended, setExtended] = useState<Meta>()
  useEffect(() => setExtended(undefined), [loaded?.meta])
  if (problem)
    return (
      <main id="main" tabIndex={-1}>
        <h1>{id}</h1>
        <p class="error" role="alert">
          {problem}
        </p>
      </main>
    )
  if (!loaded)
    return (
      <main id="main" tabIndex={-1} aria-busy="true">
        <h1>{id}</h1>
        <p role="status">Reading …</p>
      </main>
    )
  const { session, record } = loaded
  const meta = extended ?? loaded.meta
  const formula = String(facts?.formula ?? formulaOf(meta.numbers))
  const addLatent = async () => {
    setLatent('The server decodes the latent …')
    try {
      const { values, nmae } = await reconstruction(source.api!, id, meta.grid)
      await session.ask('add', { kind: 'latent', values })
      const total = await session.ask('values', { kind: 'total' })
      setExtended(await session.ask('add', { kind: 'latent error', values: values.map((v, i) => v - total[i]) }))
      setLatent(`Latent: NMAE ${percent(nmae)} to the stored density; choose it under Show.`)
    } catch (error) {
      setLatent(error instanceof Error ? error.message : String(error))
    }
  }
  /** Not where the address names another screen by now. */
  const keep = (state: ViewState, start: number) => {
    const now = parse(location.hash)
    if (now.screen === 'material' && now.id === id) remember(address('material', id, toQuery(state, start)))
  }
  return (
    <main id="main" tabIndex={-1} data-id={id} data-row={record.row}>
      <h1>
        {formula} <small>{id}</small>
      </h1>
      <Explorer
        key={id}
        session={session}
        meta={meta}
        title={`${id} ${formula}`}
        error={errorLine(record)}
        initial={fromQuery(route.query)}
        onDrawn={() => setDrawn(true)}
        onState={config.record ? undefined : keep}
      >
        <Downloads
          session={session}
          id={id}
          formula={formula}
          structureOnly={false}
          html={() => oneFile(source, record, config)}
        />
        {Number.isFinite(facts?.latent_nmae as number) && (
          <section class="panel" aria-label="Latent">
            <h2>Latent tensor</h2>
            <p>The autoencoder's reconstruction differs by NMAE {percent(facts!.latent_nmae as number)}.</p>
            {config.server?.latents && source.api && !meta.kinds.includes('latent') && (
              <button type="button" onClick={addLatent}>
                Show the reconstruction
              </button>
            )}
            {!config.server?.latents && (
              <p class="note">To see it: chgdb web with torch, or chgdb fetch {id} --decode --codec autoencoder</p>
            )}
            <p class="note" role="status">
              {latent}
            </p>
          </section>
        )}
      </Explorer>
      <div class="cards">
        <CrystalCard meta={meta} facts={facts} />
        {facts && <Provenance source={source} facts={facts} record={record} />}
        {facts ? (
          <Properties source={source} facts={facts} />
        ) : unread ? (
          <p class="error" role="alert">
            {unread}
          </p>
        ) : (
          <p role="status">Reading what else is known …</p>
        )}
      </div>
      {!config.record && (
        <p class="buttons">
          <a href={address('compare', '', { a: id })}>Compare with another material or file</a>
        </p>
      )}
    </main>
  )
}

export function CrystalCard({ meta, facts }: { meta: Meta; facts?: Record<string, number | string> }) {
  const [a, b, c, alpha, beta, gamma] = parameters(meta.cell)
  const rows: [string, string][] = [
    ['a, b, c', `${[a, b, c].map((x) => x.toFixed(4)).join(', ')} Å`],
    ['α, β, γ', `${[alpha, beta, gamma].map((x) => x.toFixed(2)).join(', ')}°`],
    ['Volume', `${volumeOf(meta.cell).toFixed(4)} Å³`],
    ['Atoms', `${meta.numbers.length} in the cell`],
  ]
  if (facts?.space_group) rows.unshift(['Space group', `${facts.space_group}`])
  if (meta.kinds.length) {
    rows.push(
      ['Grid', meta.grid.join(' × ')],
      ['Electrons', meta.electrons.toFixed(6)],
      ['Smallest value', `${short(meta.min)} e/Å³`],
    )
  }
  return <Card title="Crystal and grid" rows={rows} />
}

export function Card({ title, rows }: { title: string; rows: [string, string][] }) {
  return (
    <section class="panel" aria-label={title}>
      <h2>{title}</h2>
      <dl>
        {rows.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </section>
  )
}

/** Columns that the other cards show, or that are no property. */
const ELSEWHERE = new Set(
  (
    'material_id formula elements space_group n_atoms volume n_electrons channels tolerance nmae max_error min_density text_bytes ' +
    'stored_bytes code functional energy_cutoff structure_source licence latent_nmae latent_spacing'
  ).split(' '),
)

const TRUTHS: Record<number, string> = { 1: 'yes', 0: 'no', '-1': 'unknown' }

function Properties({ source, facts }: { source: Source; facts: Record<string, number | string> }) {
  const known = source.columns.filter((c) => !c.name.includes('/') && !ELSEWHERE.has(c.name))
  const missing = (v: number | string | undefined) =>
    v === undefined || v === '' || (typeof v === 'number' && !Number.isFinite(v))
  const predicted = source.columns.filter((c) => c.name.startsWith(PREDICTED) && `${c.name}_std` in facts)
  const names = new Set(predicted.map((c) => c.name.slice(PREDICTED.length)))
  const rows = known.filter((c) => !missing(facts[c.name]) && !names.has(c.name))
  if (!predicted.length && !rows.length)
    return <Card title="Properties" rows={[['Known, predicted', 'none in this store']]} />
  return (
    <section class="panel wide" aria-label="Properties">
      <h2>Properties</h2>
      <div class="scroll" tabIndex={0} role="region" aria-label="Table of properties">
        <table>
          <thead>
            <tr>
              <th scope="col">Property</th>
              <th scope="col" class="number">
                Known
              </th>
              <th scope="col" class="number">
                Predicted
              </th>
              <th scope="col">90 % interval</th>
              <th scope="col">Unit</th>
              <th scope="col">Source</th>
            </tr>
          </thead>
          <tbody>
            {predicted.map((c) => {
              const name = c.name.slice(PREDICTED.length)
              const column = known.find((k) => k.name === name)
              const value = facts[c.name] as number
              const std = facts[`${c.name}_std`] as number
              const [v, s] = withStd(value, std)
              const digits = s.split('.')[1]?.length ?? 0
              const held = facts[`${c.name}_out_of_fold`] === 1
              return (
                <tr key={name} data-property={name}>
                  <th scope="row">{column?.label ?? c.label}</th>
                  <td class="number">{column && !missing(facts[name]) ? short(facts[name]) : '–'}</td>
                  <td class="number">{Number.isFinite(value) ? v : '–'}</td>
                  <td>
                    {Number.isFinite(value) &&
                      `${(value - INTERVAL * std).toFixed(digits)} to ${(value + INTERVAL * std).toFixed(digits)}`}
                  </td>
                  <td>{UNITS(c.units)}</td>
                  <td>
                    {column?.attributes.source && !missing(facts[name]) && <>{column.attributes.source}. </>}
                    Predicted by {String(c.attributes.model ?? 'a model')}
                    {held ? ', out of fold' : ', a material it was not trained on'}
                  </td>
                </tr>
              )
            })}
            {rows.map((c) => (
              <tr key={c.name} data-property={c.name}>
                <th scope="row">{c.truth ? c.label.replace(/ \(1 true.*\)$/, '') : c.label}</th>
                <td class="number">{c.truth ? TRUTHS[Number(facts[c.name])] : short(facts[c.name])}</td>
                <td class="number">–</td>
                <td />
                <td>{UNITS(c.units)}</td>
                <td>{c.attributes.source ?? ''}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {facts[`${PREDICTED}unlike_training`] === 1 && (
        <p class="note">Its density is unlike those of the training set: predictions are rough.</p>
      )}
    </section>
  )
}

function Provenance({
  source,
  facts,
  record,
}: {
  source: Source
  facts: Record<string, number | string>
  record: RecordBytes
}) {
  const names = ['code', 'functional', 'energy_cutoff', 'structure_source', 'licence', 'channels']
  const rows: [string, string][] = names
    .filter((n) => facts[n] !== undefined && facts[n] !== '' && !Number.isNaN(facts[n]))
    .map((n) => {
      const info = source.columns.find((c) => c.name === n)
      return [n === 'channels' ? n : (info?.label ?? n), `${short(facts[n])} ${UNITS(info?.units ?? '')}`.trim()]
    })
  rows.push([
    'Record',
    `${bytes(record.stored)}, ${short(Math.round(record.text / record.stored))} times less than as VASP text`,
  ])
  rows.push(['Checksum', 'verified'])
  return <Card title="Where it comes from" rows={rows} />
}
