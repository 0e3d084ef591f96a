/** Preloaded: the Kafka client is found where newer-node.ts has installed it. */
import { registerHooks } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const parentURL = pathToFileURL(join(process.env.SLUICE_KAFKA_CLIENT, 'package.json')).href

registerHooks({
  resolve: (specifier, context, next) =>
    next(specifier, specifier === '@platformatic/kafka' ? { ...context, parentURL } : context),
})
