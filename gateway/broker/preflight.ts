/**
 * What would keep the listeners from starting, found without starting one: hosts, certificates,
 * password and access files, by the readers that the listeners use themselves. Changes nothing.
 */
import { once } from 'node:events'
import { createServer } from 'node:net'
import { readAuthFiles } from './auth/realm.ts'
import type { MqttConfig } from './config.ts'
import { admittedAddress, authOf, listenFault, nameOf } from './listeners/listener-policy.ts'
import { readCertificates } from './listeners/listener-tls.ts'

/** Every fault, one for each listener and file; empty: all would start. */
export async function listenerFaults(config: MqttConfig): Promise<Error[]> {
  const faults: Error[] = []
  const attempt = async (work: () => Promise<unknown>): Promise<void> => {
    await work().catch((error: unknown) => faults.push(error as Error))
  }
  const seen = new Set<string>()
  for (const [index, listener] of config.listeners.entries()) {
    await attempt(() => admittedAddress(config, index))
    const { tls } = listener
    if (tls !== null) await attempt(() => readCertificates(tls, nameOf(listener, index)))
    const auth = authOf(config, listener)
    if (auth === null) continue
    for (const file of [auth.passwordFile, auth.aclFile]) {
      if (file === null || seen.has(file)) continue
      seen.add(file)
      await attempt(() =>
        readAuthFiles(
          file === auth.passwordFile ? file : null,
          auth.aclFile === file ? file : null,
        ),
      )
    }
  }
  return faults
}

/**
 * Listens and stops at once, on each address: what the operating system says to it. A port of 0 is
 * always free.
 */
export async function portFaults(config: MqttConfig): Promise<Error[]> {
  const faults: Error[] = []
  for (const [index, listener] of config.listeners.entries()) {
    if (listener.port === 0) continue
    const address = await admittedAddress(config, index).catch(() => null)
    if (address === null) continue
    const server = createServer()
    try {
      server.listen(listener.port, address)
      await once(server, 'listening')
    } catch (error) {
      faults.push(listenFault(nameOf(listener, index), error as NodeJS.ErrnoException))
    } finally {
      server.close()
    }
  }
  return faults
}
