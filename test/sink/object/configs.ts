/** Configurations of object sinks, made of the real schema. */
import assert from 'node:assert/strict'
import { loadConfig } from '../../../gateway/config/load.ts'
import { SCHEMA, type SinkConfig } from '../../../gateway/configuration.ts'
import { KEYS, REGION } from './s3-model.ts'

type ObjectSink = Extract<SinkConfig, { readonly type: 'object' }>

const ENV = { SLUICE__SINKS__CLOUD__TYPE: 'object' }

export function objectSinkConfig(changes: Partial<ObjectSink>): ObjectSink {
  const sink = loadConfig(SCHEMA, { file: null, env: ENV, cwd: '/' }).config.sinks['cloud']
  assert(sink?.type === 'object')
  return { ...sink, timeout: 5_000, connectTimeout: 5_000, ...changes }
}

/** Signed with the keys of the model. */
export const SIGNED: ObjectSink['auth'] = {
  kind: 'aws-sigv4',
  region: REGION,
  accessKeyId: { value: KEYS.accessKeyId },
  secretAccessKey: { value: KEYS.secretAccessKey },
  sessionToken: null,
  credentialsFile: null,
  profile: 'default',
}
