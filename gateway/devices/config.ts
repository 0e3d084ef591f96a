/** Configuration of the device table. `silentAfter` is a key of the streams (spool/config.ts). */
import { integer } from '../config/fields.ts'
import { leaf, type Schema, section } from '../config/schema.ts'

export interface DevicesConfig {
  readonly maxDevices: number
}

export const devicesSection: Schema<DevicesConfig> = section(
  'The table of devices: who was seen when.',
  {
    maxDevices: leaf(
      integer(
        'Devices that are remembered, about 600 bytes of memory each. A new one takes the place of the one seen longest ago, counted.',
        { min: 1, max: 1_000_000 },
      ),
    ).prefault(10_000),
  },
)
