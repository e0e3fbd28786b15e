import { ShoalError } from '../../protocols/error.ts'
import { isRegistryName } from '../../protocols/reference.ts'

/** Where a registry is, and who may be told what. */
export interface Upstream {
  readonly name: string
  /** Without credentials, and without a slash at its end. */
  readonly base: URL
  /** The operator's own credentials, as an `Authorization` value. */
  readonly authorization: string | undefined
  /** Named by the operator: may be anywhere, also on a private address. */
  readonly configured: boolean
}

/** Names of Docker Hub in references, and where its registry really is. */
const DOCKER_HUB = Object.freeze({
  name: 'docker.io',
  aliases: Object.freeze(['index.docker.io', 'registry-1.docker.io']),
  url: 'https://registry-1.docker.io',
})

/** A registry's name to where it is: what the operator said, else `https://NAME`. */
export function createUpstreams(configured: ReadonlyMap<string, URL>): { find(name: string): Upstream } {
  const known = new Map([...configured].map(([name, url]) => [name.toLowerCase(), configuredUpstream(name.toLowerCase(), url)]))
  return {
    /** @throws ShoalError REFERENCE_INVALID */
    find(name) {
      if (!isRegistryName(name))
        throw new ShoalError('REFERENCE_INVALID', `not a registry: "${name.slice(0, 100)}"; expected HOST or HOST:PORT`)
      const lower = name.toLowerCase()
      const canonical = DOCKER_HUB.aliases.includes(lower) ? DOCKER_HUB.name : lower
      const upstream = known.get(lower) ?? known.get(canonical)
      if (upstream !== undefined) return upstream
      const base = URL.parse(canonical === DOCKER_HUB.name ? DOCKER_HUB.url : `https://${lower}`)
      if (base === null) throw new ShoalError('REFERENCE_INVALID', `not a registry: "${name.slice(0, 100)}"`)
      return { name: canonical, base, authorization: undefined, configured: false }
    },
  }
}

/** Credentials come in the URL's user part: `https://user:password@host`. */
function configuredUpstream(name: string, url: URL): Upstream {
  const base = new URL(url)
  base.username = ''
  base.password = ''
  base.search = ''
  base.hash = ''
  base.pathname = base.pathname.replace(/\/+$/, '')
  return { name, base, authorization: basicOf(url), configured: true }
}

/** The `Authorization` value of a URL's user part. */
export function basicOf(url: URL): string | undefined {
  if (url.username === '' && url.password === '') return undefined
  const login = `${unescaped(url.username)}:${unescaped(url.password)}`
  return `Basic ${Buffer.from(login).toString('base64')}`
}

/** A percent sign that escapes nothing stands for itself. */
function unescaped(text: string): string {
  return decodeURIComponent(text.replace(/%(?![0-9a-fA-F]{2})/g, '%25'))
}
