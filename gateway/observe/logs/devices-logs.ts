/** What the events of the device table say in the log. */
import type { DevicesEvent } from '../../devices/events.ts'
import type { EventLogs } from './event-log.ts'

export const DEVICES_LOGS: EventLogs<DevicesEvent> = {
  'devices.table-discarded': {
    level: 'warn',
    message: ({ path, detail }) =>
      `the table of devices in ${path} cannot be read and begins anew: ${detail} (I7)`,
  },
  'devices.table-not-written': {
    level: 'warn',
    message: ({ path, detail }) =>
      `the table of devices could not be written to ${path}, and is tried again: ${detail}`,
    dampBy: () => '',
  },
  'devices.silent': {
    level: 'warn',
    message: ({ device, stream, lastTopic }) =>
      `device ${device} is silent on stream ${stream}; its last topic was ${lastTopic}`,
    dampBy: ({ stream }) => stream,
  },
  'devices.back': {
    level: 'info',
    message: ({ device, stream }) => `device ${device} is back on stream ${stream}`,
    dampBy: ({ stream }) => stream,
  },
}
