/**
 * Which hosts are reached without the proxy: the entries of `noProxy`, or of NO_PROXY, as Go's and
 * curl's users know them. Names are not looked up. Pure.
 */
import { BlockList, isIP } from 'node:net'

/** Is one of the entries about this host? `host` without brackets. */
export function isDirect(entries: readonly string[], host: string, port: number): boolean {
  return entries.some((entry) => matches(entry, host.toLowerCase().replace(/\.$/, ''), port))
}

/** Entries of NO_PROXY. */
export function entriesOf(text: string): string[] {
  return text.split(/[\s,]+/).filter((entry) => entry !== '')
}

/** What is wrong with an entry; null: nothing. */
export function entryFault(entry: string): string | null {
  const { name, cidr } = parse(entry)
  if (cidr !== null) return null
  const isName = /^(?:\*|(?:\*?\.)?[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?)$/.test(name)
  return isName || isIP(name) !== 0
    ? null
    : 'write a host, .suffix, an address, a network such as 10.0.0.0/8, or *'
}

interface Entry {
  readonly name: string
  readonly port: number | null
  readonly cidr: { readonly address: string; readonly bits: number } | null
}

function parse(entry: string): Entry {
  const text = entry.toLowerCase()
  const [, address = '', bits = ''] = /^\[?([0-9a-f.:]+)\]?\/(\d{1,3})$/.exec(text) ?? []
  const family = isIP(address)
  if (family !== 0 && Number(bits) <= (family === 4 ? 32 : 128))
    return { name: text, port: null, cidr: { address, bits: Number(bits) } }
  if (isIP(text) !== 0) return { name: text, port: null, cidr: null }
  const [, host = '', port] = /^(.*?)(?::(\d{1,5}))?$/.exec(text) ?? []
  const name = host.replace(/^\[(.*)\]$/, '$1').replace(/(?<=.)\.$/, '')
  return { name, port: port === undefined ? null : Number(port), cidr: null }
}

function matches(entry: string, host: string, port: number): boolean {
  const { name, port: onlyPort, cidr } = parse(entry)
  if (onlyPort !== null && onlyPort !== port) return false
  const family = isIP(host)
  if (cidr !== null) {
    if (family === 0 || family !== isIP(cidr.address)) return false
    const net = new BlockList()
    const type = family === 4 ? 'ipv4' : 'ipv6'
    net.addSubnet(cidr.address, cidr.bits, type)
    return net.check(host, type)
  }
  if (name === '*' || name === host) return true
  if (family !== 0) return isSameAddress(name, host)
  const suffix = name.replace(/^\*/, '')
  return suffix.startsWith('.') ? host.endsWith(suffix) : host.endsWith(`.${suffix}`)
}

function isSameAddress(one: string, other: string): boolean {
  if (isIP(one) !== 6 || isIP(other) !== 6) return false
  const list = new BlockList()
  list.addAddress(one, 'ipv6')
  return list.check(other, 'ipv6')
}
