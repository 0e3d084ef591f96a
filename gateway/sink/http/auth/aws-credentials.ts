/**
 * The keys that requests to AWS are signed with: of the configuration, of a shared credentials file,
 * else of the environment. Keys that belong together come from one place, never mixed.
 */
import { KeptFile } from '../../../shared/kept-file.ts'
import type { EmitSinkEvent } from '../../events.ts'
import type { AwsCredentials } from './aws-sigv4.ts'
import type { AwsAuthConfig } from './config.ts'
import { KeptSecret } from './kept-secret.ts'

type Environment = Readonly<Record<string, string | undefined>>

export class AwsKeys {
  readonly #sink: string
  readonly #emit: EmitSinkEvent
  readonly #config: AwsAuthConfig
  readonly #environment: Environment
  readonly #written: { readonly id: KeptSecret; readonly secret: KeptSecret } | null
  readonly #token: KeptSecret | null
  readonly #file: KeptFile | null

  constructor(
    sink: string,
    config: AwsAuthConfig,
    emit: EmitSinkEvent,
    environment: Environment = process.env,
  ) {
    this.#sink = sink
    this.#emit = emit
    this.#config = config
    this.#environment = environment
    const kept = (key: 'accessKeyId' | 'secretAccessKey' | 'sessionToken'): KeptSecret | null => {
      const secret = config[key]
      if (secret === null) return null
      return new KeptSecret({ sink, setting: `auth.${key}`, secret, emit, faultOf: keyFault })
    }
    const id = kept('accessKeyId')
    const secret = kept('secretAccessKey')
    this.#written = id === null || secret === null ? null : { id, secret }
    this.#token = kept('sessionToken')
    this.#file = config.credentialsFile === null ? null : new KeptFile(config.credentialsFile)
  }

  /** For the next request, or why there are none. */
  resolve(): { readonly keys: AwsCredentials } | { readonly why: string } {
    if (this.#written !== null) return this.#ofConfiguration(this.#written)
    if (this.#file !== null) return this.#ofFile(this.#file)
    const environment = this.#environment
    const accessKeyId = environment['AWS_ACCESS_KEY_ID'] ?? ''
    const secretAccessKey = environment['AWS_SECRET_ACCESS_KEY'] ?? ''
    if (accessKeyId === '' || secretAccessKey === '') {
      const names = 'AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY'
      return { why: `auth has no keys: write accessKeyId, or credentialsFile, or set ${names}` }
    }
    const sessionToken = environment['AWS_SESSION_TOKEN'] ?? ''
    return {
      keys: {
        accessKeyId,
        secretAccessKey,
        sessionToken: sessionToken === '' ? null : sessionToken,
      },
    }
  }

  get failing(): boolean {
    const { id, secret } = this.#written ?? {}
    const secrets = [id, secret, this.#token]
    return (
      secrets.some((one) => one?.failing === true) ||
      (this.#file !== null && this.#file.failure !== null)
    )
  }

  /** Reads the files again. True: new requests are signed otherwise. */
  async refresh(): Promise<boolean> {
    let changed = false
    for (const one of [this.#written?.id, this.#written?.secret, this.#token])
      if ((await one?.refresh()) === true) changed = true
    if (this.#file === null || (await this.#file.refresh()) === 'same') return changed
    const file = this.#file.path
    const what = 'auth.credentialsFile'
    const found = this.#ofFile(this.#file)
    const sink = this.#sink
    if ('why' in found) {
      this.#emit({
        type: 'sink.file-unusable',
        sink,
        what,
        file,
        kept: false,
        detail: found.why,
      })
      return changed
    }
    this.#emit({ type: 'sink.file-changed', sink, what, file })
    return true
  }

  #ofConfiguration({ id, secret }: { readonly id: KeptSecret; readonly secret: KeptSecret }) {
    const without = [id, secret, this.#token].find((one) => one !== null && one.value === null)
    if (id.value === null || secret.value === null || (without !== undefined && without !== null))
      return { why: without?.why ?? id.why }
    const sessionToken = this.#token?.value ?? null
    return { keys: { accessKeyId: id.value, secretAccessKey: secret.value, sessionToken } }
  }

  #ofFile(file: KeptFile): { readonly keys: AwsCredentials } | { readonly why: string } {
    const whose = `the file of auth.credentialsFile, ${file.path},`
    if (file.content === null) return { why: `${whose} ${file.failure ?? 'cannot be read'}` }
    const { profile } = this.#config
    const found = profileIn(Buffer.from(file.content).toString(), profile)
    if (found === null) return { why: `${whose} has no profile [${profile}]` }
    const accessKeyId = found.get('aws_access_key_id') ?? ''
    const secretAccessKey = found.get('aws_secret_access_key') ?? ''
    if (keyFault(accessKeyId) !== null || keyFault(secretAccessKey) !== null) {
      const lacks = 'aws_access_key_id and aws_secret_access_key'
      return { why: `${whose} does not have both ${lacks} in [${profile}]` }
    }
    return {
      keys: { accessKeyId, secretAccessKey, sessionToken: found.get('aws_session_token') ?? null },
    }
  }
}

function keyFault(value: string): string | null {
  return /^[\x21-\x7e]+$/.test(value) ? null : 'holds spaces or characters that no key has'
}

/** Keys of `[profile]` in a shared credentials file; null: it has none. */
function profileIn(text: string, profile: string): ReadonlyMap<string, string> | null {
  let found: Map<string, string> | null = null
  let isInside = false
  for (const line of text.split(/\r?\n/)) {
    const section = /^\s*\[\s*(.+?)\s*\]\s*(?:[#;].*)?$/.exec(line)
    if (section !== null) {
      isInside = section[1] === profile
      if (isInside) found ??= new Map()
      continue
    }
    const pair = /^([^#;=\s][^=]*?)\s*=\s*(.*?)\s*$/.exec(line)
    if (isInside && pair !== null) found?.set((pair[1] ?? '').toLowerCase(), pair[2] ?? '')
  }
  return found
}
