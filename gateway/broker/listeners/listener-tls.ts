/**
 * Certificates of a listener: read, checked as a whole, and described. New files become a new
 * secure context for new connections; connections that are open keep theirs.
 */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import {
  createSecureContext,
  type SecureContextOptions,
  type TLSSocket,
  type TlsOptions,
  type Server as TlsServer,
} from 'node:tls'
import { errorCode, errorMessage } from '../../shared/errors.ts'
import { FileWatch } from '../../shared/file-watch.ts'
import type { ServerTlsConfig } from '../config.ts'
import type { EmitBrokerEvent } from '../events.ts'
import { ListenerError } from './listener-policy.ts'
import { isGoodWithoutDates } from './undated-certificate.ts'

interface Certificates {
  readonly context: SecureContextOptions
  /** The end of the certificate's validity, ISO 8601 UTC. */
  readonly validTo: string
  /** What client certificates are checked with. */
  readonly authorities: readonly X509Certificate[]
}

/** The files of a listener, in the order of the configuration. */
function certificateFiles(tls: ServerTlsConfig): readonly string[] {
  return tls.ca === null ? [tls.cert, tls.key] : [tls.cert, tls.key, tls.ca]
}

/**
 * Reads all files and makes sure that they belong together. Throws a {@link ListenerError} that
 * names the file. An expired certificate is taken: clients refuse it, and devices that do not check
 * it stay connected.
 */
export async function readCertificates(
  tls: ServerTlsConfig,
  listener: string,
): Promise<Certificates> {
  const cert = await read(tls.cert, 'cert', listener)
  const key = await read(tls.key, 'key', listener)
  const ca = tls.ca === null ? undefined : await read(tls.ca, 'ca', listener)
  // RFC 9325, section 3.1.1: TLS 1.2 is the oldest version to offer.
  const context = { cert, key, ...(ca === undefined ? {} : { ca }), minVersion: 'TLSv1.2' } as const
  try {
    createSecureContext(context)
    const certificate = new X509Certificate(cert)
    // OpenSSL keeps a certificate and a key of another type side by side; then every handshake
    // fails.
    const keyOfCert = createPrivateKey(key)
    if (!certificate.checkPrivateKey(keyOfCert)) throw new Error(notAPair(certificate, keyOfCert))
    const authorities = ca === undefined ? [] : certificatesOf(ca)
    return { context, validTo: new Date(certificate.validTo).toISOString(), authorities }
  } catch (error) {
    const reason = errorMessage(error)
    throw new ListenerError(
      'LISTENER_TLS_UNUSABLE',
      listener,
      `tls.cert ${tls.cert} and tls.key ${tls.key} cannot be used (${reason})`,
      'both must be PEM, and the key must belong to the certificate',
      error,
    )
  }
}

function notAPair(certificate: X509Certificate, key: KeyObject): string {
  const [ofCert, ofKey] = [certificate.publicKey.asymmetricKeyType, key.asymmetricKeyType]
  return ofCert === ofKey
    ? 'the key is another one than that of the certificate'
    : `the certificate is for a key of type ${ofCert}, the key is of type ${ofKey}`
}

function certificatesOf(pem: Buffer): X509Certificate[] {
  const found =
    pem.toString('latin1').match(/-----BEGIN CERTIFICATE-----[^]*?-----END CERTIFICATE-----/g) ?? []
  return found.map((one) => new X509Certificate(one))
}

/** The certificates of one listener: read at the start, and again when a file changes. */
export class RenewedCertificates {
  readonly #tls: ServerTlsConfig
  readonly #listener: string
  readonly #emit: EmitBrokerEvent
  readonly #watch: FileWatch
  #certificates: Certificates | null = null
  #server: TlsServer | null = null

  private constructor(
    tls: ServerTlsConfig,
    listener: string,
    emit: EmitBrokerEvent,
    pollMs: number,
  ) {
    this.#tls = tls
    this.#listener = listener
    this.#emit = emit
    this.#watch = new FileWatch(certificateFiles(tls), () => this.reread(), pollMs)
  }

  /** Throws a {@link ListenerError} if they cannot be used. */
  static async open(
    tls: ServerTlsConfig,
    listener: string,
    emit: EmitBrokerEvent,
    pollMs: number,
  ): Promise<RenewedCertificates> {
    const renewed = new RenewedCertificates(tls, listener, emit, pollMs)
    try {
      await renewed.#read()
    } catch (error) {
      renewed.close()
      throw error
    }
    return renewed
  }

  /** What client certificates are checked with. */
  get authorities(): readonly X509Certificate[] {
    return this.#certificates?.authorities ?? []
  }

  /**
   * Options of the TLS server. A certificate is asked for where there is a `ca` to check it with. It
   * is judged after the handshake by {@link clientCertificate}, because Node destroys without a
   * reason.
   */
  get serverOptions(): TlsOptions {
    const requestCert = this.#tls.ca !== null
    return { ...this.#certificates?.context, requestCert, rejectUnauthorized: false }
  }

  /** The server gets what is read from now on, for new connections. */
  renew(server: TlsServer): void {
    this.#server = server
  }

  /** Files that cannot be used change nothing. */
  async reread(): Promise<void> {
    if (this.#server === null) return
    try {
      await this.#read()
    } catch (error) {
      const message = errorMessage(error)
      this.#emit({ type: 'broker.certificate-refused', listener: this.#listener, message })
    }
  }

  close(): void {
    this.#watch.close()
  }

  async #read(): Promise<void> {
    const certificates = await readCertificates(this.#tls, this.#listener)
    this.#server?.setSecureContext(certificates.context)
    this.#certificates = certificates
    const { validTo } = certificates
    this.#emit({ type: 'broker.certificate-loaded', listener: this.#listener, validTo })
  }
}

type ClientCertificate =
  /** `isUndated`: its dates were not judged, because the gateway's clock is not set. */
  | { readonly ok: true; readonly subject: string | null; readonly isUndated: boolean }
  | { readonly ok: false; readonly reason: string }

const DATE_ERRORS: readonly string[] = ['CERT_NOT_YET_VALID', 'CERT_HAS_EXPIRED']

/**
 * `subject`: the common name (or, without one, all names) of a verified certificate, null without a certificate.
 * `isClockSet` false: dates are not judged (`undated-certificate.ts`).
 */
export function clientCertificate(
  socket: TLSSocket,
  tls: ServerTlsConfig,
  authorities: readonly X509Certificate[],
  isClockSet: boolean,
): ClientCertificate {
  if (tls.ca === null) return { ok: true, subject: null, isUndated: false }
  const certificate = socket.getPeerX509Certificate()
  if (certificate === undefined) {
    return tls.requireClientCert
      ? { ok: false, reason: 'the client sent no certificate' }
      : { ok: true, subject: null, isUndated: false }
  }
  const reason = socket.authorized ? null : String(socket.authorizationError)
  const isUndated =
    !isClockSet &&
    reason !== null &&
    DATE_ERRORS.includes(reason) &&
    isGoodWithoutDates(certificate, authorities)
  if (reason !== null && !isUndated) {
    return { ok: false, reason: `the client's certificate is not accepted (${reason})` }
  }
  const { CN: name } = certificate.toLegacyObject().subject
  const subject = typeof name === 'string' ? name : certificate.subject.replaceAll('\n', ', ')
  return { ok: true, subject, isUndated }
}

async function read(path: string, key: string, listener: string): Promise<Buffer> {
  try {
    return await readFile(path)
  } catch (error) {
    const reason = errorCode(error) ?? String(error)
    const fix = 'check the path and that the gateway may read it'
    throw new ListenerError(
      'LISTENER_TLS_UNUSABLE',
      listener,
      `tls.${key} ${path}: ${reason}`,
      fix,
      error,
    )
  }
}
