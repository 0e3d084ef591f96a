/**
 * A button that does something to the gateway, and the sentence that says what came of it. A viewer
 * sees none.
 */
import { type Signal, signal } from '@preact/signals'
import type { ComponentChildren } from 'preact'
import { useState } from 'preact/hooks'
import { errorText } from '../live/api.ts'
import { mayAct, nowMs } from '../live/store.ts'
import { secondsTime } from '../words/times.ts'
import { Sign } from './state.tsx'

/** Outlives the view that shows it, if the view's file holds it. */
export interface Deed {
  /** What goes on; null: nothing does. */
  readonly busy: Signal<string | null>
  readonly said: Signal<Doing['said']>
}

export function newDeed(): Deed {
  return { busy: signal(null), said: signal(null) }
}

interface Doing {
  readonly isBusy: boolean
  /** What goes on, in words; null: nothing does. */
  readonly busy: string | null
  /** What came of the last one; null: nothing was done yet. */
  readonly said: {
    readonly isGood: boolean
    readonly text: string
    /** By the gateway's clock. */
    readonly atMs: number
  } | null
  /** Runs it unless one runs already; what it returns is said, what it throws too. */
  readonly run: (action: () => Promise<string | null>, goingOn?: string) => void
}

/** `kept`: a person who leaves the view and comes back finds what came of it. @default gone with it */
export function useDoing(kept?: Deed): Doing {
  const [own] = useState(newDeed)
  const { busy, said } = kept ?? own
  const perform = async (action: () => Promise<string | null>, goingOn: string): Promise<void> => {
    busy.value = goingOn
    said.value = null
    try {
      const text = await action()
      said.value = text === null ? null : { isGood: true, text, atMs: nowMs.peek() }
    } catch (error) {
      said.value = { isGood: false, text: errorText(error), atMs: nowMs.peek() }
    } finally {
      busy.value = null
    }
  }
  return {
    isBusy: busy.value !== null,
    busy: busy.value,
    said: said.value,
    run: (action, goingOn = 'Working …') => {
      if (busy.peek() === null) void perform(action, goingOn)
    },
  }
}

interface ActionProps {
  readonly doing: Doing
  readonly action: () => Promise<string | null>
  readonly children: ComponentChildren
  /** The one that most want. */
  readonly isMain?: boolean
  /** Said meanwhile, if it may take long. */
  readonly goingOn?: string
}

export function Action({ doing, action, children, isMain = false, goingOn }: ActionProps) {
  if (!mayAct()) return null
  return (
    <button
      type="button"
      class={isMain ? 'main' : ''}
      disabled={doing.isBusy}
      onClick={() => doing.run(action, goingOn)}
    >
      {children}
    </button>
  )
}

/** There from the beginning, so that a screen reader reads what appears in it. */
export function Said({ doing }: { readonly doing: Doing }) {
  return (
    <p class="said" role="status">
      {doing.busy === null ? null : <span class="quiet">{doing.busy}</span>}
      {doing.said === null ? null : (
        <>
          <Sign tone={doing.said.isGood ? 'ok' : 'act'} /> <span>{doing.said.text}</span>{' '}
          <span class="quiet">{secondsTime(doing.said.atMs)}</span>
        </>
      )}
    </p>
  )
}
