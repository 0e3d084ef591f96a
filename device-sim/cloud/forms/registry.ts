/** The forms that the reference cloud takes, by the kind of `format` that makes them. */
import type { Form } from './form.ts'
import { cloudeventsBatch, json, jsonArray, ndjson, raw, template } from './json-forms.ts'
import { esBulk, influx, jsonEachRow, otlpLogs } from './store-forms.ts'

export const FORMS = {
  ndjson,
  raw,
  'json-array': jsonArray,
  json,
  template,
  'cloudevents-batch': cloudeventsBatch,
  influx,
  'es-bulk': esBulk,
  'json-each-row': jsonEachRow,
  'otlp-logs': otlpLogs,
} satisfies Readonly<Record<string, Form>>

export type FormName = keyof typeof FORMS

export const FORM_NAMES = Object.keys(FORMS) as readonly FormName[]
