/**
 * Fault 12, the long campaign: at least a thousand packets a run, so a million in a thousand runs.
 * In-process, so that an exception, an unhandled rejection or a leak of this process is one of the
 * broker; then the same hostile sessions against a real gateway process, which has to live, answer,
 * and not grow.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { CampaignOptions, CampaignResult } from '../campaign.ts'
import { cutEverywhere } from './boundaries.ts'
import { newChaosTotals, runChaos, startTightGate } from './chaos.ts'
import { compareCodecs, newCodecTotals } from './codec.ts'
import { FuzzedGate } from './fuzzed-gate.ts'
import { newTotals, runBatch } from './fuzzer.ts'
import { fuzzProcess } from './process-fuzz.ts'
import { newTotals5, runBatch5 } from './v5/fuzzer.ts'

const PACKETS_PER_RUN = 1_000
/** One batch in so many goes over real sockets. */
const TCP_EVERY = 10
/**
 * Of the heap, from a tenth of the campaign to its end: it moves by 2 MiB. A trace of 300 bytes of
 * each client id made it grow by 11 MiB in a million packets.
 */
const MAX_GROWTH_BYTES = 8 * 1024 * 1024

export async function campaign({ runs, seed, say }: CampaignOptions): Promise<CampaignResult> {
  const failures: string[] = []
  const onError = (error: unknown): void => {
    failures.push(
      `the process would have died: ${error instanceof Error ? error.stack : String(error)}`,
    )
  }
  process.on('uncaughtException', onError)
  process.on('unhandledRejection', onError)
  const faults: Record<string, number> = {}
  try {
    await judged(runs, seed, say, faults, failures)
    await judged5(runs, seed, say, faults, failures)
    await chaotic(runs, seed, say, faults, failures)
    codecs(runs, seed, faults, failures)
    Object.assign(faults, await fuzzProcess(runs, seed, say, failures))
  } finally {
    process.off('uncaughtException', onError)
    process.off('unhandledRejection', onError)
  }
  return { name: 'hostile bytes', runs, faults, failures }
}

type Way = 'tcp' | 'memory'

/** Plays batches until so many packets were looked at, or ten failures are known. */
async function* batches(
  play: (name: string, way: Way) => Promise<void>,
  at: {
    readonly totals: { readonly packets: number; readonly failures: readonly string[] }
    readonly packets: number
    readonly seed: number
    readonly say: (line: string) => void
  },
): AsyncGenerator<void> {
  const { totals, packets, seed, say } = at
  for (let batch = 0; totals.packets < packets && totals.failures.length < 10; batch += 1) {
    const known = totals.failures.length
    await play(`${seed}-${batch}`, batch % TCP_EVERY === 0 ? 'tcp' : 'memory')
    // At once: a campaign that is ended early would take them with it.
    for (const failure of totals.failures.slice(known)) say(failure)
    yield
  }
}

/** What a fuzz leaves in memory: between a tenth of its packets and the end. */
class MemoryWatch {
  #warm: { readonly heapBytes: number; readonly rssBytes: number } | null = null
  #heapBytes: number | null = null

  /** A tenth of the packets was looked at; the first call counts. */
  warmed(): void {
    this.#warm ??= { heapBytes: heapBytes(), rssBytes: process.memoryUsage.rss() }
  }

  /** The heap's, measured once, at the end; 0: it never was warm. */
  get grownBytes(): number {
    if (this.#warm === null) return 0
    this.#heapBytes ??= heapBytes()
    return this.#heapBytes - this.#warm.heapBytes
  }

  /** For people. */
  told(): string[] {
    const { heapBytes: warmBytes, rssBytes } = this.#warm ?? { heapBytes: 0, rssBytes: 0 }
    return [
      `the heap was ${mib(warmBytes)} after a tenth and ${mib(warmBytes + this.grownBytes)} at the end`,
      `RSS was ${mib(rssBytes)} after a tenth and ${mib(process.memoryUsage.rss())} at the end`,
    ]
  }
}

async function judged(
  runs: number,
  seed: number,
  say: (line: string) => void,
  faults: Record<string, number>,
  failures: string[],
): Promise<void> {
  const totals = newTotals()
  const gate = await FuzzedGate.start()
  const packets = runs * PACKETS_PER_RUN
  const beganMs = performance.now()
  const memory = new MemoryWatch()
  let said = 0
  try {
    faults['sessions cut in two, at each byte'] = await cutEverywhere(gate, 'memory')
    const play = (name: string, way: Way) => runBatch(gate, name, way, totals)
    for await (const _ of batches(play, {
      totals,
      packets,
      seed,
      say: (text) => say(`fuzz: ${text}`),
    })) {
      if (totals.packets >= packets / 10) memory.warmed()
      if (totals.packets - said < packets / 10) continue
      said = totals.packets
      const seconds = (performance.now() - beganMs) / 1_000
      say(
        `fuzz: ${totals.packets} packets, ${totals.connections} connections, heap ${mib(heapBytes())}, ${seconds.toFixed(0)} s`,
      )
    }
  } catch (error) {
    failures.push(String(error))
  } finally {
    await gate.stop()
  }
  failures.push(...totals.failures)
  for (const line of memory.told()) say(`fuzz: ${line}`)
  const grown = memory.grownBytes
  if (runs >= 50 && grown > MAX_GROWTH_BYTES) failures.push(`the heap grew by ${mib(grown)}`)
  faults['packets looked at'] = totals.packets
  faults['connections'] = totals.connections
  faults['messages of a bystander, all acknowledged in order and stored'] = totals.bystanderMessages
  for (const [name, count] of Object.entries(totals.mutations)) faults[`mutated: ${name}`] = count
  for (const [name, count] of Object.entries(totals.splits)) faults[`segments: ${name}`] = count
  for (const [name, count] of totals.endings) faults[`ended: ${name}`] = count
}

/** The same of MQTT 5, by its grammar. */
async function judged5(
  runs: number,
  seed: number,
  say: (line: string) => void,
  faults: Record<string, number>,
  failures: string[],
): Promise<void> {
  const totals = newTotals5()
  const gate = await FuzzedGate.start()
  const packets = runs * PACKETS_PER_RUN
  const memory = new MemoryWatch()
  try {
    const play = (name: string, way: Way) => runBatch5(gate, name, way, totals)
    const told = (text: string): void => say(`fuzz of MQTT 5: ${text}`)
    for await (const _ of batches(play, { totals, packets, seed, say: told })) {
      if (totals.packets >= packets / 10) memory.warmed()
    }
  } catch (error) {
    failures.push(String(error))
  } finally {
    await gate.stop()
  }
  failures.push(...totals.failures)
  say(`fuzz of MQTT 5: ${totals.packets} packets, ${totals.connections} connections`)
  for (const line of memory.told()) say(`fuzz of MQTT 5: ${line}`)
  const grown = memory.grownBytes
  if (runs >= 50 && grown > MAX_GROWTH_BYTES)
    failures.push(`the heap grew by ${mib(grown)} with MQTT 5`)
  faults['packets of MQTT 5'] = totals.packets
  faults['messages of a bystander beside them'] = totals.bystanderMessages
  for (const [name, count] of Object.entries(totals.mutations)) faults[`MQTT 5: ${name}`] = count
  for (const [name, count] of totals.endings) faults[`MQTT 5 ended: ${name}`] = count
}

async function chaotic(
  runs: number,
  seed: number,
  say: (line: string) => void,
  faults: Record<string, number>,
  failures: string[],
): Promise<void> {
  const totals = newChaosTotals()
  const gate = await startTightGate()
  try {
    for (let round = 0; round < runs && totals.failures.length < 10; round += 1) {
      await runChaos(gate, `${seed}-${round}`, round % 5 === 0 ? 'tcp' : 'memory', totals)
    }
  } finally {
    await gate.stop()
  }
  failures.push(...totals.failures)
  say(
    `fuzz: ${totals.connections} racing connections, ${totals.cuts} cut, ${totals.takeovers} taken over`,
  )
  faults['racing connections'] = totals.connections
  faults['racing connections cut'] = totals.cuts
  faults['takeovers'] = totals.takeovers
  faults['rounds with a full stream'] = totals.fullStreams
  faults['rounds with a stalled commit'] = totals.heldCommits
}

function codecs(
  runs: number,
  seed: number,
  faults: Record<string, number>,
  failures: string[],
): void {
  const totals = newCodecTotals()
  for (let session = 0; session < runs * 5; session += 1) {
    try {
      compareCodecs(`${seed}-${session}`, totals)
    } catch (error) {
      failures.push(`codec ${seed}-${session}: ${String(error)}`)
      if (failures.length > 10) break
    }
  }
  for (const [kind, count] of Object.entries(totals.same))
    faults[`read as mqtt-packet reads it: ${kind}`] = count
}

/** Used by live objects. */
function heapBytes(): number {
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as () => void
  gc()
  return process.memoryUsage().heapUsed + process.memoryUsage().external
}

function mib(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`
}
