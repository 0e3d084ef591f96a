/**
 * Certificates of a listener: read, checked as a whole, and described. New files become a new secure context for
 * new connections; connections that are open keep theirs.
 */
import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createSecureContext, type SecureContextOptions, type TLSSocket, type TlsOptions } from 'node:tls'
import type { ServerTlsConfig } from '../config/config.ts'
import { errorCode, errorMessage } from '../shared/errors.ts'
import { ListenerError } from './listener-policy.ts'

export interface Certificates {
  readonly context: SecureContextOptions
  /** The end of the certificate's validity, ISO 8601 UTC. */
  readonly validTo: string
}

/** The files of a listener, in the order of the configuration. */
export function certificateFiles(tls: ServerTlsConfig): readonly string[] {
  return tls.ca === null ? [tls.cert, tls.key] : [tls.cert, tls.key, tls.ca]
}

/**
 * Reads all files and makes sure that they belong together. Throws a {@link ListenerError} that names the file.
 * An expired certificate is taken: clients refuse it, and devices that do not check it stay connected.
 */
export async function readCertificates(tls: ServerTlsConfig, listener: string): Promise<Certificates> {
  const cert = await read(tls.cert, 'cert', listener)
  const key = await read(tls.key, 'key', listener)
  const ca = tls.ca === null ? undefined : await read(tls.ca, 'ca', listener)
  // RFC 9325, section 3.1.1: TLS 1.2 is the oldest version to offer.
  const context = { cert, key, ...(ca === undefined ? {} : { ca }), minVersion: 'TLSv1.2' } as const
  try {
    createSecureContext(context)
    return { context, validTo: new Date(new X509Certificate(cert).validTo).toISOString() }
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

/**
 * Options of the TLS server. A certificate is asked for where there is a `ca` to check it with. It is judged after
 * the handshake by {@link clientCertificate}, because Node destroys without a reason.
 */
export function serverOptions(tls: ServerTlsConfig, certificates: Certificates): TlsOptions {
  return { ...certificates.context, requestCert: tls.ca !== null, rejectUnauthorized: false }
}

export type ClientCertificate =
  | { readonly ok: true; readonly subject: string | null }
  | { readonly ok: false; readonly reason: string }

/** `subject`: the common name (or, without one, all names) of a verified certificate, null without a certificate. */
export function clientCertificate(socket: TLSSocket, tls: ServerTlsConfig): ClientCertificate {
  if (tls.ca === null) return { ok: true, subject: null }
  const certificate = socket.getPeerX509Certificate()
  if (certificate === undefined) {
    return tls.requireClientCert
      ? { ok: false, reason: 'the client sent no certificate' }
      : { ok: true, subject: null }
  }
  if (!socket.authorized) {
    const reason = String(socket.authorizationError)
    return { ok: false, reason: `the client's certificate is not accepted (${reason})` }
  }
  const { CN: name } = certificate.toLegacyObject().subject
  return { ok: true, subject: typeof name === 'string' ? name : certificate.subject.replaceAll('\n', ', ') }
}

async function read(path: string, key: string, listener: string): Promise<Buffer> {
  try {
    return await readFile(path)
  } catch (error) {
    const reason = errorCode(error) ?? String(error)
    const fix = 'check the path and that the gateway may read it'
    throw new ListenerError('LISTENER_TLS_UNUSABLE', listener, `tls.${key} ${path}: ${reason}`, fix, error)
  }
}
