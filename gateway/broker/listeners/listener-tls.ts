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
} from 'node:tls'
import { errorCode, errorMessage } from '../../shared/errors.ts'
import type { ServerTlsConfig } from '../config.ts'
import { ListenerError } from './listener-policy.ts'
import { isGoodWithoutDates } from './undated-certificate.ts'

export interface Certificates {
  readonly context: SecureContextOptions
  /** The end of the certificate's validity, ISO 8601 UTC. */
  readonly validTo: string
  /** What client certificates are checked with. */
  readonly authorities: readonly X509Certificate[]
}

/** The files of a listener, in the order of the configuration. */
export function certificateFiles(tls: ServerTlsConfig): readonly string[] {
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

/**
 * Options of the TLS server. A certificate is asked for where there is a `ca` to check it with. It
 * is judged after the handshake by {@link clientCertificate}, because Node destroys without a
 * reason.
 */
export function serverOptions(tls: ServerTlsConfig, certificates: Certificates): TlsOptions {
  return { ...certificates.context, requestCert: tls.ca !== null, rejectUnauthorized: false }
}

export type ClientCertificate =
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
