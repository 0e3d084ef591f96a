/** Names and values side by side: what a card or a view says in numbers. */
import type { ComponentChildren } from 'preact'

type Fact = readonly [name: string, value: ComponentChildren]

/** A value of null is "none". */
export function Facts({ of }: { readonly of: readonly Fact[] }) {
  return (
    <dl class="facts">
      {of.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value ?? <span class="quiet">none</span>}</dd>
        </div>
      ))}
    </dl>
  )
}

/** The same, large: the few numbers that are looked at first. */
export function Tiles({
  of,
}: {
  readonly of: ReadonlyArray<readonly [name: string, value: string, note: string]>
}) {
  return (
    <dl class="tiles">
      {of.map(([name, value, note]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>
            <strong>{value}</strong>
            <span class="quiet">{note}</span>
          </dd>
        </div>
      ))}
    </dl>
  )
}
