// The REST API, described from its own openapi.json: no network, no other page.
import { useEffect, useState } from 'preact/hooks'
import { answer } from '../store/rest'

interface Parameter {
  name: string
  in: string
  required?: boolean
  description?: string
  schema?: Record<string, any>
}
interface Operation {
  summary?: string
  description?: string
  parameters?: Parameter[]
  requestBody?: { content: Record<string, unknown> }
  responses: Record<string, { description?: string }>
}

/** What a parameter may be, in words: whether it must be given, its range, one of which values. */
function described({ required, description, schema = {} }: Parameter, schemas: Record<string, any>): string {
  const one = schema.$ref ? schemas[schema.$ref.split('/').pop()] : (schema.anyOf?.[0] ?? schema)
  const given = schema.default ?? ''
  const words = [required ? 'required' : given === '' ? 'optional' : `${given} unless given`]
  if (description) words.push(description)
  if (one?.enum) words.push(`one of ${one.enum.join(', ')}`)
  if (one?.type === 'array') words.push('can be given several times')
  if (one?.minimum !== undefined) words.push(`from ${one.minimum} to ${one.maximum.toLocaleString('en')}`)
  return words.join('; ')
}

export function ApiScreen({ api }: { api: string }) {
  const [operations, setOperations] = useState<[string, string, Operation][]>()
  const [problem, setProblem] = useState('')
  const [schemas, setSchemas] = useState<Record<string, any>>({})
  useEffect(() => {
    answer(new URL(`${api}openapi.json`, document.baseURI).href)
      .then((r) => r.json())
      .then(
        ({ paths, components }) => {
          setSchemas(components?.schemas ?? {})
          setOperations(
            Object.entries<Record<string, Operation>>(paths).flatMap(([path, methods]) =>
              Object.entries(methods).map(([method, o]): [string, string, Operation] => [
                method.toUpperCase(),
                path,
                o,
              ]),
            ),
          )
        },
        (error) => setProblem(error.message),
      )
  }, [api])
  return (
    <main id="main" tabIndex={-1}>
      <h1>REST API</h1>
      <p>
        Its description as <a href={`${api}openapi.json`}>OpenAPI</a>; structures also as{' '}
        <a href={`${api}optimade/v1/structures`}>OPTIMADE</a>, with its filter language. Errors are JSON with one line,{' '}
        <code>detail</code>.
      </p>
      {problem && (
        <p class="error" role="alert">
          {problem}
        </p>
      )}
      {operations?.map(([method, path, o]) => (
        <section key={method + path} class="panel operation">
          <h2>
            <code>
              {method}{' '}
              {path.split(/(?<=\/)/).map((part) => (
                <>
                  {part}
                  <wbr />
                </>
              ))}
            </code>
          </h2>
          <p>
            {o.summary}. {o.description}
          </p>
          {o.requestBody && (
            <p>
              {'application/json' in o.requestBody.content
                ? 'The body of the request is JSON, as OpenAPI has it.'
                : 'The body of the request is the file itself.'}
            </p>
          )}
          {o.parameters && (
            <dl>
              {o.parameters.map((p) => (
                <div key={p.name}>
                  <dt>
                    <code>{p.name}</code>
                  </dt>
                  <dd>{described(p, schemas)}</dd>
                </div>
              ))}
            </dl>
          )}
        </section>
      ))}
    </main>
  )
}
