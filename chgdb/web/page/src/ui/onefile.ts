// Viewer and record in one HTML file that opens from a disk or a mail, without any server.
import type { RecordBytes, Source } from '../store/source'
import { base64, type Config } from './config'

/** What the page itself was loaded from. */
export async function ownFiles(): Promise<{ script: string; style: string; worker: string }> {
  const inPage = (id: string) => document.getElementById(id)?.textContent ?? undefined
  const script = inPage('chgdb-script')
  if (script) return { script, style: inPage('chgdb-style') ?? '', worker: inPage('chgdb-worker') ?? '' }
  const text = async (name: string) => (await fetch(new URL(name, document.baseURI))).text()
  const [a, b, c] = await Promise.all(['app.js', 'app.css', 'worker.js'].map(text))
  return { script: a, style: b, worker: c }
}

export async function oneFile(source: Source, record: RecordBytes, config: Config): Promise<Blob> {
  const facts = await source.facts(record.row)
  const data: Config = {
    store: '',
    title: config.title,
    version: config.version,
    record: {
      ...{ id: record.id, payload: base64(record.payload), nmae: record.nmae, maxError: record.maxError },
      ...{ tolerance: record.tolerance, stored: record.stored, text: record.text, extras: record.extras },
      priors: Object.fromEntries(
        Object.entries(record.priors).map(([id, p]) => [
          id,
          { numbers: p.numbers, coefficients: Array.from(p.coefficients) },
        ]),
      ),
      facts,
      columns: source.columns,
      attributes: source.attributes,
    },
  }
  return page(data, await ownFiles())
}

function page(config: Config, files: { script: string; style: string; worker: string }): Blob {
  // Nothing in a text may end its element.
  const safe = (text: string) => text.replace(/<(?=[/!])/g, '\\u003c')
  const code = (text: string) => text.replace(/<\/script/gi, '<\\/script').replace(/<!--/g, '<\\!--')
  const csp =
    "default-src 'none'; script-src 'unsafe-inline' blob:; style-src 'unsafe-inline'; img-src data: blob:; worker-src blob:"
  return new Blob(
    [
      '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
      `<meta http-equiv="Content-Security-Policy" content="${csp}">\n`,
      '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n',
      `<title>${(config.record?.id ?? 'chgdb').replace(/[<&]/g, '_')}</title>\n<style id="chgdb-style">${files.style}</style>\n`,
      '</head>\n<body>\n<div id="chgdb-app" class="chgdb"></div>\n',
      `<script id="chgdb-config" type="application/json">${safe(JSON.stringify(config))}</script>\n`,
      `<script id="chgdb-worker" type="text/plain">${code(files.worker)}</script>\n`,
      `<script id="chgdb-script" type="module">${code(files.script)}</script>\n`,
      '</body>\n</html>\n',
    ],
    { type: 'text/html' },
  )
}
