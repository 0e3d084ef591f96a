/** A gateway under the load of devices that publish as fast as their windows allow. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { GatewayProcess } from './gateway-process.ts'
import { Qos1Device } from './qos1-device.ts'

/** Readings after which all devices are at work. */
const UNDER_LOAD = 500

/** A device for each name joins `devices`; resolves when they are at work. */
export async function loadGateway(
  gateway: GatewayProcess,
  devices: Qos1Device[],
  names: readonly string[],
): Promise<void> {
  for (const name of names) {
    const device = new Qos1Device(name)
    devices.push(device)
    await device.connect(gateway.mqttPort)
    device.begin()
  }
  await untilAcked(devices, UNDER_LOAD)
}

/** Resolves when so many readings more are acknowledged. @throws what went wrong for a device */
export async function untilAcked(devices: readonly Qos1Device[], more: number): Promise<void> {
  const count = (): number => devices.reduce((sum, { acked }) => sum + acked.length, 0)
  const goal = count() + more
  while (count() < goal) {
    for (const device of devices) device.check()
    await sleep(5)
  }
}
