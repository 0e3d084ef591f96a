/** Sets of IP addresses as an operator writes them: `192.0.2.7`, `10.0.0.0/8`, `fd00::/8`. */
import { BlockList, isIP } from 'node:net'

/** Is it an IP address, or a network with its prefix length? */
export function isNetwork(text: string): boolean {
  return networkOf(text) !== null
}

export class Networks {
  readonly #list = new BlockList()

  /** Takes what {@link isNetwork} takes. */
  constructor(networks: readonly string[]) {
    for (const text of networks) {
      const network = networkOf(text)
      if (network === null) throw new RangeError(`${text} is no network`)
      this.#list.addSubnet(network.address, network.bits, network.type)
    }
  }

  /** IPv4 in IPv6 (`::ffff:192.0.2.7`) counts as the IPv4 address that it is. */
  has(address: string): boolean {
    const family = isIP(address)
    return family !== 0 && this.#list.check(address, family === 4 ? 'ipv4' : 'ipv6')
  }
}

interface Network {
  readonly address: string
  readonly bits: number
  readonly type: 'ipv4' | 'ipv6'
}

function networkOf(text: string): Network | null {
  const [, address = '', prefix] = /^([0-9A-Fa-f.:]+)(?:\/(\d{1,3}))?$/.exec(text) ?? []
  const family = isIP(address)
  if (family === 0) return null
  const most = family === 4 ? 32 : 128
  const bits = prefix === undefined ? most : Number(prefix)
  return bits > most ? null : { address, bits, type: family === 4 ? 'ipv4' : 'ipv6' }
}
