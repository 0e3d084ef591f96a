/** To the next page of a long list and back: the gateway gives a cursor for each page. */
import type { Signal } from '@preact/signals'
import type { ComponentChildren } from 'preact'

interface PagesProps {
  readonly of: string
  /** Cursors of the pages up to this one; the first page has none. */
  readonly trail: Signal<readonly string[]>
  /** null: this is the last page. */
  readonly next: string | null
  /** Where one is, in words. */
  readonly children?: ComponentChildren
}

/** Nothing, if there is one page. */
export function Pages({ of, trail, next, children }: PagesProps) {
  if (next === null && trail.value.length === 0) return null
  return (
    <nav class="pages" aria-label={`Pages of ${of}`}>
      <button
        type="button"
        disabled={trail.value.length === 0}
        onClick={() => {
          trail.value = trail.value.slice(0, -1)
        }}
      >
        Previous
      </button>
      <span>{children}</span>
      <button
        type="button"
        disabled={next === null}
        onClick={() => {
          if (next !== null) trail.value = [...trail.value, next]
        }}
      >
        Next
      </button>
    </nav>
  )
}
