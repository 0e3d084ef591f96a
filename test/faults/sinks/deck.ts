/** What may happen in an episode, dealt from a deck so that each has its turn. Pure. */
import type { Random } from '../../../device-sim/random.ts'
import { LINK_FAULTS, type LinkFault } from './link.ts'
import { INNER_POINTS, NOTE_POINTS, type SinkPoint } from './points.ts'
import {
  RECEIVER_FAULTS,
  type ReceiverFault,
  type TestedReceiver,
  type TestedType,
} from './receiver.ts'

export type Action =
  | { readonly kind: 'death'; readonly point: SinkPoint | 'any time' }
  | { readonly kind: 'link'; readonly fault: LinkFault }
  | { readonly kind: 'trouble'; readonly fault: ReceiverFault }
  | { readonly kind: 'receiver-death'; readonly point: SinkPoint }

export function nameOfAction(action: Action): string {
  if (action.kind === 'death') return `killed at ${action.point}`
  if (action.kind === 'receiver-death') return `receiver killed at ${action.point}`
  return `${action.kind === 'link' ? 'link' : 'receiver'} ${action.fault}`
}

/**
 * Each that is possible with this type, once. `deathsAFault`: the gateway's death at each point as
 * often as makes about so many deaths for each fault of link and receiver.
 */
export function wholeDeck(
  { keepsNotes = false }: TestedType,
  { port, troubles }: Pick<TestedReceiver, 'port' | 'troubles'>,
  deathsAFault = 0,
): Action[] {
  const points: SinkPoint[] = [...INNER_POINTS, ...(keepsNotes ? NOTE_POINTS : [])].filter(
    (point) => port !== null || point !== 'answer.unread',
  )
  const links: Action[] = port === null ? [] : LINK_FAULTS.map((fault) => ({ kind: 'link', fault }))
  const own: Action[] = RECEIVER_FAULTS.filter((fault) => troubles[fault] !== undefined).map(
    (fault) => ({ kind: 'trouble', fault }),
  )
  const at: Action[] =
    troubles.killed === undefined ? [] : points.map((point) => ({ kind: 'receiver-death', point }))
  const faults = [...links, ...own, ...at]
  const times = Math.max(1, Math.floor((deathsAFault * faults.length) / points.length))
  const deaths: Action[] = points.flatMap((point) =>
    Array.from({ length: times }, () => ({ kind: 'death', point })),
  )
  return [...deaths, { kind: 'death', point: 'any time' }, ...faults]
}

/** It takes what is there away: only an empty receiver can stand it. */
export function isFirst(action: Action, troubles: TestedReceiver['troubles']): boolean {
  return action.kind === 'trouble' && troubles[action.fault]?.onlyAtFirst === true
}

/** In an order that `random` decides; first what can only be first. */
export function shuffled(
  deck: readonly Action[],
  troubles: TestedReceiver['troubles'],
  random: Random,
): Action[] {
  const order = deck.filter((action) => isFirst(action, troubles))
  const rest = deck.filter((action) => !isFirst(action, troubles))
  while (rest.length > 0) order.push(...rest.splice(random.below(rest.length), 1))
  return order
}
