/**
 * The headers that show a store whose request it is, made for each try: a signature holds for some
 * minutes. Secrets are read again when their files change; what cannot be read holds the sink (I8).
 */
import { KeptFile } from '../../shared/kept-file.ts'
import { type Secret, secretText } from '../../shared/secret-file.ts'
import type { EmitSinkEvent } from '../events.ts'
import { sha256Hex, sigV4Headers } from '../http/auth/aws-sigv4.ts'
import type { HeaderPair } from '../http/header-rules.ts'
import type { ObjectAuthConfig, ObjectSinkConfig } from './config.ts'

/** A request before it is signed. */
interface PlainRequest {
  readonly method: string
  readonly url: URL
  readonly headers: readonly HeaderPair[]
  readonly chunks: readonly Uint8Array[]
}

type Resolved = { readonly pairs: readonly HeaderPair[] } | { readonly why: string }

class KeptSecret {
  readonly #setting: string
  readonly #value: string | null
  readonly #file: KeptFile | null

  constructor(setting: string, secret: Secret) {
    this.#setting = setting
    this.#value = 'value' in secret ? secret.value : null
    this.#file = 'file' in secret ? new KeptFile(secret.file) : null
  }

  get file(): KeptFile | null {
    return this.#file
  }

  get setting(): string {
    return this.#setting
  }

  /** @throws Error with the reason why there is none */
  read(): string {
    if (this.#value !== null) return this.#value
    const content = this.#file?.content ?? null
    const text = content === null ? '' : secretText(content)
    if (/^[\x21-\x7e]+$/.test(text)) return text
    const why = this.#file?.failure ?? 'holds no visible ASCII characters, or others as well'
    throw new Error(`the file of ${this.#setting}, ${this.#file?.path}, ${why}`)
  }
}

export class StoreAuth {
  readonly #sink: string
  readonly #emit: EmitSinkEvent
  readonly #auth: ObjectAuthConfig
  readonly #secrets = new Map<string, KeptSecret>()
  readonly #headers: ReadonlyMap<string, KeptSecret>

  constructor(
    sink: string,
    { auth, headers }: Pick<ObjectSinkConfig, 'auth' | 'headers'>,
    emit: EmitSinkEvent,
  ) {
    this.#sink = sink
    this.#emit = emit
    this.#auth = auth
    for (const [key, value] of Object.entries(auth)) {
      if (typeof value === 'object' && value !== null)
        this.#secrets.set(key, new KeptSecret(`auth.${key}`, value))
    }
    this.#headers = new Map(
      Object.entries(headers).map(([name, value]) => [
        name,
        new KeptSecret(`headers.${name}`, value),
      ]),
    )
  }

  /** All headers but those of HTTP itself. */
  headersOf(request: PlainRequest, nowMs: number): Resolved {
    try {
      const configured = [...this.#headers].map(([name, one]) => [name, one.read()] as const)
      const headers = [...request.headers, ...configured]
      return { pairs: [...headers, ...this.#credentials({ ...request, headers }, nowMs)] }
    } catch (error) {
      return { why: (error as Error).message }
    }
  }

  /** What no message may show. */
  get secrets(): string[] {
    return [...this.#secrets.values(), ...this.#headers.values()].flatMap((one) => {
      try {
        return [one.read()]
      } catch {
        return []
      }
    })
  }

  /** True: a file cannot be read. */
  get failing(): boolean {
    return this.#all.some(({ file }) => file !== null && file.failure !== null)
  }

  /** Reads the files again. True: at least one value is new. Never rejects. */
  async refresh(): Promise<boolean> {
    let changed = false
    for (const { file, setting } of this.#all) {
      if (file === null || (await file.refresh()) !== 'changed') continue
      changed = true
      this.#emit({ type: 'sink.file-changed', sink: this.#sink, what: setting, file: file.path })
    }
    return changed
  }

  get #all(): KeptSecret[] {
    return [...this.#secrets.values(), ...this.#headers.values()]
  }

  /** @throws Error as {@link KeptSecret.read} */
  #credentials(request: PlainRequest, nowMs: number): readonly HeaderPair[] {
    const auth = this.#auth
    switch (auth.kind) {
      case 'none':
        return []
      case 'basic': {
        const pair = Buffer.from(`${auth.user}:${this.#secret('password')}`).toString('base64')
        return [['authorization', `Basic ${pair}`]]
      }
      case 'bearer':
        return [['authorization', `Bearer ${this.#secret('token')}`]]
      default: {
        const { method, url, headers, chunks } = request
        const credentials = {
          accessKeyId: auth.accessKeyId,
          secretAccessKey: this.#secret('secretAccessKey'),
          sessionToken: auth.sessionToken === null ? null : this.#secret('sessionToken'),
        }
        const signed = { method, url, headers, payloadHash: sha256Hex(chunks), atMs: nowMs }
        return sigV4Headers(signed, credentials, { region: auth.region, service: 's3' })
      }
    }
  }

  #secret(key: string): string {
    const secret = this.#secrets.get(key)
    if (secret === undefined) throw new Error(`auth.${key} is not set`)
    return secret.read()
  }
}
