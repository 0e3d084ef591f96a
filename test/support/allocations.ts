/**
 * How many bytes of JavaScript objects a piece of code allocates, those that are collected
 * included: V8's sampling heap profiler counts allocated bytes, not time, so a busy machine
 * measures the same. Buffers' own memory does not count.
 */
import { Session } from 'node:inspector/promises'

/** Between two samples, on average. */
const SAMPLE_EVERY_BYTES = 512

interface ProfileNode {
  readonly callFrame: {
    readonly url: string
    readonly functionName: string
    readonly lineNumber: number
  }
  readonly selfSize: number
  readonly children: readonly ProfileNode[]
}

export interface Allocations {
  /**
   * Bytes that functions of matching files allocated, with what they called of the language and of
   * Node.
   */
  readonly bytes: number
  /** The functions that allocated most, with what they did. */
  readonly top: readonly string[]
}

/** `files`: parts of the addresses of those that count. */
export async function allocationsOf(
  files: readonly string[],
  run: () => Promise<void>,
): Promise<Allocations> {
  const session = new Session()
  session.connect()
  try {
    await session.post('HeapProfiler.startSampling', {
      samplingInterval: SAMPLE_EVERY_BYTES,
      includeObjectsCollectedByMajorGC: true,
      includeObjectsCollectedByMinorGC: true,
    })
    await run()
    const { profile } = await session.post('HeapProfiler.stopSampling')
    const byFunction = new Map<string, number>()
    // A function of the language or of Node allocates for its caller, whether it was compiled into
    // it or not.
    const add = ({ callFrame, selfSize, children }: ProfileNode, caller: string | null): void => {
      const { url, functionName, lineNumber } = callFrame
      const file = files.find((part) => url.includes(part))
      const own = url === '' || url.startsWith('node:') ? caller : null
      const name =
        file === undefined
          ? own
          : `${functionName} ${url.slice(url.indexOf(file))}:${lineNumber + 1}`
      if (name !== null) byFunction.set(name, (byFunction.get(name) ?? 0) + selfSize)
      for (const child of children) add(child, name)
    }
    add(profile.head, null)
    const sorted = [...byFunction].toSorted((a, b) => b[1] - a[1])
    return {
      bytes: sorted.reduce((sum, [, bytes]) => sum + bytes, 0),
      top: sorted.slice(0, 12).map(([name, bytes]) => `${Math.round(bytes)} ${name}`),
    }
  } finally {
    session.disconnect()
  }
}
