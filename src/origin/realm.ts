import { addressIn, isLoopbackUrl } from './address.ts'

/** Names under which anybody can have a host: each host there stands for itself alone. */
const SHARED_SUFFIXES: readonly string[] = [
  'amazonaws.com',
  'azurecontainerapps.io',
  'azurecr.io',
  'azurewebsites.net',
  'cloudapp.net',
  'cloudfront.net',
  'github.io',
  'gitlab.io',
  'herokuapp.com',
  'netlify.app',
  'ngrok.io',
  'pages.dev',
  'pkg.dev',
  'run.app',
  'vercel.app',
  'web.app',
  'workers.dev',
]
/** `co.uk`, `com.au` and their like. */
const SECOND_LEVEL = /(?:^|\.)(?:ac|co|com|edu|go|gob|gov|mil|ne|net|or|org)\.[a-z]{2}$/

/** The part of a host name that somebody registered: `example.com` of `registry.example.com`; the name itself where nobody did. */
export function registrableDomain(host: string): string {
  const name = host.toLowerCase().replace(/\.$/, '')
  if (SHARED_SUFFIXES.some((suffix) => name.endsWith(`.${suffix}`))) return name
  return name
    .split('.')
    .slice(SECOND_LEVEL.test(name) ? -3 : -2)
    .join('.')
}

/**
 * Why a token server that a registry names may not be given credentials meant for that registry; `undefined` when it may.
 * A registry that names another's realm would otherwise collect passwords for it (distribution's rule for its own proxy).
 */
export function realmProblem(realm: URL, registry: URL): string | undefined {
  if (isLoopbackUrl(registry)) return undefined
  if (registry.protocol === 'https:' && realm.protocol !== 'https:') return 'it is not https, the registry is'
  if (realm.hostname === registry.hostname) return undefined
  if (addressIn(realm) !== undefined) return 'it is an address, not a name'
  if (addressIn(registry) === undefined && registrableDomain(realm.hostname) === registrableDomain(registry.hostname))
    return undefined
  return `it is not under the registry's domain ${registrableDomain(registry.hostname)}`
}
