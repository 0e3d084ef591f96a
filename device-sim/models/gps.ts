/**
 * A vehicle: a heading and a speed that wander, and the position that follows from them inside its
 * own area.
 */
import type { Random } from '../random.ts'
import type { Values } from './values.ts'
import { Walk } from './walk.ts'

const METRES_PER_DEGREE = 111_320
const AREA_DEGREES = 0.25

export function gpsValues(random: Random): Values {
  const home = { lat: random.between(45, 55), lon: random.between(2, 16) }
  const kmh = new Walk(random, { low: 0, high: 96, step: 3, pull: 0.004 })
  const turn = new Walk(random, { low: -8, high: 8, step: 1.5, pull: 0.05 })
  const altitude = new Walk(random, { low: 5, high: 900, step: 0.6 })
  let heading = random.between(0, 360)
  let { lat, lon } = home
  let lastMs: number | null = null
  return (atMs) => {
    const speed = kmh.next()
    heading = (heading + turn.next() + 360) % 360
    // At the edge of its area it turns for home.
    if (Math.abs(lat - home.lat) > AREA_DEGREES || Math.abs(lon - home.lon) > AREA_DEGREES) {
      heading = ((Math.atan2(home.lon - lon, home.lat - lat) * 180) / Math.PI + 360) % 360
    }
    const metres = lastMs === null ? 0 : (speed / 3.6) * ((atMs - lastMs) / 1000)
    lastMs = atMs
    const radians = (heading * Math.PI) / 180
    lat += (metres * Math.cos(radians)) / METRES_PER_DEGREE
    lon += (metres * Math.sin(radians)) / (METRES_PER_DEGREE * Math.cos((lat * Math.PI) / 180))
    return `"lat":${lat.toFixed(6)},"lon":${lon.toFixed(6)},"alt":${altitude.next().toFixed(1)},"kmh":${speed.toFixed(1)},"heading":${heading.toFixed(0)},"sats":${6 + random.below(9)},"hdop":${(0.7 + random.next() * 0.6).toFixed(2)}`
  }
}
