// A field whose text counts when its user has finished with it: a change, Enter, or the next field.
import { useState } from 'preact/hooks'

interface Props {
  value: string | number
  onText: (text: string) => void
  type?: 'number' | 'search' | 'text'
  name?: string
  'aria-label'?: string
  placeholder?: string
  min?: string
  max?: string
  step?: string
  list?: string
}

/** What is being typed stays while the screen is drawn anew, as it is when data arrive. */
export function Typed({ value, onText, type = 'text', ...rest }: Props) {
  const [draft, setDraft] = useState<string>()
  const end = (text: string) => {
    setDraft(undefined)
    onText(text)
  }
  return (
    <input
      {...rest}
      type={type}
      value={draft ?? value}
      onInput={(e) => setDraft(e.currentTarget.value)}
      onChange={(e) => end(e.currentTarget.value)}
      onBlur={() => setDraft(undefined)}
    />
  )
}
