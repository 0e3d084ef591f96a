/** What all connections of a gate have in common, beside what their publish paths need. */
import type { AedesServer } from '../aedes/aedes-server.ts'
import type { Authenticate } from '../auth/authenticator.ts'
import type { RetainedDelivery } from '../consumers/retained-delivery.ts'
import type { PublishContext } from '../publish/context.ts'
import type { Wills } from '../publish/wills.ts'
import type { EndedSession } from '../sessions/session-table.ts'
import type { ClientIds } from './client-ids.ts'
import type { ConnectAdmission } from './connect-admission.ts'

export interface GateContext extends PublishContext {
  readonly admission: ConnectAdmission
  readonly clientIds: ClientIds
  readonly authenticate: Authenticate
  /** Names a client that connects with an empty client id. */
  readonly mintClientId: () => string
  readonly wills: Wills
  readonly aedes: Pick<AedesServer, 'connect'>
  readonly retainedDelivery: RetainedDelivery
  /** A session is over without its client: what is kept for it goes, too. */
  readonly endSession: (ended: EndedSession) => void
  /** A client subscribes to something under `$SYS`. */
  readonly onSysSubscribe: () => void
}
