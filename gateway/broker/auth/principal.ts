/**
 * Who is connected, and what it may: by the rules that are in force for its listener now, whatever
 * they were when it logged in. Not here: whether it may log in (authenticator.ts), where rules come
 * from (realm.ts).
 */
import { type Access, FULL_ACCESS, NO_ACCESS } from './access-rules.ts'
import type { Realm } from './realm.ts'

/** What the user of a connection may do, by the rules of this moment. */
export interface Principal extends Access {
  /** null: anonymous. */
  readonly user: string | null
  /** Rises when access rules or users were read again: earlier answers may have changed. */
  readonly version: number
}

/** Some 100 bytes each, only for subscribers that may receive a part of what they asked for. */
const MAX_RECEIVED_TOPICS = 1_000

/** The rules of one listener: a configuration that is reloaded may give it others. */
export class Seat {
  #realm: Realm | null
  #earlier = 0

  /** null: everything is allowed. */
  constructor(realm: Realm | null) {
    this.#realm = realm
  }

  get realm(): Realm | null {
    return this.#realm
  }

  /** Rises with each change, of the realm's and for another realm. */
  get version(): number {
    return this.#earlier + (this.#realm?.version ?? 1)
  }

  take(realm: Realm | null): void {
    if (realm === this.#realm) return
    this.#earlier = this.version
    this.#realm = realm
  }
}

export class Client implements Principal {
  readonly user: string | null
  readonly #clientId: string
  /** Its name is that of a password, not of a certificate. */
  readonly #hasPassword: boolean
  readonly #seat: Seat
  #access: Access
  #accessVersion: number
  /** What was answered about topics; a subscriber gets few of them again and again. */
  readonly #received = new Map<string, boolean>()

  constructor(user: string | null, clientId: string, seat: Seat) {
    this.user = user
    this.#clientId = clientId
    this.#hasPassword = seat.realm?.wantsPasswords ?? false
    this.#seat = seat
    this.#access = this.#judge()
    this.#accessVersion = seat.version
  }

  get version(): number {
    return this.#seat.version
  }

  mayPublish(topic: string): boolean {
    return this.#current().mayPublish(topic)
  }

  maySubscribe(filter: string): boolean {
    return this.#current().maySubscribe(filter)
  }

  mayReceiveAll(filter: string): boolean {
    return this.#current().mayReceiveAll(filter)
  }

  mayReceive(topic: string): boolean {
    const access = this.#current()
    if (access === FULL_ACCESS) return true
    const known = this.#received.get(topic)
    if (known !== undefined) return known
    if (this.#received.size >= MAX_RECEIVED_TOPICS) this.#received.clear()
    const answer = access.mayReceive(topic)
    this.#received.set(topic, answer)
    return answer
  }

  #current(): Access {
    const { version } = this.#seat
    if (this.#accessVersion !== version) {
      this.#access = this.#judge()
      this.#accessVersion = version
      this.#received.clear()
    }
    return this.#access
  }

  /** Who logged in another way than is wanted by now has to come again. */
  #judge(): Access {
    const { realm } = this.#seat
    if (realm === null) return FULL_ACCESS
    if (realm.wantsPasswords !== this.#hasPassword) return NO_ACCESS
    return realm.accessOf(this.user, this.#clientId)
  }
}
