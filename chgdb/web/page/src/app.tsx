// The page: opens its source, shows the screen that the address names.
import { options, render } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import './style.css'
import { Session, setWorker } from './session'
import { InlineSource } from './store/inline'
import { RestSource } from './store/rest'
import type { Source } from './store/source'
import { StoreSource } from './store/store'
import { traffic } from './store/transport'
import { ApiScreen } from './ui/api'
import { CatalogScreen } from './ui/catalog'
import { CompareScreen } from './ui/compare'
import { type Config, readConfig } from './ui/config'
import { FileScreen } from './ui/file'
import { MaterialScreen } from './ui/material'
import { address, type Route, useRoute } from './ui/route'
import { widget } from './widget'

function open(config: Config): Promise<Source> {
  if (config.record) return Promise.resolve(new InlineSource(config.record))
  const api = config.api && new URL(config.api, document.baseURI).href
  return config.store ? StoreSource.open(config.store, api) : RestSource.open(config.api!)
}

function App({ config, source }: { config: Config; source: Source }) {
  const route = useRoute()
  useEffect(() => {
    document.title = [route.id, route.screen && route.screen !== 'material' ? route.screen : '', 'chgdb']
      .filter(Boolean)
      .join(' · ')
    // A reader begins at the new screen, not at the link that led to it. Whoever is in it already stays there.
    const main = document.getElementById('main')
    const focused = document.activeElement
    if (route.screen && focused !== document.body && !main?.contains(focused)) main?.focus()
  }, [route.screen, route.id])
  return (
    <>
      <a class="skip" href="#main" onClick={(e) => (e.preventDefault(), document.getElementById('main')?.focus())}>
        To the content
      </a>
      <header>
        <a class="brand" href="#/">
          chgdb
        </a>
        {!config.record && <Navigation config={config} route={route} />}
      </header>
      <Screen config={config} source={source} route={route} />
    </>
  )
}

function Navigation({ config, route }: { config: Config; route: Route }) {
  const links: [string, string][] = [
    ['', 'Catalog'],
    ['compare', 'Compare'],
    ['file', 'Your file'],
  ]
  if (config.api) links.push(['api', 'REST API'])
  return (
    <nav aria-label="Screens">
      {links.map(([screen, name]) => (
        <a key={screen} href={address(screen)} aria-current={route.screen === screen ? 'page' : undefined}>
          {name}
        </a>
      ))}
    </nav>
  )
}

function Screen({ config, source, route }: { config: Config; source: Source; route: Route }) {
  if (config.record)
    return <MaterialScreen source={source} config={config} route={{ ...route, id: config.record.id }} />
  if (route.screen === 'material' && route.id) return <MaterialScreen source={source} config={config} route={route} />
  if (route.screen === 'compare') return <CompareScreen source={source} route={route} />
  if (route.screen === 'file') return <FileScreen config={config} />
  if (route.screen === 'api' && config.api) return <ApiScreen api={config.api} />
  if (route.screen === '') return <CatalogScreen source={source} route={route} />
  return (
    <main id="main" tabIndex={-1}>
      <h1>There is no such screen</h1>
      <p>
        <a href="#/">To the catalog</a>
      </p>
    </main>
  )
}

function Start() {
  const [state, setState] = useState<{ config: Config; source: Source } | string>('')
  useEffect(() => {
    const begin = async () => {
      const config = await readConfig()
      const worker = document.getElementById('chgdb-worker')?.textContent
      setWorker(worker ? { text: worker } : { url: new URL('worker.js', document.baseURI).href })
      setState({ config, source: await open(config) })
    }
    begin().catch((error) => setState(error instanceof Error ? error.message : String(error)))
  }, [])
  if (typeof state !== 'string') return <App {...state} />
  return (
    <main id="main" tabIndex={-1}>
      <h1>chgdb</h1>
      {state ? (
        <p class="error" role="alert">
          {state}
        </p>
      ) : (
        <p role="status">Opening the store …</p>
      )}
    </main>
  )
}

// What follows a change need not wait for a frame: a busy machine, or a tab behind others, has few of them.
;(options as { requestAnimationFrame?: (run: () => void) => void }).requestAnimationFrame = (run) => setTimeout(run)

const root = document.getElementById('chgdb-app')
if (root) {
  // A file that is dropped beside its place would be opened by the browser instead of the page.
  for (const kind of ['dragover', 'drop'])
    addEventListener(kind, (event) => {
      if ((event.target as Element).closest?.('.drop')) return
      event.preventDefault()
      ;(event as DragEvent).dataTransfer!.dropEffect = 'none'
    })
  render(<Start />, root)
}

/** In a notebook, by anywidget: what chgdb/web/widget.py sends. */
export default { render: widget }
/** For other pages: `import('…/app.js')`, then open a store and decode what it holds. */
export { Session, StoreSource, traffic }
