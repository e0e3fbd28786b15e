import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { ShoalError } from '../../protocols/error.ts'
import { isLoopback } from '../config-values.ts'

export interface Guard {
  readonly token: string | undefined
  /** Whether the listener is bound to loopback only. */
  readonly loopback: boolean
}

/**
 * Who may ask: whoever has the token, or, without one, the programs of this host. A web page that the host's user looks at is not
 * one of them: neither by a name that it lets point to 127.0.0.1 (DNS rebinding) nor by a request across sites.
 * @throws ShoalError CONTROL_UNAUTHORIZED, ACCESS_DENIED
 */
export function admit(headers: IncomingHttpHeaders, guard: Guard): void {
  if (guard.loopback && !isLocalName(headers.host)) {
    throw new ShoalError('ACCESS_DENIED', 'the Host header does not name this host: use 127.0.0.1, [::1] or localhost')
  }
  const site = headers['sec-fetch-site']
  const foreign = headers.origin !== undefined && headers.origin !== `http://${headers.host}`
  if (foreign || (site !== undefined && site !== 'same-origin' && site !== 'none')) {
    throw new ShoalError('ACCESS_DENIED', 'requests from web pages of other sites are not answered')
  }
  if (guard.token !== undefined && !sameToken(bearerOf(headers.authorization), guard.token)) {
    throw new ShoalError('CONTROL_UNAUTHORIZED', 'this control listener wants its token: Authorization: Bearer <token>')
  }
}

function isLocalName(host: string | undefined): boolean {
  if (host === undefined) return false
  const name = host.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1')
  return isLoopback(name.toLowerCase())
}

function bearerOf(authorization: string | undefined): string {
  return /^Bearer +(\S+) *$/i.exec(authorization ?? '')?.[1] ?? ''
}

/** In a time that tells nothing about the token, its length included. */
function sameToken(given: string, token: string): boolean {
  return timingSafeEqual(sha256(given), sha256(token))
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
