/**
 * What is noted of a batch at QoS 2 in its pin: up to where its messages are known to have arrived,
 * so that nothing but PUBREL may go out for them any more, and which of them were refused. Without a
 * note nothing of it was published. A slot is the place of a message in its batch. Pure.
 */
import { MAX_NOTE_BYTES } from '../../../ports/sink.ts'

/** In place of a code, which begin at 0x80 in a PUBREC: it was not sent, for its size. */
export const OVER_LIMIT = 0

export interface ReleaseNote {
  /** Slots before it are done with: PUBCOMP was there. */
  readonly done: number
  /** Slots before it have arrived: PUBREC was there. */
  readonly arrived: number
  /** Of those before `arrived`: slot -> code of the PUBREC, or {@link OVER_LIMIT}. */
  readonly refused: ReadonlyMap<number, number>
}

/** null: too many were refused to be noted. */
export function noteText({ done, arrived, refused }: ReleaseNote): string | null {
  const runs: Array<{ from: number; to: number; code: number }> = []
  for (const [slot, code] of [...refused].toSorted(([a], [b]) => a - b)) {
    const last = runs.at(-1)
    if (last !== undefined && last.to === slot - 1 && last.code === code) last.to = slot
    else runs.push({ from: slot, to: slot, code })
  }
  const list = runs.map(({ from, to, code }) =>
    from === to ? `${from}:${code}` : `${from}-${to}:${code}`,
  )
  const text = ['1', done, arrived, ...list].join(' ')
  return text.length <= MAX_NOTE_BYTES ? text : null
}

/** @throws Error for a text that {@link noteText} never writes */
export function readNote(text: string): ReleaseNote {
  const [version, done, arrived, ...list] = text.split(' ')
  const refused = new Map<number, number>()
  for (const one of list) {
    const [, from, to = from, code] = /^(\d+)(?:-(\d+))?:(\d+)$/.exec(one) ?? []
    for (let slot = Number(from); slot <= Number(to); slot++) refused.set(slot, Number(code))
  }
  const note = { done: Number(done), arrived: Number(arrived), refused }
  const isWhole = version === '1' && note.done <= note.arrived && noteText(note) === text
  if (!isWhole) throw new Error(`a note of another form: ${JSON.stringify(text.slice(0, 100))}`)
  return note
}
