/** What all connections of a gate have in common, beside what their publish paths need. */
import type { Authenticate } from '../auth/authenticator.ts'
import type { ConsumerState } from '../consumers/consumer-state.ts'
import type { SubscriberContext } from '../consumers/subscriber.ts'
import type { PublishContext } from '../publish/context.ts'
import type { EndedSession } from '../sessions/session-table.ts'
import type { Neighbors } from '../takeover/neighbors.ts'
import type { DelayedWills } from '../wills/delayed-wills.ts'
import type { Wills } from '../wills/wills.ts'
import type { ClientIds } from './client-ids.ts'
import type { ConnectAdmission } from './connect-admission.ts'

export interface GateContext extends PublishContext, Omit<SubscriberContext, keyof PublishContext> {
  readonly admission: ConnectAdmission
  readonly clientIds: ClientIds
  /** The other gateways of its cluster; null: they are not told of clients. */
  readonly neighbors: Neighbors | null
  readonly authenticate: Authenticate
  /** Names a client that connects with an empty client id. */
  readonly mintClientId: () => string
  readonly wills: Wills
  readonly delayedWills: DelayedWills
  readonly state: ConsumerState
  /** A session is over without its client: what is kept for it goes, too. */
  readonly endSession: (ended: EndedSession) => void
}
