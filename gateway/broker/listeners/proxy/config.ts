/** Which proxies may stand in front of a listener, and what they may say of its devices. */
import { choice, network } from '../../../config/fields.ts'
import { leaf, list, section } from '../../../config/schema.ts'

export interface ProxyProtocolConfig {
  /** Addresses and networks of the proxies. */
  readonly from: readonly string[]
  readonly clientCert: 'ignore' | 'use' | 'require'
}

export const proxyProtocolSection = section(
  'Devices come through a proxy that sends the PROXY protocol, version 2 (send-proxy-v2 of HAProxy). Nobody else may connect.',
  {
    from: list(
      'Addresses of the proxies.',
      leaf(network('One of them, an address or a network.')),
      { min: 1, max: 100 },
    ),
    clientCert: leaf(
      choice(
        'Common names of client certificates that the proxy has verified: they count for nothing, are the names of their clients, or are required.',
        ['ignore', 'use', 'require'],
      ),
    ).prefault('ignore'),
  },
)
