/** A labelled input with its hint; and the two of a reading: topic and payload. */
import type { Signal } from '@preact/signals'
import { useId } from 'preact/hooks'

interface FieldProps {
  readonly label: string
  readonly hint?: string
  readonly value: Signal<string>
  readonly type?: 'text' | 'password' | 'search'
  readonly autocomplete?: string
  readonly isRequired?: boolean
}

export function Field({ label, hint, value, type = 'text', ...rest }: FieldProps) {
  const id = useId()
  // The types of preact want one literal here, for the role that goes with it.
  const kind: object = { type }
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <input
        id={id}
        {...kind}
        value={value.value}
        required={rest.isRequired ?? false}
        autocomplete={rest.autocomplete ?? 'off'}
        autocapitalize="none"
        spellcheck={false}
        {...(hint === undefined ? {} : { 'aria-describedby': `${id}-hint` })}
        onInput={(event) => {
          value.value = event.currentTarget.value
        }}
      />
      {hint === undefined ? null : (
        <p id={`${id}-hint`} class="quiet">
          {hint}
        </p>
      )}
    </div>
  )
}

interface ChoiceProps {
  readonly label: string
  readonly value: Signal<string>
  readonly options: ReadonlyArray<readonly [value: string, text: string]>
}

export function Choice({ label, value, options }: ChoiceProps) {
  const id = useId()
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <select
        id={id}
        value={value.value}
        onInput={(event) => {
          value.value = event.currentTarget.value
        }}
      >
        {options.map(([each, text]) => (
          <option key={each} value={each}>
            {text}
          </option>
        ))}
      </select>
    </div>
  )
}

interface ReadingFieldsProps {
  readonly topic: Signal<string>
  readonly payload: Signal<string>
}

export function ReadingFields({ topic, payload }: ReadingFieldsProps) {
  return (
    <div class="fields">
      <Field label="Topic" value={topic} hint="Empty: one that a stream takes." />
      <Field label="Payload" value={payload} hint="Empty: a small JSON reading." />
    </div>
  )
}

/** For a body: what was left empty is left out. */
export function readingBody(topic: string, payload: string): object {
  return {
    ...(topic.trim() === '' ? {} : { topic: topic.trim() }),
    ...(payload === '' ? {} : { payload }),
  }
}
