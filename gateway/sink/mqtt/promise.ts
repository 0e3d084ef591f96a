/** What an MQTT sink promises, in the words that check, status and README show. */
import type { SinkPromise } from '../../ports/sink.ts'
import type { MqttSinkConfig } from './config.ts'

export function promiseOf({ qos }: Pick<MqttSinkConfig, 'qos'>): SinkPromise {
  return qos === 2
    ? { delivery: 'exactly once', by: 'into the broker, by QoS 2 and its session', ack: 'received' }
    : { delivery: 'at least once', by: 'by QoS 1', ack: 'received' }
}

/** The broker did not keep a session that had messages in flight. */
export function lessPromise({ ack }: SinkPromise, lostSessions: number): SinkPromise {
  const times = lostSessions === 1 ? 'a session' : `${lostSessions} sessions`
  const by = `by QoS 2: the broker lost ${times} since the start, and what was in flight went again`
  return { delivery: 'at least once', by, ack }
}
