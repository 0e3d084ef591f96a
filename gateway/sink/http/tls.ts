/**
 * Certificate authority, client certificate and key of a sink, read again when their files change.
 * What was read last and fits together is what new connections use: a certificate that is rotated
 * before its key does not end delivery. Not here: connections (http-sink.ts), the listeners'
 * certificates (the broker's).
 */
import { createSecureContext, type SecureContext } from 'node:tls'
import { KeptFile } from '../../shared/kept-file.ts'
import type { EmitSinkEvent } from '../events.ts'
import { authoritiesStamp, systemAuthorities } from './authorities.ts'
import type { ClientTlsConfig } from './config.ts'

/** PEM texts of the files. */
interface TlsMaterial {
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
}

export class SinkTls {
  readonly #sink: string
  readonly #emit: EmitSinkEvent
  readonly #files: ReadonlyArray<{ readonly part: keyof TlsMaterial; readonly file: KeptFile }>
  #material: TlsMaterial | null = null
  /**
   * Of the material; made with the first connection: reading the system's authorities takes some
   * 0.1 s.
   */
  #context: SecureContext | null = null
  /** Of the system's authorities as they were read. */
  #systemStamp = ''
  #failure: string | null = null

  constructor(sink: string, config: ClientTlsConfig | null, emit: EmitSinkEvent) {
    this.#sink = sink
    this.#emit = emit
    this.#files = (['ca', 'cert', 'key'] as const).flatMap((part) => {
      const path = config?.[part] ?? null
      return path === null ? [] : [{ part, file: new KeptFile(path) }]
    })
    this.#rebuild()
  }

  /** For the next connection, or why there can be none. */
  resolve(): { readonly context: SecureContext } | { readonly why: string } {
    if (this.#material === null) return { why: this.#failure ?? 'the certificates cannot be used' }
    this.#context ??= this.#create(this.#material)
    return { context: this.#context }
  }

  /**
   * If the system's authorities changed and count here, they are read anew with the next
   * connection.
   */
  forgetSystem(): boolean {
    if (this.#context === null || this.#material?.ca !== undefined) return false
    if (authoritiesStamp() === this.#systemStamp) return false
    this.#context = null
    return true
  }

  /** True: a file cannot be read. */
  get failing(): boolean {
    return this.#files.some(({ file }) => file.failure !== null)
  }

  /** Reads the files again. True: new connections get something new. Never rejects. */
  async refresh(): Promise<boolean> {
    let news = false
    for (const { file } of this.#files) {
      if ((await file.refresh()) !== 'same') news = true
    }
    if (!news) return false
    const before = JSON.stringify(this.#material)
    this.#rebuild()
    return JSON.stringify(this.#material) !== before
  }

  /** Takes what the files hold if all of them can be read and belong together. */
  #rebuild(): void {
    const material: { -readonly [part in keyof TlsMaterial]: string } = {}
    for (const { part, file } of this.#files) {
      if (file.content === null || file.failure !== null) {
        this.#unusable(part, file.path, file.failure ?? 'cannot be read')
        return
      }
      material[part] = Buffer.from(file.content).toString()
    }
    try {
      createSecureContext(material)
    } catch (error) {
      const first = this.#files[0]
      const parts = this.#files.map(({ part }) => part).join(', ')
      this.#unusable(
        parts,
        first?.file.path ?? '',
        `cannot be used together: ${(error as Error).message}`,
      )
      return
    }
    const isReload = this.#material !== null || this.#failure !== null
    this.#material = material
    this.#context = null
    this.#failure = null
    if (!isReload) return
    const paths = this.#files.map(({ file }) => file.path).join(', ')
    this.#emit({ type: 'sink.file-changed', sink: this.#sink, what: 'tls', file: paths })
  }

  #create(material: TlsMaterial): SecureContext {
    if (material.ca !== undefined) return createSecureContext(material)
    const { ca, failures, stamp } = systemAuthorities()
    this.#systemStamp = stamp
    for (const failure of failures) {
      this.#emit({
        type: 'sink.file-unusable',
        sink: this.#sink,
        what: 'tls.ca',
        file: failure.split(', ')[1] ?? '',
        kept: true,
        detail: failure,
      })
    }
    return createSecureContext(ca === undefined ? material : { ...material, ca })
  }

  #unusable(part: string, path: string, detail: string): void {
    this.#failure = `the file of tls.${part}, ${path}, ${detail}`
    const kept = this.#material !== null
    this.#emit({
      type: 'sink.file-unusable',
      sink: this.#sink,
      what: `tls.${part}`,
      file: path,
      kept,
      detail,
    })
  }
}
