/**
 * The JSON Schema of the configuration, judged by a validator that others wrote (python3-jsonschema):
 * it takes what the loader takes, and refuses what is wrong by its shape.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { describeKeys, type KeyDescription } from '../../gateway/config/keys/describe.ts'
import { jsonSchema } from '../../gateway/config/keys/json-schema.ts'
import { ConfigError, type Problem } from '../../gateway/config/problems.ts'
import { SCHEMA } from '../../gateway/configuration.ts'
import { sourcePath } from '../support/source-path.ts'
import { toolsAreRequired } from '../support/tools.ts'
import { ConfigFolder } from './folder.ts'
import { MISTAKES } from './mistakes.ts'

const schema = jsonSchema(SCHEMA.root, 'Configuration')

/** Of the distribution: packages of another Python are not its own. */
const PYTHON = '/usr/bin/python3'
const isMissing = spawnSync(PYTHON, ['-c', 'import jsonschema']).status !== 0

const VALIDATOR = `
import json, sys
from jsonschema import Draft202012Validator
given = json.load(sys.stdin)
Draft202012Validator.check_schema(given["schema"])
validator = Draft202012Validator(given["schema"])
print(json.dumps([validator.is_valid(each) for each in given["documents"]]))
`

/** For each document: does it fit? The schema itself is checked against its own first. */
function fits(documents: readonly unknown[]): boolean[] {
  const input = JSON.stringify({ schema, documents })
  const maxBuffer = 64 * 1024 * 1024
  return JSON.parse(execFileSync(PYTHON, ['-c', VALIDATOR], { input, maxBuffer }).toString())
}

let folder: ConfigFolder
beforeEach(() => {
  folder = new ConfigFolder()
})
afterEach(() => folder.remove())

function problemsOf(document: unknown): readonly Problem[] {
  try {
    folder.load(stringify(document))
    return []
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
}

/** The smallest documents in which a key can be written, with what chooses its type. */
function documentsWith({ path, only }: KeyDescription, value: unknown): unknown {
  const document = {}
  const set = (at: string, what: unknown): void => {
    const keys = at.split('.').map((key) => NAMES[key] ?? key)
    let here: Record<string | number, unknown> = document
    for (const [i, key] of keys.entries()) {
      if (i === keys.length - 1) here[key] = what
      else here = (here[key] ??= typeof keys[i + 1] === 'number' ? [] : {}) as typeof here
    }
  }
  for (let choice = only; choice !== null; choice = choice.outer) set(choice.at, choice.value)
  set(path, value)
  return document
}

const NAMES: Readonly<Record<string, string | number>> = {
  '<name>': 'cloud',
  '<n>': 0,
  '<header>': 'X-Site',
  '<status>': '409',
  '<parameter>': 'audience',
  '<column>': 'id',
}

const NO_TEXTS = [true, 0, 1, 5, -1, 0.5, 1.5, 1e9, [], [1], [[]], {}, { file: 'f' }, { x: 1 }]
const TEXTS = ['', 'a', 'A b', '5s', '1.5h', '50y', '1MiB', '1GB', '4096', '3.1.1', 'a/#', 'a#']
const ADDRESSES = ['https://a.example/x', 'mqtts://a.example', 'host:9092']
const VALUES = [null, ...NO_TEXTS, ...TEXTS, ...ADDRESSES, ['a']]

/** One for each key, in turn; a third of them for the first of each kind and range. */
function valuesOf(key: KeyDescription, i: number, keys: readonly KeyDescription[]): unknown[] {
  const kindOf = ({ type, text }: KeyDescription) => type + text.slice(text.lastIndexOf('ants '))
  const isFirst = keys.findIndex((one) => kindOf(one) === kindOf(key)) === i
  return VALUES.filter((_, at) => (isFirst ? at % 3 === i % 3 : at === i % VALUES.length))
}

/** What two keys mean together, and what a text says, only the loader judges. */
function isWrongByShape(problems: readonly Problem[]): boolean {
  const isText = (got: string) => /^("|a text \(hidden\))/.test(got)
  return problems.some(({ code, got }) => code !== 'CONFIG_CONFLICT' && !isText(got))
}

if (isMissing && toolsAreRequired()) throw new Error('needs python3-jsonschema')

describe.skipIf(isMissing)('JSON Schema, as python3-jsonschema reads it', () => {
  test('takes every example and what is in effect by default', () => {
    const examples = sourcePath('gateway/packaging/examples')
    const files = [
      ...readdirSync(examples).map((name) => join(examples, name)),
      sourcePath('gateway/packaging/sluice.yaml'),
    ]
    const texts = files.map((file) => readFileSync(file, 'utf8'))
    const empty = ['{}', 'gateway:\nmqtt:\nstreams: { a: }\nsinks: { cloud: }\n']
    expect(fits([...texts, ...empty].map((text) => parse(text)))).toEqual(
      [...texts, ...empty].map(() => true),
    )
  })

  test('refuses each known mistake but those that only the loader can judge', () => {
    const texts = MISTAKES.map(([text]) => text)
    const verdicts = fits(texts.map((text) => parse(text)))
    expect(verdicts.filter((isTaken) => !isTaken).length).toBeGreaterThan(60)
    const missed = texts.filter((text, i) => verdicts[i] && isWrongByShape(folder.problems(text)))
    expect(missed).toEqual([])
  })

  test('takes what the loader takes, and refuses what is wrong by its shape: each key, many values', () => {
    const cases = describeKeys(SCHEMA.root).flatMap((key, i, keys) =>
      valuesOf(key, i, keys).map((value) => ({ key, document: documentsWith(key, value) })),
    )
    expect(cases.length).toBeGreaterThan(800)
    const verdicts = fits(cases.map(({ document }) => document))
    const wrong = cases.flatMap(({ key, document }, i) => {
      const problems = problemsOf(document)
      const isRight = verdicts[i] === true ? !isWrongByShape(problems) : problems.length > 0
      return isRight ? [] : [`${key.path}: ${stringify(document)} is taken: ${verdicts[i]}`]
    })
    expect(wrong).toEqual([])
  }, 180_000)
})
