/**
 * The proxies in front of a listener: only they may connect, each connection begins with their word
 * on whose it is, and of a certificate they tell as much as the configuration lets them.
 */
import type { Socket } from 'node:net'
import { Networks } from '../../../shared/networks.ts'
import type { HandshakeFailure } from '../../events.ts'
import type { ClientOrigin } from '../handshakes.ts'
import type { ProxyProtocolConfig } from './config.ts'
import type { ProxyHeader } from './header.ts'
import { takeProxyHeader } from './taken-header.ts'

interface Outcomes {
  readonly onOrigin: (origin: ClientOrigin) => void
  /** The socket is left to the caller. */
  readonly onRefused: (refusal: Refusal) => void
}

interface Refusal {
  readonly kind: HandshakeFailure
  readonly reason: string
  /** Of the client, where it is known; else the proxy's. */
  readonly address: string
}

type NameVerdict = { readonly name: string | null } | { readonly refused: string }

export class Proxies {
  readonly #from: Networks
  readonly #clientCert: ProxyProtocolConfig['clientCert']

  constructor({ from, clientCert }: ProxyProtocolConfig) {
    this.#from = new Networks(from)
    this.#clientCert = clientCert
  }

  /** They say what the name in a client's certificate is. */
  get namesClients(): boolean {
    return this.#clientCert !== 'ignore'
  }

  /** At most one of the outcomes follows, once. */
  receive(socket: Socket, { onOrigin, onRefused }: Outcomes): void {
    const own = socket.remoteAddress ?? ''
    if (!this.#from.has(own)) {
      const reason = `${own} is not in proxyProtocol.from: devices connect to the proxy, not here`
      onRefused({ kind: 'proxy', reason, address: own })
      return
    }
    takeProxyHeader(socket, (header) => {
      if ('fault' in header) {
        onRefused({ kind: 'proxy', reason: header.fault, address: own })
        return
      }
      const address = header.source ?? own
      const verdict = this.#nameIn(header)
      if ('name' in verdict) onOrigin({ address, certificateSubject: verdict.name })
      // A health check has no certificate to show, and got what it wanted.
      else if (header.isLocal) socket.end()
      else onRefused({ kind: 'client-certificate', reason: verdict.refused, address })
    })
  }

  #nameIn({ certificate }: ProxyHeader): NameVerdict {
    if (this.#clientCert === 'ignore') return { name: null }
    if (certificate === null)
      return this.#orRequired(null, 'the client showed the proxy no certificate')
    if (!certificate.isVerified)
      return { refused: 'the proxy did not verify the certificate of the client' }
    const { commonName } = certificate
    return this.#orRequired(commonName, 'the certificate of the client has no common name')
  }

  #orRequired(name: string | null, refused: string): NameVerdict {
    return name === null && this.#clientCert === 'require' ? { refused } : { name }
  }
}
