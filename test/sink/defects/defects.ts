/**
 * Defects of the kind that reviews miss, planted one at a time into a source of a sink: a line that
 * is right, and the same line wrong. Each names the test that is there for it.
 */

export interface PlantedDefect {
  readonly what: string
  /** Below gateway/sink. */
  readonly source: string
  /** Stands there once. */
  readonly right: string
  readonly wrong: string
  /** Below test/sink. */
  readonly file: string
  /** The test in it that has to fail, by all of its title. */
  readonly check: string
}

/** What became of a test over a planted defect, as the run over all of them tells it. */
export interface Verdict {
  readonly defect: string
  readonly test: string
  /** null: it passed. */
  readonly error: string | null
}

/** Names a folder for what the run transforms. */
export const MODULE_CACHE_VARIABLE = 'SLUICE_TEST_MODULE_CACHE'

const AUTH: readonly PlantedDefect[] = [
  {
    what: 'oauth2: a token is not renewed while it still works',
    source: 'http/auth/oauth2.ts',
    right: 'if (now >= token.renewFrom && !isPaused) void this.#renew()',
    wrong: '',
    file: 'http/auth/oauth2.test.ts',
    check: 'is renewed while it still works; a renewal that fails costs nothing',
  },
  {
    what: 'oauth2: a token is used beyond its end',
    source: 'http/auth/oauth2.ts',
    right: 'token !== null && now < token.endsAt',
    wrong: 'token !== null',
    file: 'http/auth/oauth2.test.ts',
    check: 'that has ended is never sent',
  },
  {
    what: 'oauth2: a token that was refused is kept',
    source: 'http/auth/oauth2.ts',
    right: 'this.#token = null\n    // 403',
    wrong: ';\n    // 403',
    file: 'http/auth/oauth2.test.ts',
    check: 'that the sink refuses is replaced once; then the sink holds, and each probe asks anew',
  },
  {
    what: 'aws-sigv4: the hash is not that of the whole payload',
    source: 'http/auth/signing-auth.ts',
    right: 'sha256Hex(body)',
    wrong: 'sha256Hex(body.slice(1))',
    file: 'http/auth/auth.test.ts',
    check: 'the sink computes the same signature over the body that it got',
  },
  {
    what: 'azure-sas: a token ends when it begins',
    source: 'http/auth/signing-auth.ts',
    right: 'now + lifetime',
    wrong: 'now',
    file: 'http/auth/auth.test.ts',
    check: 'the key of a policy, as it looks',
  },
  {
    what: 'azure-sas: a token is kept to its last moment',
    source: 'http/auth/signing-auth.ts',
    right: 'lifetime * 0.75',
    wrong: 'lifetime',
    file: 'http/auth/auth.test.ts',
    check: 'a token is kept for 3/4 of its lifetime, and none outlives a clock that went back',
  },
]

const PROXY: readonly PlantedDefect[] = [
  {
    what: 'mqtt: the proxy is bypassed',
    source: 'mqtt/client/outbound.ts',
    right: 'const proxy = this.#proxy.hopTo(target)',
    wrong: 'const proxy = null',
    file: 'mqtt/proxy.test.ts',
    check: 'a silent proxy: a retry that names it, within connectTimeout',
  },
  {
    what: 'the proxy is bypassed',
    source: 'http/proxy/proxy.ts',
    right: "this.#config.kind === 'none'",
    wrong: 'true',
    file: 'http/proxy/proxy.test.ts',
    check: 'http: one CONNECT, then the same request as without it, over one kept connection',
  },
  {
    what: 'noProxy is ignored',
    source: 'http/proxy/proxy.ts',
    right: 'isDirect(noProxy, target.hostname, target.port)',
    wrong: 'false',
    file: 'http/proxy/proxy.test.ts',
    check: 'what noProxy names goes straight',
  },
  {
    what: 'NO_PROXY of the environment is ignored',
    source: 'http/proxy/proxy.ts',
    right: " || isDirect(entriesOf(read('no_proxy')), host, port)",
    wrong: '',
    file: 'http/proxy/proxy.test.ts',
    check: 'https://a.example/ with {"HTTPS_PROXY":"http://p","NO_PROXY":"b, .example"}',
  },
]

/** What a receiver quotes. */
const SECRETS: readonly PlantedDefect[] = [
  {
    what: 'mqtt: the words of an ack are shown as they come',
    source: 'mqtt/client/connection.ts',
    right: 'this.#acks.push(this.#told(packet))',
    wrong: 'this.#acks.push(packet)',
    file: 'mqtt/codes.test.ts',
    check: 'puback at QoS 1, 153: the password that it quotes is not shown',
  },
  {
    what: 'kafka: the words of a broker are shown as they come',
    source: 'kafka/answers.ts',
    right: 'hideInAnswer(answer, [shown.sasl.password])',
    wrong: 'answer',
    file: 'kafka/answers.test.ts',
    check: 'a broker that quotes the password, whole or cut, is not quoted',
  },
  {
    what: 'http: the password of Basic is shown where it is quoted',
    source: 'http/answers/hide-secrets.ts',
    right: "return [bare, pair, pair.slice(pair.indexOf(':') + 1)]",
    wrong: 'return [bare]',
    file: 'http/http-sink.test.ts',
    check:
      'nor where its words are cut within a secret, nor in the reason of a refusal, nor the password of Basic',
  },
]

const FORMATS: readonly PlantedDefect[] = [
  {
    what: 'each encoded format: a record behind the first is dropped',
    source: 'http/formats/body.ts',
    right: 'one : separator + one',
    wrong: 'one : separator',
    file: 'http/formats.test.ts',
    check: 'is one array of the records, with all of their digits',
  },
  {
    what: 'each encoded format: a record that cannot be mapped is dropped, not refused',
    source: 'http/formats/body.ts',
    right: 'refused.push(refusal(record.seq, error))',
    wrong: '',
    file: 'http/formats.test.ts',
    check: 'of payloads leaves out what is no JSON, and refuses it beside the acks of the rest',
  },
  {
    what: 'ndjson: the key names another last record',
    source: 'http/encode.ts',
    right: '${firstSeq}-${lastSeq}:${crc}',
    wrong: '${firstSeq}-${lastSeq + 1}:${crc}',
    file: 'http/encode.test.ts',
    check: 'I4: the idempotency key is a quoted string of identity, bounds and checksum',
  },
  {
    what: 'raw: the file goes as a coding of the way, which receivers undo',
    source: 'http/formats/raw.ts',
    right: 'contentEncoding: null',
    wrong: "contentEncoding: 'gzip'",
    file: 'http/formats.test.ts',
    check: 'raw is the gzip file of the contract, under its own type and without a coding',
  },
  {
    what: 'json-array: a number loses its digits',
    source: 'http/formats/json-array.ts',
    right: 'contentOf(view, content)',
    wrong: 'JSON.stringify(JSON.parse(contentOf(view, content)))',
    file: 'http/formats.test.ts',
    check: 'is one array of the records, with all of their digits',
  },
  {
    what: 'json: a number loses its digits',
    source: 'http/formats/json.ts',
    right: 'contentOf(view, content)',
    wrong: 'JSON.stringify(JSON.parse(contentOf(view, content)))',
    file: 'http/formats.test.ts',
    check: 'json is one record a request, and the encoder says so',
  },
  {
    what: 'template: a quote is not escaped',
    source: 'http/formats/template.ts',
    right: "type === 'text' ? insideQuotes(value) : value",
    wrong: 'value',
    file: 'http/formats.test.ts',
    check: 'fills in each record, and the text around them',
  },
  {
    what: 'template: csv doubles no quotes',
    source: 'http/formats/template.ts',
    right: `\`"\${value.replaceAll('"', '""')}"\``,
    wrong: '`"${value}"`',
    file: 'http/formats.test.ts',
    check: 'escape csv',
  },
  {
    what: 'template: a number loses its digits',
    source: 'mapping/record-view.ts',
    right: "? 'boolean' : 'number', text }",
    wrong: "? 'boolean' : 'number', text: String(JSON.parse(text)) }",
    file: 'mapping/mapping.test.ts',
    check: 'a pointer gives a text its content, a number every digit, others their JSON',
  },
  {
    what: 'cloudevents-batch: the id is that of another record',
    source: 'http/formats/cloudevents-batch.ts',
    right: 'quoted(record.id)',
    wrong: 'quoted(record.id.replace(/\\d+$/, (seq) => String(Number(seq) + 1)))',
    file: 'http/formats.test.ts',
    check: 'an event a record, JSON as data and bytes as data_base64',
  },
  {
    what: 'cloudevents-batch: a number loses its digits',
    source: 'http/formats/cloudevents-batch.ts',
    right: '"data":${view.json}',
    wrong: '"data":${JSON.stringify(view.payload)}',
    file: 'http/formats.test.ts',
    check: 'data is what the device wrote, with all of its digits',
  },
  {
    what: 'influx: a quote in a string is not escaped',
    source: 'http/formats/influx/line-text.ts',
    right: `text.replaceAll(/["\\\\]/g, '\\\\$&')`,
    wrong: 'text',
    file: 'http/formats/influx/line.test.ts',
    check: 'whatever a device sends, an independent parser reads it back',
  },
  {
    what: 'influx: a blank in a tag is not escaped',
    source: 'http/formats/influx/line-text.ts',
    right: "carried(value, `tag ${name}`).replaceAll(SPECIAL, '\\\\$&')",
    wrong: 'value',
    file: 'http/formats/influx/line.test.ts',
    check: 'are escaped, sorted, and left out where they have no value',
  },
  {
    what: 'influx: an integer loses its last digits',
    source: 'http/formats/influx/fields.ts',
    right: 'return `${text}i`',
    wrong: 'return `${Number(text)}i`',
    file: 'http/formats/influx/line.test.ts',
    check: 'integers stay integers where they were written as such',
  },
  {
    what: 'influx: readings of one millisecond have one time, so that one replaces the other',
    source: 'http/formats/influx/line.ts',
    right: 'String(1_000_000 + (seq % 1_000_000)).slice(1)',
    wrong: "'000000'",
    file: 'http/formats/influx/line.test.ts',
    check: 'readings of one millisecond have times of their own, the same for a repeat',
  },
  {
    what: 'es-bulk: a document has the id of another record',
    source: 'http/formats/es-bulk.ts',
    right: 'const { id } = view.record',
    wrong: 'const id = view.record.id.replace(/\\d+$/, (seq) => String(Number(seq) + 1))',
    file: 'http/formats/es-bulk.test.ts',
    check: 'of a record, with its id and its arrival',
  },
  {
    what: 'es-bulk: a number loses its digits',
    source: 'http/formats/es-bulk.ts',
    right: 'ofPayload ? view.json : view.line',
    wrong: 'ofPayload ? JSON.stringify(view.payload) : view.line',
    file: 'http/formats/es-bulk.test.ts',
    check: 'of a payload, with what is added, all digits and a time of its own',
  },
  {
    what: 'json-each-row: a quote is not escaped',
    source: 'http/formats/json-each-row.ts',
    right: 'isText ? JSON.stringify(value)',
    wrong: 'isText ? `"${value}"`',
    file: 'http/formats/json-each-row.test.ts',
    check: 'any record is one line of valid JSON that says the same',
  },
  {
    what: 'json-each-row: a number loses its digits',
    source: 'http/formats/json-each-row.ts',
    right: 'JSON.stringify(value) : value',
    wrong: 'JSON.stringify(value) : String(JSON.parse(value))',
    file: 'http/formats/json-each-row.test.ts',
    check: 'a column has the value that is mapped to it, with its type and all digits',
  },
  {
    what: 'otlp-logs: an integer of 64 bits is a number, which readers round',
    source: 'http/formats/otlp-logs.ts',
    right: '{"intValue":"${value}"}',
    wrong: '{"intValue":${value}}',
    file: 'http/formats/otlp-logs.test.ts',
    check: 'of values has 64 bits as text, and a list and an object as such',
  },
  {
    what: 'otlp-logs: a text is escaped twice',
    source: 'http/formats/otlp-logs.ts',
    right: 'isString ? view.json : JSON.stringify(view.json)',
    wrong: 'JSON.stringify(view.json)',
    file: 'http/formats/otlp-logs.test.ts',
    check: 'of a text is that text, of bytes is bytes',
  },
]

/** I8: a refusal that is taken for an ack. */
const ANSWERS: readonly PlantedDefect[] = [
  {
    what: 'answers by status: what is refused is acked',
    source: 'http/answers/rules.ts',
    right: 'meaning: listed }))',
    wrong: "meaning: 'acked' }))",
    file: 'http/answers/read-answer.test.ts',
    check: '{"ack":["200"],"refuse":["4xx"],"tooLarge":["400"]}: 400',
  },
  {
    what: 'answers by their meaning: what is refused is acked',
    source: 'http/answers/rules.ts',
    right: 'path: [key], pattern: key, meaning }]',
    wrong: "path: [key], pattern: key, meaning: meaning === 'refused' ? 'acked' : meaning }]",
    file: 'http/answers/read-answer.test.ts',
    check: '{"4xx":"refused"}: 418',
  },
  {
    what: 'contract: a record that is rejected is acked',
    source: 'http/answers/contract.ts',
    right: "if (status === null) return 'refused'",
    wrong: "if (status === null) return 'acked'",
    file: 'http/answers/read-answer.test.ts',
    check: 'no status, or null: refused',
  },
  {
    what: 'influx: the lines that were not stored are acked with the others',
    source: 'http/answers/receivers/influx.ts',
    right: "verdict: 'refused', code: '400'",
    wrong: "verdict: 'acked', code: '400'",
    file: 'http/answers/receivers.test.ts',
    check: 'InfluxDB 3: the lines that it lists are refused, the others are there',
  },
  {
    what: 'es-bulk: a document that is refused is acked',
    source: 'http/answers/receivers/es-bulk.ts',
    right: "? 'refused' : 'hold'",
    wrong: "? 'acked' : 'hold'",
    file: 'http/answers/receivers.test.ts',
    check: 'a document that is refused by mapper_parsing_exception is that record',
  },
  {
    what: 'clickhouse: an exception behind a 200 is an ack',
    source: 'http/answers/receivers/clickhouse.ts',
    right: 'if (code === null) {',
    wrong: 'if (code === null || status === 200) {\n    return null',
    file: 'http/answers/receivers.test.ts',
    check: 'I8: an exception behind a 200 is no ack',
  },
  {
    what: 'otlp: all rejected are all acked',
    source: 'http/answers/receivers/otlp.ts',
    right: "({ seq, verdict: 'refused', code: '200', reason })",
    wrong: "({ seq, verdict: 'acked', code: '200', reason })",
    file: 'http/answers/receivers.test.ts',
    check: 'I9: all rejected are all refused; some are looked for',
  },
]

/** Of the other types, whose exchange the campaign and the suite of the sink port look at as well. */
const TYPES: readonly PlantedDefect[] = [
  {
    what: 'file, object: the name says another last record',
    source: 'batch-files/names.ts',
    right: '${padded(firstSeq)}-${padded(lastSeq)}',
    wrong: '${padded(firstSeq)}-${padded(lastSeq - 1)}',
    file: 'batch-files/names.test.ts',
    check: 'say its identity, and end as what they hold',
  },
  {
    what: 'kafka: a message has the id of another record',
    source: 'kafka/encode.ts',
    right: '[ID, Buffer.from(record.id)]',
    wrong: '[ID, Buffer.from(`${record.id}0`)]',
    file: 'kafka/config.test.ts',
    check: 'preview shows topic, key, headers and value, and what would be refused',
  },
  {
    what: 'kafka: a code that nobody knows refuses records',
    source: 'kafka/answers.ts',
    right: 'MEANINGS[id] : undefined) ?? unknown',
    wrong: 'MEANINGS[id] : undefined) ?? REFUSED',
    file: 'kafka/answers.test.ts',
    check: 'a code that nobody knows holds, and is quoted',
  },
  {
    what: 'mqtt: a message that is not taken is acked',
    source: 'mqtt/client/reason-codes.ts',
    right: 'if (code === 0) return null',
    wrong: 'if (code === 0 || code === 0x97) return null',
    file: 'mqtt/codes.test.ts',
    check: 'what was acknowledged before a message that is not taken is settled',
  },
  {
    what: 'nats: an ack of another stream is one',
    source: 'nats/jetstream/reply.ts',
    right: 'said.stream !== stream || ',
    wrong: '',
    file: 'nats/reply.test.ts',
    check: '{"stream":"OTHER","seq":6}',
  },
  {
    what: 'object: other bytes under the name are taken for the batch',
    source: 'object/store.ts',
    right: '!tooLong && Buffer.concat(chunks).equals(body)',
    wrong: 'chunks.length > 0',
    file: 'object/sink.test.ts',
    check: 'what is longer is other bytes, too',
  },
  {
    what: 'postgres: a database that was rolled back is taken for one that is new',
    source: 'postgres/exchange/standing.ts',
    right: 'known !== null && row.highest < known',
    wrong: 'false',
    file: 'postgres/config.test.ts',
    check: 'the number of a queue decides what is sent',
  },
]

export const DEFECTS = [...AUTH, ...PROXY, ...SECRETS, ...FORMATS, ...ANSWERS, ...TYPES]
