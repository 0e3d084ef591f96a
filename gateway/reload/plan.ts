/**
 * What a reload would do, decided before anything is done: each key that differs with what its
 * change does to the gateway that runs, and what keeps all of it from being applied. Pure; apply.ts
 * acts.
 */
import { type Change, changesBetween } from '../config/keys/changes.ts'
import { type Config, SCHEMA } from '../configuration.ts'
import type { ReloadPlan } from '../ports/operator.ts'

const AT_START = 'it is read at a start: restart the gateway for it'

/** Nothing is applied of a plan that refuses a key: what runs is always one file. */
export function planReload(from: Config, to: Config): ReloadPlan {
  const changes = changesBetween(SCHEMA.root, from, to).map((change) =>
    carriesNotices(from, change) || isWatched(from, to, change)
      ? { ...change, effect: 'restart' as const }
      : change,
  )
  return {
    changes: changes.map(({ key, from: old, to: next, effect }) => ({
      key,
      from: old,
      to: next,
      effect,
    })),
    refused: changes
      .filter(({ effect }) => effect === 'restart')
      .map(({ key }) => ({ key, why: AT_START })),
  }
}

/** Silence is watched in the streams that there were at the start. */
function isWatched(from: Config, to: Config, { path }: Change): boolean {
  const [section, name = ''] = path
  if (section !== 'streams' || path.length !== 2) return false
  const stream = from.streams[name] ?? to.streams[name]
  return stream !== undefined && stream.silentAfter !== null
}

/** The connection for notices between gateways is made at the start, by a sink's configuration. */
function carriesNotices({ cluster }: Config, { path }: Change): boolean {
  const [section, name] = path
  return section === 'sinks' && name === cluster.takeover?.sink
}
