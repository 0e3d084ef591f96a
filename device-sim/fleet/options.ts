/**
 * What a fleet is told: how many devices, what they send, how they suffer. Plain data; the flags
 * are in cli/run.ts.
 */
import type { ModelKind } from '../models/model.ts'
import type { ProtocolMix } from './dialect.ts'

export interface FleetOptions {
  /** mqtt://, mqtts://, ws:// or wss:// */
  readonly url: string
  /** Which version of MQTT the devices speak. */
  readonly protocol: ProtocolMix
  readonly devices: number
  /** Readings per second of all devices together. */
  readonly ratePerSecond: number
  /**
   * Shares of devices that publish at QoS 0, 1 and 2; a device keeps its QoS. Any positive weights.
   */
  readonly qosShares: readonly [number, number, number]
  readonly payloadBytes: number
  /**
   * Readings carry the time at which they were measured; false: a simulated one, so that the seed
   * decides every byte.
   */
  readonly realTime: boolean
  /** Given to the devices in turn. */
  readonly models: readonly ModelKind[]
  /** Client ids are this and the device's number, at least four digits. */
  readonly devicePrefix: string
  /** Topic of a reading; `{device}`, `{model}` and `{n}` (number modulo 10) are replaced. */
  readonly topic: string
  /** The first connects of all devices are spread over this time, ms. */
  readonly rampMs: number
  /** Unacknowledged readings on the wire per device. */
  readonly window: number
  /** Readings a device keeps while it cannot send; beyond, it skips measuring (counted). */
  readonly maxBacklog: number
  readonly keepaliveSeconds: number
  /** How long the gateway is asked to keep the session of a QoS 2 device of version 5. */
  readonly sessionExpirySeconds: number
  readonly connectTimeoutMs: number
  readonly reconnect: { readonly minMs: number; readonly maxMs: number }
  readonly faults: FaultRates
  readonly login: { readonly username: string; readonly password: string } | null
  readonly tls: TlsOptions
  /** Decides every reading and every fault, not the network's timing. */
  readonly seed: string
}

/** Contents of PEM files. */
export interface TlsOptions {
  readonly ca: Buffer | null
  readonly cert: Buffer | null
  readonly key: Buffer | null
  /** False: any certificate will do. */
  readonly verify: boolean
}

export interface FaultRates {
  /** Cut connections per device and minute, at a random point of an exchange. */
  readonly dropsPerMinute: number
  /**
   * Per device and minute: reading and writing stop, nothing is closed; the device notices late and
   * connects anew.
   */
  readonly halfOpensPerMinute: number
  /** Per fleet and minute: `stormShare` of all devices are cut at once and return at once. */
  readonly stormsPerMinute: number
  readonly stormShare: number
  /** Share of readings whose PUBLISH is sent twice with one packet id (QoS 1 and 2). */
  readonly duplicateShare: number
  /** Share of readings that are sent behind up to 20 later ones. */
  readonly lateShare: number
  /** Share of readings that are not JSON (cut off, binary, ill-formed UTF-8). */
  readonly malformedShare: number
  /**
   * Cuts, half-open links and storms happen from and until then, ms since the start; null: always.
   */
  readonly between: { readonly fromMs: number; readonly untilMs: number } | null
}

export const NO_FAULTS: FaultRates = {
  dropsPerMinute: 0,
  halfOpensPerMinute: 0,
  stormsPerMinute: 0,
  stormShare: 0.5,
  duplicateShare: 0,
  lateShare: 0,
  malformedShare: 0,
  between: null,
}

const DEFAULT_PROTOCOL: ProtocolMix = 'mix'

export const FLEET_DEFAULTS: FleetOptions = {
  url: 'mqtt://127.0.0.1:1883',
  protocol: DEFAULT_PROTOCOL,
  devices: 10,
  ratePerSecond: 10,
  qosShares: [0, 50, 50],
  payloadBytes: 200,
  realTime: false,
  models: ['temperature', 'vibration', 'energy', 'gps', 'door'],
  devicePrefix: 'device-',
  topic: 'plant/{device}/{model}',
  rampMs: 1000,
  window: 20,
  maxBacklog: 100_000,
  keepaliveSeconds: 60,
  sessionExpirySeconds: 3600,
  connectTimeoutMs: 10_000,
  reconnect: { minMs: 250, maxMs: 5000 },
  faults: NO_FAULTS,
  login: null,
  tls: { ca: null, cert: null, key: null, verify: true },
  seed: '1',
}
