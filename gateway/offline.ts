/**
 * The operator on the folder of a stopped gateway. Opening takes the folder's lock before anything
 * is touched: a folder that another process holds is refused.
 */
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { type Config, devicesOptions, spoolOptions } from './configuration.ts'
import { Devices } from './devices/devices.ts'
import { buildStatus } from './observe/status.ts'
import { deviceList, spoolOperator } from './operator.ts'
import type { OfflineOperator } from './ports/operator.ts'
import { folderBytes } from './shared/folder-bytes.ts'
import { takeBriefly } from './spool/disk/owner.ts'
import { Spool } from './spool/spool.ts'
import { statusSources } from './status-sources.ts'

class NoSpoolError extends Error {
  readonly code = 'SLUICE_NO_SPOOL'

  constructor(dataDir: string) {
    super(`there is no spool in ${dataDir}: check gateway.dataDir, or start the gateway once`)
  }
}

/** Owns the folder until `close`. */
export async function openOffline(config: Config): Promise<OfflineOperator> {
  const { dataDir } = config.gateway
  actAsOwnerOf(join(dataDir, 'spool'), dataDir)
  const spool = await Spool.open({
    ...spoolOptions(config, () => undefined),
    takeOwnership: takeBriefly,
  })
  const devices = await Devices.open(devicesOptions(config, spool.appender, () => undefined))
  const sources = statusSources({
    config,
    spool,
    devices,
    sinks: new Map(),
    drain: null,
    broker: null,
    admin: null,
    size: { bytes: await folderBytes(dataDir) },
  })
  return {
    ...spoolOperator(spool, null),
    devices: deviceList(devices),
    status: async () => {
      await spool.disk.look()
      // What only a running gateway has is not there; the folder says the rest.
      const status = buildStatus(sources, Date.now())
      return { ...status, uptimeSeconds: null, accepting: false, sinks: [], broker: null }
    },
    leftAside: () => spool.leftAside(),
    restoreLeftAside: (name) => spool.restoreLeftAside(name),
    close: () => spool.stop(),
  }
}

/**
 * Opening a store creates files. If root owned them, they would lock out the gateway, which runs as
 * another user: so the command continues as the owner of the store, until its process ends.
 */
function actAsOwnerOf(store: string, dataDir: string): void {
  const stats = statSync(store, { throwIfNoEntry: false })
  if (stats === undefined) throw new NoSpoolError(dataDir)
  if (process.geteuid?.() !== 0 || stats.uid === 0) return
  process.setegid?.(stats.gid)
  process.seteuid?.(stats.uid)
}
