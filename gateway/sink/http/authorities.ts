/**
 * The certificate authorities that this machine trusts: those that come with Node, and those that
 * its administrator added to the system's store, where other programs find them (SSL_CERT_FILE,
 * SSL_CERT_DIR, or the distribution's bundle). Not here: `tls.ca`, which replaces all of them.
 */
import { X509Certificate } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { rootCertificates } from 'node:tls'
import { fileStamp } from '../../shared/files.ts'

/**
 * Where distributions keep the system's bundle: Debian, Alpine, Arch; Fedora, RHEL; SUSE; OpenBSD,
 * macOS, Alpine.
 */
const BUNDLES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem',
] as const

/** A bundle has some 200 KiB; what is longer is something else. */
const MAX_FILE_BYTES = 16 * 1024 * 1024
const MAX_FILES = 2000

const PEM = /-----BEGIN (?:TRUSTED )?CERTIFICATE-----[^-]+-----END (?:TRUSTED )?CERTIFICATE-----/g

export interface Authorities {
  /**
   * For a secure context; undefined: those of Node are all there are, and it shares their store.
   */
  readonly ca: string[] | undefined
  /** What the environment names and cannot be read: `SSL_CERT_FILE, /x/y.pem, is not there`. */
  readonly failures: readonly string[]
  /** Of everything that was looked at: another one says that it is worth to look again. */
  readonly stamp: string
}

/** The {@link Authorities.stamp} of now, for the price of a few stats. */
export function authoritiesStamp(
  env: Environment = process.env,
  bundles: readonly string[] = BUNDLES,
): string {
  const named = [
    env['SSL_CERT_FILE'],
    ...(env['SSL_CERT_DIR'] ?? '').split(':'),
    env['NODE_EXTRA_CA_CERTS'],
  ]
  return [...bundles, ...named]
    .map((path) => {
      const found = statSync(path ?? '', { bigint: true, throwIfNoEntry: false })
      return found === undefined ? '' : fileStamp(found)
    })
    .join(' ')
}

type Environment = Readonly<Record<string, string | undefined>>

/** Read anew at each call. @param bundles looked at in turn when SSL_CERT_FILE is not set */
export function systemAuthorities(
  env: Environment = process.env,
  bundles: readonly string[] = BUNDLES,
): Authorities {
  const stamp = authoritiesStamp(env, bundles)
  const failures: string[] = []
  const texts: string[] = []
  const named = (variable: string, read: (path: string) => string[]): boolean => {
    const value = env[variable]
    if (value === undefined || value === '') return false
    for (const path of variable === 'SSL_CERT_DIR' ? value.split(':') : [value]) {
      try {
        texts.push(...read(path))
      } catch (error) {
        failures.push(`${variable}, ${path}, cannot be read: ${(error as Error).message}`)
      }
    }
    return true
  }
  if (!named('SSL_CERT_FILE', (path) => [readPem(path)])) {
    const found = bundles.find((path) => tryRead(path) !== null)
    if (found !== undefined) texts.push(tryRead(found) ?? '')
  }
  named('SSL_CERT_DIR', readFolder)
  // Node adds these to its own store only, and a list of ours replaces that.
  named('NODE_EXTRA_CA_CERTS', (path) => [readPem(path)])
  const known = new Set(rootCertificates.map(essence))
  const added = new Map<string, string>()
  for (const pem of texts.flatMap((text) => text.match(PEM) ?? [])) {
    const key = essence(pem)
    if (!known.has(key) && !added.has(key) && isCertificate(pem)) added.set(key, pem)
  }
  return {
    ca: added.size === 0 ? undefined : [...rootCertificates, ...added.values()],
    failures,
    stamp,
  }
}

function readFolder(path: string): string[] {
  const texts: string[] = []
  for (const name of readdirSync(path).sort().slice(0, MAX_FILES)) {
    const text = tryRead(join(path, name))
    if (text !== null) texts.push(text)
  }
  return texts
}

function readPem(path: string): string {
  if (statSync(path).size > MAX_FILE_BYTES)
    throw new Error(`it has more than ${MAX_FILE_BYTES} bytes`)
  return readFileSync(path, 'latin1')
}

function tryRead(path: string): string | null {
  try {
    return statSync(path).isFile() ? readPem(path) : null
  } catch {
    return null
  }
}

function essence(pem: string): string {
  return pem.replaceAll(/-----[^-]+-----|\s/g, '')
}

/** One entry that OpenSSL cannot read would spoil the whole list. */
function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).raw.length > 0
  } catch {
    return false
  }
}
