/**
 * A client certificate on a gateway whose clock is not set. In 1970 no certificate is valid yet,
 * and a box that waits for the network to tell it the time would shut out every device until then.
 * So dates alone are forgiven, and only where the clock cannot tell: what ended before the
 * clock floor has ended.
 *
 * OpenSSL reports one error of a chain, the last one it met, and dates come last: behind "not yet
 * valid" there may be a wrong authority. So everything but the dates is judged here anew, and more
 * strictly: every authority between the certificate and a self-signed root must be in the
 * listener's own `ca` file (those that the peer sends do not count), each signature must hold, none
 * by a broken hash, and the certificate must be one for clients. Pure.
 */
import type { X509Certificate } from 'node:crypto'
import { CLOCK_FLOOR_MS } from '../../shared/clock.ts'

/** RFC 5280, section 4.2.1.12: id-kp-clientAuth. */
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2'

/** More authorities than any plant has; a file with a circle in it ends here. */
const MAX_AUTHORITIES = 8

/**
 * Signature algorithms whose hash is broken, as DER object identifiers: MD5 and SHA-1, with RSA and
 * with ECDSA.
 */
const BROKEN_SIGNATURES = [
  '06092a864886f70d010104',
  '06092a864886f70d010105',
  '06072a8648ce3d0401',
].map((hex) => Buffer.from(hex, 'hex'))

/** Is there nothing wrong with it but dates that the clock cannot judge? */
export function isGoodWithoutDates(
  certificate: X509Certificate,
  authorities: readonly X509Certificate[],
): boolean {
  // Of certificates, this is the extended key usage; without one any use is allowed.
  const usages = certificate.keyUsage as readonly string[] | undefined
  if (usages !== undefined && !usages.includes(CLIENT_AUTH)) return false
  let current = certificate
  for (let depth = 0; depth < MAX_AUTHORITIES; depth += 1) {
    if (isOver(current) || hasBrokenSignature(current)) return false
    const issuer = authorities.find(
      (one) => one.ca && current.checkIssued(one) && current.verify(one.publicKey),
    )
    if (issuer === undefined) return false
    if (issuer.checkIssued(issuer)) return !isOver(issuer) && issuer.verify(issuer.publicKey)
    current = issuer
  }
  return false
}

function isOver(certificate: X509Certificate): boolean {
  // Also what cannot be read as a date.
  return !(Date.parse(certificate.validTo) >= CLOCK_FLOOR_MS)
}

function hasBrokenSignature({ raw }: X509Certificate): boolean {
  return BROKEN_SIGNATURES.some((identifier) => raw.includes(identifier))
}
