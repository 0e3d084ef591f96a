/**
 * A button that does something to the gateway, and the sentence that says what came of it. A viewer
 * sees none.
 */
import { useSignal } from '@preact/signals'
import type { ComponentChildren } from 'preact'
import { errorText } from '../live/api.ts'
import { mayAct } from '../live/store.ts'
import { Sign } from './state.tsx'

interface Doing {
  readonly isBusy: boolean
  /** What came of the last one; null: nothing was done yet. */
  readonly said: { readonly isGood: boolean; readonly text: string } | null
  /** Runs it unless one runs already; what it returns is said, what it throws too. */
  readonly run: (action: () => Promise<string | null>) => void
}

export function useDoing(): Doing {
  const isBusy = useSignal(false)
  const said = useSignal<Doing['said']>(null)
  const perform = async (action: () => Promise<string | null>): Promise<void> => {
    isBusy.value = true
    said.value = null
    try {
      const text = await action()
      said.value = text === null ? null : { isGood: true, text }
    } catch (error) {
      said.value = { isGood: false, text: errorText(error) }
    } finally {
      isBusy.value = false
    }
  }
  return {
    isBusy: isBusy.value,
    said: said.value,
    run: (action) => {
      if (!isBusy.peek()) void perform(action)
    },
  }
}

interface ActionProps {
  readonly doing: Doing
  readonly action: () => Promise<string | null>
  readonly children: ComponentChildren
  /** The one that most want. */
  readonly isMain?: boolean
}

export function Action({ doing, action, children, isMain = false }: ActionProps) {
  if (!mayAct()) return null
  return (
    <button
      type="button"
      class={isMain ? 'main' : ''}
      disabled={doing.isBusy}
      onClick={() => doing.run(action)}
    >
      {children}
    </button>
  )
}

/** There from the beginning, so that a screen reader reads what appears in it. */
export function Said({ doing }: { readonly doing: Doing }) {
  return (
    <p class="said" role="status">
      {doing.isBusy ? <span class="quiet">Working …</span> : null}
      {doing.said === null ? null : (
        <>
          <Sign tone={doing.said.isGood ? 'ok' : 'act'} /> {doing.said.text}
        </>
      )}
    </p>
  )
}
