// Files that other programs read, made in the worker; and the whole page as one file.
import { useState } from 'preact/hooks'
import { type Format, SUFFIX } from '../files/write'
import type { Session } from '../session'
import { save } from './numbers'

/** Names of files: nothing of an id that a file system would take for more than a name. */
export const fileName = (id: string) => id.replace(/[^A-Za-z0-9._+-]/g, '_').replace(/^\.+/, '_') || 'density'

export function Downloads({
  session,
  id,
  formula,
  structureOnly,
  html,
}: {
  session: Session
  id: string
  formula: string
  structureOnly: boolean
  /** One HTML file with what is shown, where that can be made. */
  html?: () => Promise<Blob>
}) {
  const [busy, setBusy] = useState('')
  const [problem, setProblem] = useState('')
  const name = fileName(id)
  const run = async (what: string, make: () => Promise<Blob>, file: string) => {
    setBusy(what)
    setProblem('')
    try {
      save(await make(), file)
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error))
    }
    setBusy('')
  }
  const formats: Format[] = structureOnly ? ['CIF', 'POSCAR'] : ['CHGCAR', 'cube', 'XSF', 'npz', 'CIF', 'POSCAR']
  return (
    <section class="panel" aria-label="Downloads">
      <h2>Downloads</h2>
      <p class="buttons">
        {formats.map((as) => (
          <button
            key={as}
            type="button"
            disabled={busy !== ''}
            onClick={() =>
              run(
                as,
                () => session.ask('write', { as, title: `${formula} ${id}` }),
                SUFFIX[as] ? name + SUFFIX[as] : `${as}-${name}`,
              )
            }
          >
            {as}
          </button>
        ))}
        {html && (
          <button type="button" disabled={busy !== ''} onClick={() => run('HTML', html, `${name}.html`)}>
            One HTML file
          </button>
        )}
      </p>
      <p class="note" role="status">
        {busy
          ? `Making ${busy} …`
          : structureOnly
            ? ''
            : 'CHGCAR without augmentation occupancies; cube has the total density alone.'}
      </p>
      {problem && (
        <p class="error" role="alert">
          {problem}
        </p>
      )}
    </section>
  )
}
