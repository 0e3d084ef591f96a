/**
 * Small durable notes of the drain (waits and holds that survive a restart), kept in memory and
 * written through.
 */
import type { NoteStore } from '../../ports/stream-queue.ts'
import { checked, withCrc } from '../codec/checked.ts'
import { keyedKey, keyedName, keyedRange } from '../store/keys.ts'
import type { Committer } from './committer.ts'

export async function openNotes(committer: Committer): Promise<NoteStore> {
  const notes = new Map<string, string>()
  for await (const [key, value] of committer.store.entries(keyedRange('notes'))) {
    // A damaged one is as good as none: the drain finds out anew.
    const note = checked(value)
    if (note) notes.set(keyedName(key), note.toString('utf8'))
  }
  return {
    get: (key) => notes.get(key) ?? null,
    set: (key, value) => {
      const stored = keyedKey('notes', key)
      if (value === null) {
        if (!notes.delete(key)) return Promise.resolve()
        committer.add({ type: 'del', key: stored })
      } else {
        notes.set(key, value)
        committer.add({ type: 'put', key: stored, value: withCrc(Buffer.from(value, 'utf8')) })
      }
      return committer.durable()
    },
  }
}
