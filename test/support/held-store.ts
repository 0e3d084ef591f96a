/**
 * A real LevelDB store whose writes a test can hold, fail before they happen, or fail after they
 * happened.
 */
import { type OpenStore, openStore, type Store } from '../../gateway/spool/store/store.ts'

export interface HeldStores {
  readonly openStore: OpenStore
  /** Writes stop before the store until `release`. */
  hold(): void
  release(): void
  /** Resolves when a write is being held. */
  readonly held: () => Promise<void>
  /** The next write is rejected: without reaching the store, or after it did. */
  failNext(when: 'before' | 'after', error?: Error): void
  /** How many writes failed so. */
  readonly failures: () => number
  readonly opened: () => number
  /**
   * As a kill leaves it: no write gets through any more, and the files are free for the next
   * process.
   */
  crash(): Promise<void>
}

export function heldStores(): HeldStores {
  let gate: Promise<void> | null = null
  let open: (() => void) | null = null
  let arrived: (() => void) | null = null
  let failing: { when: 'before' | 'after'; error: Error } | null = null
  let failures = 0
  let opened = 0
  // Several at a time: an opening that finds old files beside the store opens a copy of them, too.
  const handles = new Set<{ store: Store; dead: boolean }>()
  const wrap = (handle: { store: Store; dead: boolean }, store: Store): Store => ({
    get: (key) => store.get(key),
    getMany: (keys) => store.getMany(keys),
    keys: (range) => store.keys(range),
    entries: (range) => store.entries(range),
    compact: (start, end) => store.compact(start, end),
    close: async () => {
      if (handles.delete(handle)) await store.close()
    },
    write: async (ops) => {
      if (handle.dead) await new Promise(() => undefined)
      if (gate) {
        arrived?.()
        await gate
      }
      const failure = failing
      failing = null
      if (failure) failures++
      if (failure?.when === 'before') throw failure.error
      await store.write(ops)
      if (failure) throw failure.error
    },
  })
  return {
    openStore: async (folder, options) => {
      opened++
      const store = await openStore(folder, options)
      const handle = { dead: false, store }
      handles.add(handle)
      return wrap(handle, store)
    },
    hold: () => {
      gate = new Promise((resolve) => {
        open = resolve
      })
    },
    release: () => {
      gate = null
      open?.()
    },
    held: () =>
      new Promise((resolve) => {
        arrived = resolve
      }),
    failNext: (when, error = new Error('IO error: fault injected by the test')) => {
      failing = { when, error }
    },
    failures: () => failures,
    opened: () => opened,
    crash: async () => {
      for (const handle of handles) {
        handles.delete(handle)
        handle.dead = true
        await handle.store.close()
      }
    },
  }
}
