import { hash } from 'node:crypto'

/** As whom a registry is asked. */
export interface Identity {
  readonly name: 'nobody' | 'service' | 'client'
  /** Tells identities apart in caches without keeping what they are. */
  readonly key: string
  /** An `Authorization` value: `Basic …` or `Bearer …`. */
  readonly authorization: string | undefined
}

/** Longer ones would not fit a request. */
const MAX_AUTHORIZATION_LENGTH = 16_384
const USABLE = /^(?:basic|bearer) +[\x21-\x7e]+$/i

const NOBODY: Identity = Object.freeze({ name: 'nobody', key: 'nobody', authorization: undefined })

/**
 * As whom to ask, in order: the operator's own credentials where there are some, else nobody's; then the client's.
 * So a client's credentials go nowhere unless they are needed.
 */
export function identities(service: string | undefined, client: string | undefined): readonly Identity[] {
  const first = service === undefined ? NOBODY : identity('service', service)
  const given = client?.trim() ?? ''
  if (given.length > MAX_AUTHORIZATION_LENGTH || !USABLE.test(given)) return [first]
  return [first, identity('client', given)]
}

export function isBasic(authorization: string): boolean {
  return /^basic /i.test(authorization)
}

function identity(name: Identity['name'], authorization: string): Identity {
  return { name, key: `${name} ${hash('sha256', authorization, 'hex')}`, authorization }
}
