// The state of a screen is in the address: a link shows what its sender saw.
import { useEffect, useState } from 'preact/hooks'

export interface Route {
  screen: string
  id: string
  query: URLSearchParams
}

export function parse(hash: string): Route {
  const [path, query = ''] = hash.replace(/^#\/?/, '').split(/\?(.*)/s)
  const slash = path.indexOf('/')
  const screen = slash < 0 ? path : path.slice(0, slash)
  let id = slash < 0 ? '' : path.slice(slash + 1)
  try {
    id = decodeURIComponent(id)
  } catch {
    // what is no encoded text is taken as it stands
  }
  return { screen, id, query: new URLSearchParams(query) }
}

export function address(screen: string, id = '', query: Record<string, string | undefined> = {}): string {
  const set = Object.entries(query).filter((pair): pair is [string, string] => !!pair[1])
  const text = new URLSearchParams(set).toString()
  return `#/${screen}${id ? '/' + encodeURIComponent(id) : ''}${text ? '?' + text : ''}`
}

export function useRoute(): Route {
  const [route, setRoute] = useState(() => parse(location.hash))
  useEffect(() => {
    const changed = () => setRoute(parse(location.hash))
    addEventListener('hashchange', changed)
    return () => removeEventListener('hashchange', changed)
  }, [])
  return route
}

/** Keep the state in the address without a step in the history. */
export function remember(hash: string) {
  if (hash !== location.hash) history.replaceState(null, '', hash)
}
