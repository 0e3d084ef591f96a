/**
 * A reference receiver of OTLP/HTTP logs, since no collector is to be had from a package: `node
 * otlp-child.js PORT FOLDER`. By the specification: `{}` once all are stored; `partialSuccess` that
 * counts what was rejected, here those with a member `poison`, while the others of the request are
 * stored; 503 while it is busy. It knows no repeats: what comes again is there again.
 */
import { join } from 'node:path'
import { type Asked, Journal, type Said, serve } from './reference.ts'

interface LogRecord {
  readonly body: { readonly stringValue?: string }
  readonly attributes: ReadonlyArray<{
    readonly key: string
    readonly value: { readonly stringValue?: string }
  }>
}

interface Logs {
  readonly resourceLogs: ReadonlyArray<{
    readonly scopeLogs: ReadonlyArray<{ readonly logRecords: readonly LogRecord[] }>
  }>
}

class OtlpReceiver {
  readonly #journal: Journal<LogRecord>
  readonly #records: LogRecord[]
  #token = 'right'
  #isBusy = false

  constructor(folder: string) {
    this.#journal = new Journal(join(folder, 'records.ndjson'))
    this.#records = this.#journal.read()
  }

  answer(asked: Asked): Said {
    const { method, url, body } = asked
    switch (`${method} ${url.pathname}`) {
      // The reference's own, for tests.
      case 'PUT /_reference/busy':
        this.#isBusy = (JSON.parse(body) as { readonly busy: boolean }).busy
        return { status: 200, body: {} }
      case 'PUT /_reference/token':
        this.#token = (JSON.parse(body) as { readonly token: string }).token
        return { status: 200, body: {} }
      case 'GET /_reference/records':
        return { status: 200, body: this.#records }
      case 'POST /v1/logs':
        return this.#take(asked)
      default:
        return { status: 404, body: { message: 'there is nothing' } }
    }
  }

  #take({ headers, body }: Asked): Said {
    if (headers.authorization !== `Bearer ${this.#token}`)
      return { status: 401, body: { code: 16, message: 'the token is missing or wrong' } }
    if (this.#isBusy) return { status: 503, body: { code: 14, message: 'the queue is full' } }
    const { resourceLogs } = JSON.parse(body) as Logs
    const all = resourceLogs.flatMap(({ scopeLogs }) =>
      scopeLogs.flatMap(({ logRecords }) => logRecords),
    )
    const taken = all.filter((record) => !isPoison(record))
    this.#journal.append(taken)
    this.#records.push(...taken)
    const rejected = all.length - taken.length
    if (rejected === 0) return { status: 200, body: {} }
    // A number of 64 bits is a string in the JSON of protobuf.
    const partial = { rejectedLogRecords: String(rejected), errorMessage: 'poison' }
    return { status: 200, body: { partialSuccess: partial } }
  }
}

function isPoison({ body: { stringValue = '{}' } }: LogRecord): boolean {
  return (JSON.parse(stringValue) as { readonly poison?: boolean }).poison === true
}

const [port = '0', folder = '.'] = process.argv.slice(2)
const receiver = new OtlpReceiver(folder)
serve(Number(port), (asked) => receiver.answer(asked))
