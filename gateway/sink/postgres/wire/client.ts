/** The client library, which the gateway comes without. */
import type * as Pg from 'pg'
import { OptionalPackage } from '../../optional-package.ts'

export const CLIENT = new OptionalPackage<typeof Pg>({ name: 'pg', version: '8.23.1' })
