/**
 * One secret of a sink: a literal, or a file that is read again when it changes. The value that was
 * usable last stays in use. I8: without any, nothing is sent and nothing is dropped; the sink holds
 * and says which file.
 */
import { KeptFile } from '../../../shared/kept-file.ts'
import { type Secret, secretText } from '../../../shared/secret-file.ts'
import type { EmitSinkEvent } from '../../events.ts'

interface SecretOptions {
  readonly sink: string
  /** As the configuration calls it, below the sink: `auth.token`. */
  readonly setting: string
  readonly secret: Secret
  readonly emit: EmitSinkEvent
  /** What is wrong with a value, without repeating it: `holds spaces`. null: nothing. */
  readonly faultOf: (value: string) => string | null
}

export class KeptSecret {
  readonly #options: SecretOptions
  readonly #file: KeptFile | null
  #value: string | null = null
  #failure: string | null = null

  constructor(options: SecretOptions) {
    this.#options = options
    const { secret } = options
    this.#file = 'file' in secret ? new KeptFile(secret.file) : null
    if (!('value' in secret)) {
      this.#take()
      return
    }
    this.#failure = options.faultOf(secret.value)
    if (this.#failure === null) this.#value = secret.value
  }

  get value(): string | null {
    return this.#value
  }

  /** Why there is no value, for people. */
  get why(): string {
    const { setting } = this.#options
    const whose = this.#file === null ? setting : `the file of ${setting}, ${this.#file.path},`
    return `${whose} ${this.#failure ?? 'has no value'}`
  }

  /** Its file cannot be read. */
  get failing(): boolean {
    return this.#file !== null && this.#file.failure !== null
  }

  /** Reads the file again. True: there is a new value. Never rejects. */
  async refresh(): Promise<boolean> {
    if (this.#file === null) return false
    const result = await this.#file.refresh()
    if (result === 'same' || !this.#take() || result !== 'changed') return false
    const { sink, setting: what, emit } = this.#options
    emit({ type: 'sink.file-changed', sink, what, file: this.#file.path })
    return true
  }

  /** Takes the file's content as the value if it can be one. */
  #take(): boolean {
    if (this.#file === null) return false
    const { sink, setting: what, emit, faultOf } = this.#options
    this.#failure = this.#file.failure
    if (this.#failure === null && this.#file.content !== null) {
      const text = secretText(this.#file.content)
      this.#failure = text === '' ? 'is empty' : faultOf(text)
      if (this.#failure === null) {
        this.#value = text
        return true
      }
    }
    emit({
      type: 'sink.file-unusable',
      sink,
      what,
      file: this.#file.path,
      kept: this.#value !== null,
      detail: this.#failure ?? 'cannot be read',
    })
    return false
  }
}
