/** A state as a word with its sign: never by color alone. */
import type { ComponentChildren } from 'preact'
import type { Tone } from '../words/states.ts'

const SIGNS: Readonly<Record<Tone, string>> = { ok: '✓', wait: '~', act: '!', idle: '–' }

interface StateProps {
  readonly tone: Tone
  readonly children: ComponentChildren
}

export function State({ tone, children }: StateProps) {
  return (
    <span class={`state ${tone}`}>
      <Sign tone={tone} />
      {children}
    </span>
  )
}

export function Sign({ tone }: { readonly tone: Tone }) {
  return (
    <span class={`sign ${tone}`} aria-hidden="true">
      {SIGNS[tone]}
    </span>
  )
}
