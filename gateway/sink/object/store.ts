/**
 * Keeps a batch under its names in a store, each of which is there whole or not at all, and never
 * over other bytes: a PUT says `If-None-Match: *`, and what is there already is fetched and
 * compared. Whether a store obeys that is learned from the first object of each run, which is sent
 * once more; one that does not is asked before each PUT what is there.
 *
 * Makes no bucket, and no folder above its URL; removes nothing but temporary names of its own.
 */
import { createHash } from 'node:crypto'
import type { SinkAnswer, Transfer } from '../../ports/sink.ts'
import type { BatchFiles, FormerFile, NamedFile } from '../batch-files/batch-files.ts'
import { temporaryName } from '../batch-files/names.ts'
import type { HeaderPair } from '../http/header-rules.ts'
import { readStoreAnswer, type Said, type StoreStep } from './answers.ts'
import type { ObjectSinkConfig } from './config.ts'
import type { StoreOrigin, StoreRequest, WholeAnswer } from './origin.ts'

/** To learn what a store does, one object that is not larger goes out twice, bytes. */
const LEARN_BYTES = 256 * 1024

/** Ends an exchange with what the sink answers. */
class Ended extends Error {
  override readonly name = 'Ended'
  readonly answer: SinkAnswer

  constructor(answer: SinkAnswer) {
    super(answer.kind)
    this.answer = answer
  }
}

/** What came of a batch. */
interface Kept {
  readonly answer: SinkAnswer
  /** Its data was not there before. */
  readonly isNew: boolean
}

/** One try. */
interface Try {
  readonly signal: AbortSignal
  /** Of the last PUT. */
  transfer: Transfer | null
  /** Bytes of the data have left: nobody knows whether it is there. */
  mayBeThere: boolean
}

type Seen =
  | { readonly kind: 'absent' | 'unseen' }
  | { readonly kind: 'there'; readonly answer: WholeAnswer }

const TYPES: Readonly<Record<string, string>> = {
  gz: 'application/gzip',
  ndjson: 'application/x-ndjson',
  json: 'application/json',
}

export class ObjectStore {
  readonly #config: ObjectSinkConfig
  readonly #origin: StoreOrigin
  /** Does it obey `If-None-Match: *`? null: not known. */
  #obeys: boolean | null = null

  constructor(config: ObjectSinkConfig, origin: StoreOrigin) {
    this.#config = config
    this.#origin = origin
  }

  /** An ack once all of it is there, now or before. Never rejects. */
  async keep(files: BatchFiles, signal: AbortSignal): Promise<Kept> {
    const one: Try = { signal, transfer: null, mayBeThere: false }
    let isNew = false
    const ack = {
      kind: 'verdicts',
      code: null,
      sinkDateMs: null,
      ackedThrough: null,
      listed: [],
    } as const
    let answer: SinkAnswer = ack
    try {
      if (!(await this.#isThereAs(files.former, one))) {
        if (files.gaps !== null) await this.#put(files.gaps, files.folders, one)
        one.transfer = null
        isNew = await this.#put(files.data, files.folders, one)
      }
    } catch (error) {
      if (!(error instanceof Ended)) throw error
      answer = error.answer
      if (answer.kind === 'too-large') answer = await this.#judgeTooLarge(answer, files.data, one)
    }
    const { transfer } = one
    return { answer: transfer === null ? answer : { ...answer, transfer }, isNew }
  }

  /**
   * In pieces it would have other names: what an earlier try may have left there must be known to be
   * absent.
   */
  async #judgeTooLarge(answer: SinkAnswer, data: NamedFile, one: Try): Promise<SinkAnswer> {
    if (answer.kind !== 'too-large') return answer
    try {
      const seen = await this.#look(data.name, bytesOf(data), one)
      if (seen.kind === 'absent') return answer
      if (seen.kind === 'there') {
        this.#compare(data, seen.answer)
        const { code, sinkDateMs } = answer
        return { kind: 'verdicts', code, sinkDateMs, ackedThrough: null, listed: [] }
      }
    } catch (error) {
      if (error instanceof Ended) return error.answer
      throw error
    }
    const detail = `${answer.detail}; whether it is there from an earlier try cannot be seen: give the credentials the right to read`
    return { ...answer, kind: 'hold', scope: 'sink', detail }
  }

  async #isThereAs(former: readonly FormerFile[], one: Try): Promise<boolean> {
    for (const earlier of former) {
      const seen = await this.#look(earlier.name, earlier.maxBytes, one)
      if (seen.kind === 'unseen') throw new Ended(mustSee(earlier.name))
      if (seen.kind === 'there' && earlier.isBatch(seen.answer.body)) return true
    }
    return false
  }

  /** True: it was not there before. */
  async #put(file: NamedFile, folders: readonly string[], one: Try): Promise<boolean> {
    const { store, temporaryNames } = this.#config
    if (store === 'dav' && temporaryNames) return await this.#placeByMove(file, folders, one)
    if (this.#obeys !== true) {
      const seen = await this.#look(file.name, bytesOf(file), one)
      if (seen.kind === 'there') {
        this.#compare(file, seen.answer)
        return false
      }
    }
    const condition: HeaderPair[] = this.#obeys === false ? [] : [['if-none-match', '*']]
    const said = await this.#write(file, condition, folders, one)
    if (said.kind === 'no-condition') {
      if (condition.length === 0) throw new Ended(oddly('answered 501 to a PUT'))
      this.#obeys = false
      return await this.#put(file, folders, one)
    }
    if (said.kind === 'there') {
      this.#obeys = true
      await this.#compareWith(file, one)
      return false
    }
    if (this.#obeys === null && bytesOf(file) <= LEARN_BYTES) {
      const again = await this.#write(file, condition, folders, one)
      this.#obeys = again.kind === 'there'
    }
    return true
  }

  /** A MOVE that must not overwrite is refused by every DAV server (RFC 4918, 10.6). */
  async #placeByMove(file: NamedFile, folders: readonly string[], one: Try): Promise<boolean> {
    const seen = await this.#look(file.name, bytesOf(file), one)
    if (seen.kind === 'there') {
      this.#compare(file, seen.answer)
      return false
    }
    const at = file.name.lastIndexOf('/') + 1
    const temporary = `${file.name.slice(0, at)}${temporaryName(file.name.slice(at))}`
    await this.#write({ ...file, name: temporary }, [], folders, one)
    const headers: HeaderPair[] = [
      ['destination', this.#origin.urlOf(file.name).href],
      ['overwrite', 'F'],
    ]
    const said = await this.#say('move', { method: 'MOVE', name: temporary, headers }, one)
    if (said.kind === 'done') return true
    await this.#compareWith(file, one)
    await this.#say('remove', { method: 'DELETE', name: temporary }, one)
    return false
  }

  /** `done`, `there` or `no-condition`. */
  async #write(
    file: NamedFile,
    condition: readonly HeaderPair[],
    folders: readonly string[],
    one: Try,
  ): Promise<Said> {
    const { name, chunks } = file
    const headers: HeaderPair[] = [['content-type', typeOf(name)], ...condition]
    if (this.#config.store === 's3') headers.push(['content-md5', md5Of(chunks)])
    const request = { method: 'PUT', name, headers, chunks } as const
    const said = await this.#say('put', request, one)
    if (said.kind !== 'no-parent') return said
    await this.#makeFolders(folders, one)
    return await this.#say('put-again', request, one)
  }

  /** Outermost first; what is there stays as it is. The folder of the URL itself is never made. */
  async #makeFolders(folders: readonly string[], one: Try): Promise<void> {
    for (const name of folders)
      await this.#say('make-folder', { method: 'MKCOL', name: `${name}/` }, one)
    if (folders.length > 0 || (await this.#look('', 0, one)).kind !== 'absent') return
    const detail = `${this.#origin.urlOf('').pathname} is not there: make the folder, or correct url`
    throw new Ended({ kind: 'hold', scope: 'sink', code: '404', sinkDateMs: null, detail })
  }

  /** What a name that is taken holds: the same, or the exchange ends. */
  async #compareWith(file: NamedFile, one: Try): Promise<void> {
    const seen = await this.#look(file.name, bytesOf(file), one)
    if (seen.kind === 'there') this.#compare(file, seen.answer)
    else if (seen.kind === 'unseen') throw new Ended(mustSee(file.name))
    else throw new Ended(oddly(`${file.name} was there for a PUT, and is not for a GET`))
  }

  #compare({ name, chunks }: NamedFile, { body, tooLong }: WholeAnswer): void {
    if (!tooLong && Buffer.concat(chunks).equals(body)) return
    const detail =
      `${this.#origin.urlOf(name).pathname} is there with other bytes than this batch: a gateway ` +
      'with the same id wrote it, or this spool was rolled back to an earlier state, or somebody ' +
      'changed the object; look into it and move it away'
    throw new Ended({
      kind: 'hold',
      scope: 'stream',
      code: null,
      sinkDateMs: null,
      detail,
      cloned: true,
    })
  }

  async #look(name: string, maxBytes: number, one: Try): Promise<Seen> {
    const request = { method: 'GET', name, maxAnswerBytes: maxBytes + 1 } as const
    let found: WholeAnswer | null = null
    const said = await this.#say('look', request, one, (answer) => {
      found = answer
    })
    if (said.kind === 'there' && found !== null) return { kind: 'there', answer: found }
    return { kind: said.kind === 'absent' ? 'absent' : 'unseen' }
  }

  /** @throws Ended with whatever ends the exchange */
  async #say(
    step: StoreStep,
    request: StoreRequest,
    one: Try,
    onAnswer?: (answer: WholeAnswer) => void,
  ): Promise<Said> {
    const came = await this.#origin.exchange(request, one.signal)
    if (came.kind === 'unsendable') {
      const detail = `not sent: ${came.why}`
      throw new Ended({
        kind: 'hold',
        scope: 'sink',
        code: null,
        sinkDateMs: null,
        detail,
        unsent: true,
      })
    }
    if (step === 'put' || step === 'put-again') {
      one.transfer = came.transfer
      one.mayBeThere ||= came.kind === 'answered' || !came.unsent
    }
    if (came.kind === 'failed') {
      const silent = { kind: 'retry', scope: 'sink', retryAfterMs: null, answered: false } as const
      const { detail } = came
      const unsent = !one.mayBeThere
      throw new Ended({ ...silent, code: null, sinkDateMs: null, detail, unsent })
    }
    const { store, maxRetryAfter } = this.#config
    const said = readStoreAnswer(store, step, came.answer, maxRetryAfter)
    if (said.kind === 'answer') throw new Ended(said.answer)
    onAnswer?.(came.answer)
    return said
  }
}

function mustSee(name: string): SinkAnswer {
  const detail = `${name} is there, and what it holds cannot be seen: give the credentials the right to read (s3:GetObject)`
  return { kind: 'hold', scope: 'sink', code: '403', sinkDateMs: null, detail }
}

function oddly(detail: string): SinkAnswer {
  const silent = { retryAfterMs: null, answered: true } as const
  return { kind: 'retry', scope: 'sink', code: null, sinkDateMs: null, ...silent, detail }
}

function typeOf(name: string): string {
  return TYPES[/\.([a-z]+)(?:\.tmp)?$/.exec(name)?.[1] ?? ''] ?? 'application/octet-stream'
}

function bytesOf({ chunks }: NamedFile): number {
  return chunks.reduce((bytes, chunk) => bytes + chunk.length, 0)
}

function md5Of(chunks: readonly Uint8Array[]): string {
  const hash = createHash('md5')
  for (const chunk of chunks) hash.update(chunk)
  return hash.digest('base64')
}
