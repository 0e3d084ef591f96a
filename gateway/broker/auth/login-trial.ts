/**
 * Whether a device could log in at each listener, and publish and subscribe where it wants to, with
 * the rule that decides: by the files as they are, without a connection and without a running
 * gateway. What it answers is what the authenticator would.
 */
import { listenerUrl } from '../../shared/hosts.ts'
import { verifyPassword } from '../../shared/passwords/password-file.ts'
import { checkTopicFilter, checkTopicName, filterMatches } from '../../shared/topics/topics.ts'
import type { ListenerConfig, MqttConfig } from '../config.ts'
import { authOf } from '../listeners/listener-policy.ts'
import { type AppliedRule, FULL_ACCESS } from './access-rules.ts'
import { covers, overlaps } from './filter-relations.ts'
import { Realm } from './realm.ts'

interface LoginTrial {
  /** null: none is sent. Where a listener has no password file, the name in the certificate. */
  readonly user: string | null
  /** null: it is not tried. */
  readonly password: Uint8Array | null
  readonly clientId: string
  readonly publish: readonly string[]
  readonly subscribe: readonly string[]
}

interface ListenerVerdict {
  /** `mqtts://0.0.0.0:8883` */
  readonly listener: string
  readonly login: Judgment
  readonly topics: readonly TopicJudgment[]
}

interface Judgment {
  readonly allowed: boolean
  /** One clause, with the line of the file where one decides. */
  readonly why: string
}

interface TopicJudgment extends Judgment {
  readonly action: 'publish' | 'subscribe'
  readonly topic: string
}

/** @throws AuthFileError that names file and line */
export async function tryLogin(config: MqttConfig, trial: LoginTrial): Promise<ListenerVerdict[]> {
  const verdicts: ListenerVerdict[] = []
  for (const listener of config.listeners) verdicts.push(await tryListener(config, listener, trial))
  return verdicts
}

async function tryListener(
  config: MqttConfig,
  listener: ListenerConfig,
  trial: LoginTrial,
): Promise<ListenerVerdict> {
  const auth = authOf(config, listener)
  const { host, port, tls, websocket } = listener
  const url = listenerUrl({ host, port, tls: tls !== null, websocket })
  if (auth === null) {
    const login = { allowed: true, why: 'this listener asks for no name and no password' }
    const topics = judgeTopics(trial, config, FULL_ACCESS, () => 'everybody may everything here')
    return { listener: url, login, topics }
  }
  const realm = await Realm.open(
    auth,
    () => undefined,
    NEVER_MS,
    () => undefined,
  )
  try {
    const login = await judgeLogin(auth.passwordFile, realm, trial)
    const access = realm.accessOf(trial.user, trial.clientId)
    const rules = realm.rulesOf(trial.user, trial.clientId)
    const known = auth.passwordFile === null || login.allowed || isKnown(realm, trial)
    const topics = judgeTopics(trial, config, access, (judged) => {
      if (!known) return 'without a login nothing is'
      if (rules === null) return 'there is no access file: every user may everything'
      return ruleFor(judged, rules, auth.aclFile ?? '')
    })
    return { listener: url, login, topics }
  } finally {
    realm.close()
  }
}

/** The files are read once. */
const NEVER_MS = 2_000_000_000

function isKnown(realm: Realm, { user }: LoginTrial): boolean {
  return user !== null && realm.credentials.users.has(user)
}

async function judgeLogin(
  passwordFile: string | null,
  realm: Realm,
  { user, password }: LoginTrial,
): Promise<Judgment> {
  if (passwordFile === null)
    return {
      allowed: true,
      why: 'there is no password file: a client is known by the name in its certificate, or not at all',
    }
  if (user === null)
    return { allowed: false, why: `a name and a password of ${passwordFile} are wanted` }
  const stored = realm.credentials.users.get(user)
  if (stored === undefined)
    return { allowed: false, why: `there is no such user in ${passwordFile}` }
  if (password === null)
    return { allowed: true, why: `the user is in ${passwordFile}; the password was not tried` }
  return (await verifyPassword(password, stored))
    ? { allowed: true, why: `the password is the one in ${passwordFile}` }
    : { allowed: false, why: `the password is not the one in ${passwordFile}` }
}

type Why = (judged: Omit<TopicJudgment, 'why'>) => string

function judgeTopics(
  { publish, subscribe }: LoginTrial,
  limits: MqttConfig,
  access: Pick<typeof FULL_ACCESS, 'mayPublish' | 'maySubscribe' | 'mayReceiveAll'>,
  why: Why,
): TopicJudgment[] {
  const topics = publish.map((topic): TopicJudgment => {
    const action = 'publish'
    const fault = checkTopicName(topic, limits)
    if (fault !== null) return { action, topic, allowed: false, why: `no topic name: ${fault}` }
    const allowed = access.mayPublish(topic)
    return { action, topic, allowed, why: why({ action, topic, allowed }) }
  })
  const filters = subscribe.map((topic): TopicJudgment => {
    const action = 'subscribe'
    const fault = checkTopicFilter(topic, limits)
    if (fault !== null) return { action, topic, allowed: false, why: `no topic filter: ${fault}` }
    const allowed = access.maySubscribe(topic)
    const part =
      allowed && !access.mayReceiveAll(topic) ? ', but not all that it takes arrives' : ''
    return { action, topic, allowed, why: `${why({ action, topic, allowed })}${part}` }
  })
  return [...topics, ...filters]
}

/** The rule that decides, in the words of its line; `access` has decided by the same rules. */
function ruleFor(
  { action, topic, allowed }: Omit<TopicJudgment, 'why'>,
  rules: readonly AppliedRule[],
  file: string,
): string {
  const isPublish = action === 'publish'
  const takes = ({ filter }: AppliedRule): boolean =>
    filter !== null && (isPublish ? filterMatches(filter, topic) : overlaps(filter, topic))
  const allowing = rules.filter(
    ({ kind }) => kind === 'readwrite' || kind === (isPublish ? 'write' : 'read'),
  )
  const candidates = allowing.filter(takes)
  const denials = rules.filter(({ kind }) => kind === 'deny')
  const denialOf = (what: string | null): AppliedRule | undefined =>
    denials.find(({ filter }) => filter !== null && what !== null && covers(filter, what))
  const decides = allowed
    ? candidates.find(({ filter }) => isPublish || denialOf(filter) === undefined)
    : (denialOf(topic) ??
      candidates.map(({ filter }) => denialOf(filter)).find((rule) => rule !== undefined))
  if (decides !== undefined)
    return `${file}:${decides.line}: ${decides.kind} ${decides.filter ?? ''}`
  if (rules.length === 0) return `${file} has no rule for this user`
  return `of ${rules.length} rules for this user in ${file} none allows it`
}
