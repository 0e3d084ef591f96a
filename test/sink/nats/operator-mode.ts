/**
 * An operator with its accounts and users, as `nsc` makes them: JWTs that NKeys sign, the operator's
 * and the accounts' in the server's configuration (resolver in memory), a user's in a .creds file.
 */
import { createHash } from 'node:crypto'
import { createAccount, createOperator, createUser, type KeyPair } from '@nats-io/nkeys'
import { type Authenticator, credsAuthenticator } from '@nats-io/transport-node'

interface UserCreds {
  /** A .creds file. */
  readonly text: string
  readonly authenticator: Authenticator
}

interface CredsOptions {
  readonly expiresInSeconds?: number
}

interface Operator {
  /** For a server with JetStream. */
  readonly config: string
  /** A user of its account, valid for an hour unless told otherwise. */
  readonly credsOf: (name: string, options?: CredsOptions) => UserCreds
}

const NO_LIMIT = -1
const HOUR_SECONDS = 3600

export function operatorMode(): Operator {
  const [operator, system, account] = [createOperator(), createAccount(), createAccount()]
  const limits = {
    conn: NO_LIMIT,
    leaf: NO_LIMIT,
    subs: NO_LIMIT,
    data: NO_LIMIT,
    payload: NO_LIMIT,
  }
  const streams = { mem_storage: NO_LIMIT, disk_storage: NO_LIMIT, streams: NO_LIMIT }
  const accountJwt = (of: KeyPair, name: string, more: object): string =>
    jwt(operator, of, name, {
      type: 'account',
      limits: { ...limits, imports: NO_LIMIT, exports: NO_LIMIT, wildcards: true, ...more },
    })
  const operatorJwt = jwt(operator, operator, 'plant', {
    type: 'operator',
    system_account: system.getPublicKey(),
  })
  const preload = [
    `${system.getPublicKey()}: ${accountJwt(system, 'SYS', {})}`,
    `${account.getPublicKey()}: ${accountJwt(account, 'PLANT', { ...streams, consumer: NO_LIMIT })}`,
  ]
  return {
    config: [
      `operator: ${operatorJwt}`,
      `system_account: ${system.getPublicKey()}`,
      'resolver: MEMORY',
      `resolver_preload: {\n${preload.join('\n')}\n}`,
    ].join('\n'),
    credsOf: (name, { expiresInSeconds = HOUR_SECONDS } = {}) => {
      const user = createUser()
      const exp = Math.floor(Date.now() / 1000) + expiresInSeconds
      const rights = { subs: NO_LIMIT, data: NO_LIMIT, payload: NO_LIMIT, pub: {}, sub: {} }
      const token = jwt(account, user, name, { type: 'user', ...rights }, exp)
      const text = [
        block('NATS USER JWT', token),
        block('USER NKEY SEED', Buffer.from(user.getSeed()).toString()),
      ].join('\n')
      return { text, authenticator: credsAuthenticator(Buffer.from(text)) }
    },
  }
}

/** Version 2 of the claims, as nats-server reads them. */
function jwt(issuer: KeyPair, subject: KeyPair, name: string, nats: object, exp?: number): string {
  const claims = {
    iat: Math.floor(Date.now() / 1000) - HOUR_SECONDS,
    iss: issuer.getPublicKey(),
    name,
    sub: subject.getPublicKey(),
    nats: { ...nats, version: 2 },
    ...(exp === undefined ? {} : { exp }),
  }
  const jti = createHash('sha256').update(JSON.stringify(claims)).digest('hex')
  const parts = [
    { typ: 'JWT', alg: 'ed25519-nkey' },
    { ...claims, jti },
  ].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
  const signed = parts.join('.')
  return `${signed}.${Buffer.from(issuer.sign(Buffer.from(signed))).toString('base64url')}`
}

function block(title: string, text: string): string {
  return `-----BEGIN ${title}-----\n${text}\n------END ${title}------\n`
}
