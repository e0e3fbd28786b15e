/** What a registry asks for in `WWW-Authenticate`. */
export interface Challenge {
  /** Lower case: `basic`, `bearer`, … */
  readonly scheme: string
  /** Keys are lower case. */
  readonly parameters: ReadonlyMap<string, string>
}

const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y
const QUOTED = /"((?:[^"\\]|\\.)*)"/y
const GAP = /[\s,]*/y
const EQUALS = /\s*=\s*/y
const MAX_CHALLENGES = 8

/**
 * Reads a `WWW-Authenticate` value, which may hold several challenges (RFC 9110, 11.6.1). Never throws: what can't be read ends the list.
 * A scheme followed by one opaque word (Negotiate) is kept without parameters.
 */
export function parseChallenges(header: string | undefined): readonly Challenge[] {
  const text = (header ?? '').slice(0, 16_384)
  const challenges: { scheme: string; parameters: Map<string, string> }[] = []
  let at = 0
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at
    const match = pattern.exec(text)
    if (match === null) return undefined
    at = pattern.lastIndex
    return match[1] ?? match[0]
  }
  while (challenges.length <= MAX_CHALLENGES) {
    take(GAP)
    const word = take(TOKEN)?.toLowerCase()
    if (word === undefined) break
    const isParameter = challenges.length > 0 && take(EQUALS) !== undefined
    if (!isParameter) {
      challenges.push({ scheme: word, parameters: new Map() })
      continue
    }
    const value = take(QUOTED)?.replace(/\\(.)/g, '$1') ?? take(TOKEN)
    if (value === undefined) break
    challenges.at(-1)?.parameters.set(word, value)
  }
  return challenges
}

/** How to get a token (distribution spec, "Token Authentication"). */
export interface TokenChallenge {
  readonly type: 'bearer'
  readonly realm: URL
  readonly service: string | undefined
  readonly scopes: readonly string[]
}

export type UsableChallenge = TokenChallenge | { readonly type: 'basic' }

/**
 * The challenge to answer: Bearer before Basic, for a token says less than a password; `undefined` when there is none we can.
 * @param repository its pull scope is asked for where the challenge names none
 */
export function usableChallenge(challenges: readonly Challenge[], repository: string): UsableChallenge | undefined {
  for (const { scheme, parameters } of challenges) {
    const realm = URL.parse(parameters.get('realm') ?? '')
    if (scheme !== 'bearer' || realm === null || !/^https?:$/.test(realm.protocol)) continue
    realm.username = ''
    realm.password = ''
    realm.hash = ''
    const scopes = (parameters.get('scope') ?? '').split(' ').filter((scope) => scope !== '')
    return {
      type: 'bearer',
      realm,
      service: parameters.get('service'),
      scopes: scopes.length > 0 ? scopes : [`repository:${repository}:pull`],
    }
  }
  return challenges.some(({ scheme }) => scheme === 'basic') ? { type: 'basic' } : undefined
}
