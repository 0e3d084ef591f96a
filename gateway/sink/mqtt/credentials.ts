/**
 * As whom a gateway connects: user name and password, which for Azure IoT Hub is a token, signed
 * anew for each connection. Secrets come from files that are read again when they change. I8:
 * without a usable secret nothing is sent, and the sink holds and says which file.
 */
import { createHmac } from 'node:crypto'
import { KeptFile } from '../../shared/kept-file.ts'
import { secretText } from '../../shared/secret-file.ts'
import type { EmitSinkEvent } from '../events.ts'
import { targetOf } from './client/transport.ts'
import type { MqttSinkConfig } from './config.ts'

/** Azure's newest that its documents name for devices. */
const AZURE_API = '2021-04-12'
/** A token is judged when a client connects, and the hub closes when it expires. */
const TOKEN_SECONDS = 3600

type CredentialKeys = Pick<
  MqttSinkConfig,
  'url' | 'profile' | 'clientId' | 'username' | 'password' | 'sharedAccessKey'
>

interface Login {
  readonly username: string | null
  readonly password: string | null
}

export class MqttCredentials {
  readonly #sink: string
  readonly #config: CredentialKeys
  readonly #emit: EmitSinkEvent
  readonly #what: 'password' | 'sharedAccessKey'
  readonly #file: KeptFile | null

  constructor(sink: string, config: CredentialKeys, emit: EmitSinkEvent) {
    this.#sink = sink
    this.#config = config
    this.#emit = emit
    this.#what = config.sharedAccessKey === null ? 'password' : 'sharedAccessKey'
    const secret = config[this.#what]
    this.#file = secret !== null && 'file' in secret ? new KeptFile(secret.file) : null
    if (this.#file !== null && this.#file.content === null) this.#sayUnusable(this.#file)
  }

  /** For the next connection, or why there can be none. @param nowMs wall clock */
  resolve(nowMs: number): Login | { readonly why: string } {
    const { profile, url, clientId, sharedAccessKey } = this.#config
    const { hostname } = targetOf(url)
    const isAzure = profile === 'azure-iot-hub'
    const username =
      this.#config.username ??
      (isAzure ? `${hostname}/${clientId}/?api-version=${AZURE_API}` : null)
    const secret = this.#config[this.#what]
    if (secret === null) return { username, password: null }
    let text: string
    if ('value' in secret) text = secret.value
    else {
      const content = this.#file?.content ?? null
      if (content === null) {
        const failure = this.#file?.failure ?? 'cannot be read'
        return { why: `the file of ${this.#what}, ${secret.file}, ${failure}` }
      }
      text = secretText(content)
    }
    if (sharedAccessKey === null) return { username, password: text }
    const expirySeconds = Math.floor(nowMs / 1000) + TOKEN_SECONDS
    return { username, password: sasToken(`${hostname}/devices/${clientId}`, text, expirySeconds) }
  }

  get failing(): boolean {
    return this.#file !== null && this.#file.failure !== null
  }

  /** Reads the file again. True: the secret is a new one. Never rejects. */
  async refresh(): Promise<boolean> {
    const file = this.#file
    if (file === null) return false
    const result = await file.refresh()
    if (result === 'unreadable') this.#sayUnusable(file)
    if (result !== 'changed') return false
    const { path } = file
    this.#emit({ type: 'sink.file-changed', sink: this.#sink, what: this.#what, file: path })
    return true
  }

  #sayUnusable({ path: file, content, failure }: KeptFile): void {
    this.#emit({
      type: 'sink.file-unusable',
      sink: this.#sink,
      what: this.#what,
      file,
      kept: content !== null,
      detail: failure ?? 'cannot be read',
    })
  }
}

/** A shared access signature, as IoT Hub's documents make one of a resource and a key. */
function sasToken(resource: string, key: string, expirySeconds: number): string {
  const uri = encodeURIComponent(resource)
  const signature = createHmac('sha256', Buffer.from(key, 'base64'))
    .update(`${uri}\n${expirySeconds}`)
    .digest('base64')
  return `SharedAccessSignature sr=${uri}&sig=${encodeURIComponent(signature)}&se=${expirySeconds}`
}
