/**
 * What one key's schema cannot see: names, references, limits that contradict each other, and who
 * could read or write what. Pure. Errors stop the start; warnings are shown and logged.
 */
import { isLoopback } from '../shared/hosts.ts'
import { nearest } from '../shared/nearest.ts'
import { checkAnswers } from './answer-checks.ts'
import type { AuthConfig, Config, HttpSinkConfig, ListenerConfig, StreamConfig } from './config.ts'
import { NAME_PATTERN, NAME_WORDS, nameFix } from './fields.ts'
import type { Problem } from './problems.ts'
import { showValue } from './problems.ts'
import { formatSize } from './units.ts'
import type { OriginOf } from './validate.ts'
import { isMap, keyPath, type Path } from './walk.ts'

type Complaint = Pick<Problem, 'got' | 'wanted' | 'fix'>
export type Complain = (path: Path, complaint: Complaint) => void

/** Names of streams and sinks as written, before the schema: it would pass over `__proto__`. */
export function nameProblems(data: unknown, originOf: OriginOf): Problem[] {
  if (!isMap(data)) return []
  return ['streams', 'sinks'].flatMap((section) => {
    const names = data[section]
    if (!isMap(names)) return []
    return Object.keys(names)
      .filter((name) => !NAME_PATTERN.test(name))
      .map((name): Problem => {
        const path = [section, name]
        const facts = {
          code: 'CONFIG_BAD_VALUE',
          origin: originOf(path),
          key: keyPath(path),
        } as const
        return {
          ...facts,
          got: `the name ${showValue(name)}`,
          wanted: NAME_WORDS,
          fix: nameFix(name),
        }
      })
  })
}

export function crossCheck(
  config: Config,
  originOf: OriginOf,
): { readonly problems: readonly Problem[]; readonly warnings: readonly string[] } {
  const problems: Problem[] = []
  const warnings: string[] = []
  const complain: Complain = (path, complaint) =>
    problems.push({
      code: 'CONFIG_CONFLICT',
      origin: originOf(path),
      key: keyPath(path),
      ...complaint,
    })
  const warn = (path: Path, text: string) => warnings.push(`${keyPath(path)}: ${text}`)
  checkListeners(config, complain, warn)
  checkLimits(config, complain)
  checkStreams(config, complain, warn)
  for (const [name, sink] of Object.entries(config.sinks))
    checkSink(['sinks', name], sink, complain, warn)
  checkAdmin(config, complain, warn)
  return { problems, warnings }
}

function checkListeners(
  { mqtt }: Config,
  complain: Complain,
  warn: (path: Path, text: string) => void,
): void {
  if (mqtt.auth !== null) checkAuth(['mqtt', 'auth'], mqtt.auth, complain)
  const taken = new Map<string, number>()
  for (const [index, listener] of mqtt.listeners.entries()) {
    const path = ['mqtt', 'listeners', index]
    const address = `${listener.host.toLowerCase()} port ${listener.port}`
    const first = taken.get(address)
    if (first !== undefined && listener.port !== 0) {
      const fix = 'change the port of one of them'
      complain(path, {
        got: `${address} a second time`,
        wanted: `another address than mqtt.listeners[${first}]`,
        fix,
      })
    }
    taken.set(address, index)
    checkListenerAccess(path, listener, mqtt.auth, mqtt.allowAnonymous, complain, warn)
  }
}

function checkAuth(path: Path, { passwordFile, aclFile }: AuthConfig, complain: Complain): void {
  if (passwordFile !== null || aclFile !== null) return
  complain(path, {
    got: 'neither passwordFile nor aclFile',
    wanted: 'at least one of them',
    fix: `set ${keyPath(path)}.passwordFile (sluice passwd writes it), or write ${keyPath(path)}: null`,
  })
}

function checkListenerAccess(
  path: Path,
  listener: ListenerConfig,
  commonAuth: AuthConfig | null,
  allowAnonymous: boolean,
  complain: Complain,
  warn: (path: Path, text: string) => void,
): void {
  const auth = listener.auth === undefined ? commonAuth : listener.auth
  const open = !isLoopback(listener.host)
  const knowsClients =
    (auth !== null && auth.passwordFile !== null) || listener.tls?.requireClientCert === true
  if (listener.auth) checkAuth([...path, 'auth'], listener.auth, complain)
  if (open && !knowsClients && !allowAnonymous) {
    complain([...path, 'host'], {
      got: `${showValue(listener.host)} without authentication`,
      wanted: 'mqtt.auth, or a loopback address',
      fix: 'set mqtt.auth.passwordFile (sluice passwd writes it), or tls.requireClientCert, or listen on 127.0.0.1, or set mqtt.allowAnonymous to true if everyone on that network may publish',
    })
  }
  if (open && auth !== null && auth.passwordFile !== null && listener.tls === null)
    warn(path, `passwords cross the network unencrypted on ${listener.host}; set tls`)
  if (listener.tls?.requireClientCert === true && listener.tls.ca === null) {
    const fix = 'set ca to the file of the authorities that sign them'
    complain([...path, 'tls', 'requireClientCert'], {
      got: 'true without ca',
      wanted: 'ca, to check them',
      fix,
    })
  }
}

function checkLimits({ mqtt }: Config, complain: Complain): void {
  const atLeast = [
    ['maxUnackedBytes', 'maxPacketBytes'],
    ['maxUnackedBytesTotal', 'maxUnackedBytes'],
    ['maxUnackedMessagesTotal', 'maxUnackedMessages'],
    ['maxHoldBackBytesTotal', 'maxHoldBackBytes'],
    ['maxSubscriberBytesTotal', 'maxSubscriberBytes'],
    ['maxRetainedBytes', 'maxRetainedMessageBytes'],
    ['maxPacketBytes', 'maxConnectPacketBytes'],
  ] as const
  for (const [key, least] of atLeast) {
    if (mqtt[key] >= mqtt[least]) continue
    const isSize = key.includes('Bytes')
    const show = (value: number) => (isSize ? formatSize(value) : String(value))
    complain(['mqtt', key], {
      got: show(mqtt[key]),
      wanted: `at least mqtt.${least} (${show(mqtt[least])})`,
      fix: `write ${show(mqtt[least])} or more, or lower mqtt.${least}`,
    })
  }
}

function checkStreams(
  config: Config,
  complain: Complain,
  warn: (path: Path, text: string) => void,
): void {
  const names = Object.entries(config.streams)
  if (names.length === 0) {
    const fix = 'add a stream, or remove the key streams for the default one'
    complain(['streams'], { got: 'no stream', wanted: 'at least one', fix })
  }
  const used = new Set<string>()
  for (const [name, stream] of names) {
    const path = ['streams', name]
    used.add(stream.sink)
    checkStreamSink(path, stream, config, complain)
    checkStreamSizes(path, stream, config, complain, warn)
    for (const [index, topic] of stream.topics.entries()) {
      if (stream.topics.indexOf(topic) < index)
        warn([...path, 'topics', index], `${showValue(topic)} is there twice; once is enough`)
    }
  }
  for (const sink of Object.keys(config.sinks)) {
    if (!used.has(sink)) warn(['sinks', sink], 'no stream uses it')
  }
}

function checkStreamSink(
  path: Path,
  { sink }: StreamConfig,
  { sinks }: Config,
  complain: Complain,
): void {
  if (Object.hasOwn(sinks, sink)) return
  const known = Object.keys(sinks)
  const near = nearest(sink, known) ?? (known.length === 1 ? known[0] : undefined)
  complain([...path, 'sink'], {
    got: showValue(sink),
    wanted:
      known.length === 0 ? 'a sink; there is none' : `the name of a sink: ${known.join(', ')}`,
    fix:
      near === undefined
        ? `add sinks.${sink}, or name another`
        : `write ${near}, or add sinks.${sink}`,
  })
}

function checkStreamSizes(
  path: Path,
  stream: StreamConfig,
  { sinks, mqtt }: Config,
  complain: Complain,
  warn: (path: Path, text: string) => void,
): void {
  const record = formatSize(stream.maxRecordBytes)
  for (const [key, bytes] of [
    ['maxBytes', stream.maxBytes],
    ['deadLetters.maxBytes', stream.deadLetters.maxBytes],
  ] as const) {
    if (bytes >= stream.maxRecordBytes) continue
    complain([...path, ...key.split('.')], {
      got: formatSize(bytes),
      wanted: `room for one record of maxRecordBytes (${record}), or it would wait for ever`,
      fix: `write ${record} or more, or lower maxRecordBytes`,
    })
  }
  if (stream.maxRecordBytes > mqtt.maxPacketBytes)
    warn(
      [...path, 'maxRecordBytes'],
      `${record} is never reached: mqtt.maxPacketBytes is ${formatSize(mqtt.maxPacketBytes)}`,
    )
  const sink = Object.hasOwn(sinks, stream.sink) ? sinks[stream.sink] : undefined
  if (sink !== undefined && stream.maxRecordBytes > sink.maxBatchBytes)
    warn(
      [...path, 'maxRecordBytes'],
      `a record over maxBatchBytes of ${stream.sink} (${formatSize(sink.maxBatchBytes)}) is sent alone, in a larger request`,
    )
}

/** Headers that the contract or HTTP itself gives (ingest contract, table of headers). */
const RESERVED_HEADER = /^(sluice-.*|content-.*|idempotency-key)$/i
const CONNECTION_HEADER =
  /^(host|connection|keep-alive|proxy-connection|transfer-encoding|te|trailer|upgrade|expect)$/i
/** RFC 9110, section 5.6.2. */
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/

function checkSink(
  path: Path,
  sink: HttpSinkConfig,
  complain: Complain,
  warn: (path: Path, text: string) => void,
): void {
  const url = new URL(sink.url)
  checkHeaders(path, sink, complain)
  checkAnswers(path, sink, complain)
  if (url.protocol === 'http:') {
    if (sink.tls !== null) {
      const fix = 'write https:// in url, or remove tls'
      complain([...path, 'tls'], {
        got: 'TLS files for a plain http URL',
        wanted: 'an https URL',
        fix,
      })
    }
    const what = secretsOf(sink, url)
    if (what !== null && !isLoopback(url.hostname) && !sink.allowInsecure) {
      complain([...path, 'url'], {
        got: `plain http to another host, with ${what}`,
        wanted: 'https, so that nobody on the way can read the secret',
        fix: 'write https:// in url, or set allowInsecure to true',
      })
    }
  }
  const { cert = null, key = null } = sink.tls ?? {}
  if ((cert === null) !== (key === null)) {
    const missing = cert === null ? 'cert' : 'key'
    complain([...path, 'tls'], {
      got: `no ${missing}`,
      wanted: 'cert and key, or neither',
      fix: `add ${missing}`,
    })
  }
  if (sink.ack === 'status' && sink.ackStatus.includes(202))
    warn(
      [...path, 'ackStatus'],
      '202 means "not done yet": a sink that loses it afterwards has lost it for good',
    )
}

function checkHeaders(
  path: Path,
  { headers, bearerToken }: HttpSinkConfig,
  complain: Complain,
): void {
  const seen = new Set<string>()
  for (const header of Object.keys(headers)) {
    const here = [...path, 'headers', header]
    const got = `the header ${showValue(header)}`
    const lower = header.toLowerCase()
    if (!HEADER_NAME.test(header)) {
      const wanted = 'a header name: letters, digits and - without spaces'
      complain(here, { got, wanted, fix: 'rename it' })
    } else if (RESERVED_HEADER.test(header)) {
      const wanted = 'none of Sluice-*, Content-*, Idempotency-Key: the ingest contract sets them'
      complain(here, { got, wanted, fix: 'remove it, or choose another name' })
    } else if (CONNECTION_HEADER.test(header)) {
      complain(here, { got, wanted: 'no header that HTTP itself sets', fix: 'remove it' })
    } else if (lower === 'authorization' && bearerToken !== null) {
      const fix = 'remove the header or bearerToken'
      complain(here, { got: `${got} beside bearerToken`, wanted: 'one of the two', fix })
    } else if (seen.has(lower)) {
      complain(here, {
        got: `${got} twice`,
        wanted: 'each header once',
        fix: 'remove one of the two',
      })
    }
    seen.add(lower)
  }
}

/**
 * What of a request is a secret, in words: everything that is hidden when the configuration is
 * printed.
 */
function secretsOf(sink: HttpSinkConfig, url: URL): string | null {
  if (sink.bearerToken !== null) return 'a bearerToken'
  if (Object.keys(sink.headers).length > 0) return 'headers'
  return url.search === '' ? null : 'a query in the URL'
}

function checkAdmin(
  { admin, mqtt }: Config,
  complain: Complain,
  warn: (path: Path, text: string) => void,
): void {
  const same = mqtt.listeners.findIndex(
    ({ host, port }) => host === admin.host && port === admin.port,
  )
  if (same >= 0 && admin.port !== 0) {
    const fix = 'change one of the two ports'
    complain(['admin', 'port'], {
      got: `the port of mqtt.listeners[${same}]`,
      wanted: 'a port of its own',
      fix,
    })
  }
  if (isLoopback(admin.host)) return
  const path = ['admin', 'host']
  if (admin.token === null)
    warn(
      path,
      `on ${admin.host} without a token only /, /metrics, /livez and /readyz are served; set admin.token for the rest`,
    )
  else
    warn(
      path,
      `the token crosses the network unencrypted on ${admin.host}; put a TLS proxy before it`,
    )
}
