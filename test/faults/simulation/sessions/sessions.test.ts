/** Of a broker with a planted defect the simulation of sessions tells what is wrong. */
import { afterEach, expect, test, vi } from 'vitest'
import { Random } from '../../../../device-sim/random.ts'
import { Lifecycle } from '../../../../gateway/broker/gate/lifecycle.ts'
import type { CLOSED } from '../../../../gateway/broker/mqtt/outcome.ts'
import { V5Inbound } from '../../../../gateway/broker/publish/v5-inbound.ts'
import { PacketIds } from '../../../../gateway/broker/sessions/packet-ids.ts'
import { sessionLog } from '../../../../gateway/broker/sessions/session-log.ts'
import { type Session, SessionTable } from '../../../../gateway/broker/sessions/session-table.ts'
import { simulateSessions } from './world.ts'

/** Not every day shows every defect. */
const MOST_RUNS = 12
const TIMEOUT_MS = 60_000

afterEach(() => void vi.restoreAllMocks())

/** Always the same days, so that what is caught does not depend on the day. */
async function caught(): Promise<string> {
  for (let run = 0; run < MOST_RUNS; run += 1) {
    const { faults } = await simulateSessions(new Random(run, 'planted'), 0.5)
    if (faults.length > 0) return faults.join('\n')
  }
  return ''
}

const { prototype: table } = SessionTable

/** What stands there now, for any instance. */
function original(of: object, name: string): (self: object, ...args: unknown[]) => unknown {
  const method = Reflect.get(of, name) as (...args: unknown[]) => unknown
  return (self, ...args) => Reflect.apply(method, self, args)
}

const DEFECTS: readonly (readonly [what: string, plant: () => void, seenAs: RegExp])[] = [
  [
    'sessions that never expire',
    () => {
      vi.spyOn(table, 'endOverdue').mockReturnValue(null)
      vi.spyOn(table, 'expire').mockReturnValue([])
    },
    /its session is present, not absent/,
  ],
  [
    'an expiry that DISCONNECT and a later CONNECT cannot change',
    () => {
      const setExpiry = original(table, 'setExpiry')
      const seen = new WeakSet<Session>()
      vi.spyOn(table, 'setExpiry').mockImplementation(function (this: SessionTable, ...args) {
        if (!seen.has(args[0])) setExpiry(this, ...args)
        seen.add(args[0])
      })
    },
    /its session is (present|absent), not/,
  ],
  [
    'an expiry that is not on disk',
    () => void vi.spyOn(sessionLog, 'expiry').mockImplementation(() => undefined),
    /its session is present, not absent/,
  ],
  [
    'sessions that a start ends',
    () => {
      const recover = original(table, 'recover')
      vi.spyOn(table, 'recover').mockImplementation(function (this: SessionTable) {
        return recover(this, { checkpoint: null, changes: [] }) as string | null
      })
    },
    /its session is absent, not present/,
  ],
  [
    'a clean start that leaves the stored session',
    () => void vi.spyOn(table, 'drop').mockImplementation(() => undefined),
    /its session is present, not absent|is known without its session/,
  ],
  [
    'packet ids that are not on disk',
    () => void vi.spyOn(sessionLog, 'addId').mockImplementation(() => undefined),
    /I3: /,
  ],
  [
    'a packet id that is not known when its message comes again',
    () => void vi.spyOn(PacketIds.prototype, 'isSame').mockReturnValue(false),
    /I3: .*stored twice/,
  ],
  [
    'a grant that acks do not give back',
    () => void vi.spyOn(V5Inbound.prototype, 'ended').mockImplementation(() => undefined),
    /closed|nothing came|got frame 0xe0/,
  ],
  [
    'a grant that nobody enforces',
    () => void vi.spyOn(V5Inbound.prototype, 'isAtMaximum', 'get').mockReturnValue(false),
    /nothing came/,
  ],
  [
    'a takeover without a word',
    () => {
      const close = original(Lifecycle.prototype, 'close')
      vi.spyOn(Lifecycle.prototype, 'close').mockImplementation(function (
        this: Lifecycle,
        ...[reason, ...rest]
      ) {
        return close(this, reason === 'takeover' ? 'keepalive' : reason, ...rest) as typeof CLOSED
      })
    },
    /taken over with/,
  ],
]

test.each(DEFECTS)(
  '%s: caught',
  async (_, plant, seenAs) => {
    plant()
    expect(await caught()).toMatch(seenAs)
  },
  TIMEOUT_MS,
)
