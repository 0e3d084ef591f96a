/** The files that the configuration names: who may read them, and how long certificates last. Pure. */
import { X509Certificate } from 'node:crypto'
import { isClockSet } from '../../shared/clock.ts'
import { count } from '../../shared/text/words.ts'
import type { NamedPath } from '../context.ts'
import { type Diagnosis, problem, untold, warning, well } from './diagnosis.ts'

const DAY_MS = 86_400_000
/** A certificate that ends sooner is worth a word. */
const EXPIRES_SOON_DAYS = 14

const OTHERS_MAY_READ = 0o004
const OTHERS_MAY_WRITE = 0o002

export interface FileFacts extends NamedPath {
  /** Permission bits; null: it is not there, or may not be looked at. */
  readonly mode: number | null
  /** Of a certificate; null: it cannot be read. */
  readonly text: string | null
}

export function permissionDiagnoses(files: readonly FileFacts[]): Diagnosis[] {
  const open = files.flatMap(({ key, path, holds, mode }): Diagnosis[] => {
    if (mode === null) return []
    if ((mode & OTHERS_MAY_WRITE) !== 0)
      return [
        problem(
          'permissions',
          `${path}: everybody on this machine may write to it`,
          `chmod o-rwx ${path}`,
          key,
        ),
      ]
    if (holds === 'certificate' || (mode & OTHERS_MAY_READ) === 0) return []
    return [
      warning(
        'permissions',
        `${path} holds secrets, and everybody on this machine may read it`,
        `chmod o-rwx ${path}`,
        key,
      ),
    ]
  })
  if (open.length > 0) return open
  return [
    well('permissions', `nobody else may read secrets or write (${count(files.length)} files)`),
  ]
}

export function certificateDiagnoses(files: readonly FileFacts[], nowMs: number): Diagnosis[] {
  const texts = files.filter(({ holds }) => holds === 'certificate')
  if (texts.length > 0 && !isClockSet(nowMs))
    return [untold('certificates', 'their dates cannot be judged: the clock is not set')]
  return texts.flatMap(({ key, path, text }) => {
    const certificates = text === null ? [] : certificatesOf(text)
    return certificates.map((one) => dates(one, { key, path }, nowMs))
  })
}

function dates(
  { subject, validFrom, validTo }: X509Certificate,
  { key, path }: Pick<FileFacts, 'key' | 'path'>,
  nowMs: number,
): Diagnosis {
  const who = subject.split('\n').at(-1) ?? 'a certificate'
  const [from, until] = [Date.parse(validFrom), Date.parse(validTo)]
  const days = Math.floor((until - nowMs) / DAY_MS)
  const renew = `put a new one there: it is read again by itself`
  if (until < nowMs)
    return problem('certificates', `${path}: ${who} expired on ${day(until)}`, renew, key)
  if (from > nowMs)
    return problem(
      'certificates',
      `${path}: ${who} is not valid before ${day(from)}`,
      'check the clock of this machine, or take the certificate that is valid now',
      key,
    )
  if (days < EXPIRES_SOON_DAYS)
    return warning(
      'certificates',
      `${path}: ${who} ends on ${day(until)}, in ${count(days)} days`,
      renew,
      key,
    )
  return well('certificates', `${path}: ${who} is valid until ${day(until)}`, key)
}

function day(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10)
}

/** What is no certificate is the reader's to refuse, which says so better. */
function certificatesOf(pem: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^]*?-----END CERTIFICATE-----/g) ?? []
  return blocks.flatMap((block) => {
    try {
      return [new X509Certificate(block)]
    } catch {
      return []
    }
  })
}
