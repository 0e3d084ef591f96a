/**
 * What the formulas of cost-model.ts leave out, simulated in virtual time: how even a ring of
 * gateways is, what a neighbor gets when one is gone, and how long a fleet takes to come back when
 * all of it was cut off at once, with devices that give up on a CONNECT that waits too long and come
 * again. Pure and seeded; no gateway runs.
 *
 * Modeled: HAProxy's ring of 4,096 points for each server (weight 256); one queue of CONNECTs for
 * each gateway, at the measured pace; `authTimeout`, after which a CONNECT that still waits is
 * closed and costs nothing; devices that wait 1 s, then 2 s, up to a minute, each half of it at
 * random. Not modeled: TLS, readings that wait in the devices meanwhile, the load of other programs.
 */
import { Random } from '../../device-sim/random.ts'
import { clusterCost } from './cost-model.ts'

const POINTS = 4_096
const RING = 0x1_0000_0000
/** Default of `mqtt.authTimeout`. */
const AUTH_TIMEOUT_MS = 10_000
const FIRST_WAIT_MS = 1_000
const LONGEST_WAIT_MS = 60_000
/** Of the virtual clock. */
const STEP_MS = 10

export interface ScaleFigures {
  readonly devices: number
  readonly gateways: number
  /** Devices of the busiest gateway, by the mean. */
  readonly skew: number
  /** The same, when one gateway is gone and its devices went to the others. */
  readonly skewWithoutOne: number
  /** After a cut of everything, at the busiest gateway: until half, and all of its devices are in. */
  readonly halfBackMs: number
  readonly allBackMs: number
  /** CONNECTs that a device sent until it was in: the mean, and the most. */
  readonly triesMean: number
  readonly triesMost: number
}

export function simulateScale(devices: number, seed: number): ScaleFigures {
  const { gateways, connectsPerSecond } = clusterCost(devices)
  const ring = arcs(gateways, seed)
  const busiest = Math.max(...ring.shares)
  const busiestLeft = Math.max(...withoutOne(ring, ring.shares.indexOf(busiest)))
  const back = comeBack(Math.round(devices * busiest), connectsPerSecond, seed)
  return {
    devices,
    gateways,
    skew: busiest * gateways,
    skewWithoutOne: busiestLeft * (gateways - 1),
    ...back,
  }
}

interface Ring {
  /** Of all points in their order: whose it is, and how much of the ring lies in front of it. */
  readonly owners: Uint16Array
  readonly lengths: Float64Array
  /** Of each gateway. */
  readonly shares: readonly number[]
}

/** Client ids are spread evenly over the ring, so that a gateway's share is that of its arcs. */
function arcs(gateways: number, seed: number): Ring {
  const random = new Random(seed, `ring ${gateways}`)
  const points = Array.from({ length: gateways * POINTS }, (_, n) => ({
    at: random.uint32(),
    owner: n % gateways,
  })).toSorted((a, b) => a.at - b.at)
  const owners = Uint16Array.from(points, ({ owner }) => owner)
  const last = points.at(-1)?.at ?? 0
  const lengths = Float64Array.from(points, ({ at }, n) =>
    n === 0 ? (at + RING - last) / RING : (at - points[n - 1]!.at) / RING,
  )
  return { owners, lengths, shares: sharesOf(owners, lengths, gateways, null) }
}

/** Shares of the others when this one is gone: each of its arcs goes to the next point's owner. */
function withoutOne({ owners, lengths, shares }: Ring, gone: number): number[] {
  return sharesOf(owners, lengths, shares.length, gone)
}

function sharesOf(
  owners: Uint16Array,
  lengths: Float64Array,
  gateways: number,
  gone: number | null,
): number[] {
  const shares = Array.from({ length: gateways }, () => 0)
  let carried = 0
  // Twice around: what lies in front of the first point may be carried over the end.
  for (let n = 0; n < 2 * owners.length; n += 1) {
    const at = n % owners.length
    const owner = owners[at]!
    const isSecond = n >= owners.length
    if (!isSecond) carried += lengths[at]!
    if (owner === gone) continue
    shares[owner]! += carried
    carried = 0
    if (isSecond) break
  }
  return shares
}

type Return = Pick<ScaleFigures, 'allBackMs' | 'halfBackMs' | 'triesMean' | 'triesMost'>

/** All devices of one gateway come at once; each try is one CONNECT in its queue. */
function comeBack(devices: number, connectsPerSecond: number, seed: number): Return {
  const random = new Random(seed, `return ${devices}`)
  const tries = new Uint8Array(devices)
  const due = new Calendar()
  for (let device = 0; device < devices; device += 1)
    due.add(random.between(0, FIRST_WAIT_MS), device)
  const queue: { readonly device: number; readonly sinceMs: number }[] = []
  let head = 0
  let credit = 0
  let back = 0
  let halfBackMs = 0
  let nowMs = 0
  for (; back < devices; nowMs += STEP_MS) {
    for (const device of due.take(nowMs)) {
      tries[device]! += 1
      queue.push({ device, sinceMs: nowMs })
    }
    credit = Math.min(credit + (connectsPerSecond * STEP_MS) / 1000, connectsPerSecond)
    while (head < queue.length) {
      const { device, sinceMs } = queue[head]!
      if (nowMs - sinceMs > AUTH_TIMEOUT_MS) due.add(nowMs + waitMs(tries[device]!, random), device)
      else if (credit < 1) break
      else {
        credit -= 1
        back += 1
        if (halfBackMs === 0 && back * 2 >= devices) halfBackMs = nowMs
      }
      head += 1
    }
  }
  const sum = tries.reduce((total, count) => total + count, 0)
  const most = tries.reduce((highest, count) => Math.max(highest, count), 0)
  return { halfBackMs, allBackMs: nowMs, triesMean: sum / devices, triesMost: most }
}

/** Between half and all of 1 s, 2 s, 4 s, … a minute. */
function waitMs(tries: number, random: Random): number {
  const longest = Math.min(FIRST_WAIT_MS * 2 ** (tries - 1), LONGEST_WAIT_MS)
  return random.between(longest / 2, longest)
}

/** Devices by the step at which they come. */
class Calendar {
  readonly #steps = new Map<number, number[]>()

  add(atMs: number, device: number): void {
    const step = Math.ceil(atMs / STEP_MS)
    const there = this.#steps.get(step)
    if (there === undefined) this.#steps.set(step, [device])
    else there.push(device)
  }

  take(nowMs: number): readonly number[] {
    const step = nowMs / STEP_MS
    const there = this.#steps.get(step) ?? []
    this.#steps.delete(step)
    return there
  }
}

/** Rows for people, of the numbers of devices of cost-model.ts. */
export function scaleRows(seed: number): string[][] {
  return [1e4, 1e5, 1e6, 1e7].map((devices) => {
    const figures = simulateScale(devices, seed)
    return [
      devices.toLocaleString('en'),
      String(figures.gateways),
      figures.skew.toFixed(2),
      figures.skewWithoutOne.toFixed(2),
      `${seconds(figures.halfBackMs)}, ${seconds(figures.allBackMs)}`,
      `${figures.triesMean.toFixed(1)}, ${figures.triesMost}`,
    ]
  })
}

export const SCALE_HEAD = [
  'devices',
  'gateways',
  'busiest gateway, by the mean',
  'the same, with one gone',
  'half of its devices back, all',
  'CONNECTs of a device, the most',
]

function seconds(ms: number): string {
  return `${Math.round(ms / 1000)} s`
}
