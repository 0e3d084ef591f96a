/** Metrics of the table of devices; never one per device: their number is not bounded. */
import { type MetricDefinition, single } from './definition.ts'

export const DEVICES_METRICS: readonly MetricDefinition[] = [
  single(
    'gauge',
    'sluice_devices_known',
    'Devices that the table remembers, connected or not; devices.maxDevices bounds them (I6).',
    ({ devices }) => devices.count,
  ),
  single(
    'gauge',
    'sluice_devices_connected',
    'Of those, connected now.',
    ({ devices }) => devices.connected,
  ),
  single(
    'gauge',
    'sluice_devices_silent',
    'Devices that have been silent for longer than silentAfter of a stream that they published to.',
    ({ devices }) => devices.silent,
  ),
  single(
    'counter',
    'sluice_devices_evicted_total',
    'I6: devices that gave way to others in the table; they are not told of when they fall silent.',
    ({ devices }) => devices.evicted,
  ),
]
