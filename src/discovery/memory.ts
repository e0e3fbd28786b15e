import type { Digest } from '../../protocols/digest.ts'
import { type ZoneLabel, zoneName } from '../../protocols/zone.ts'
import type { PeerRef } from '../net/host.ts'
import type { Candidate, Discovery, Member } from './discovery.ts'
import { unlessAborted } from './unless-aborted.ts'

/** What the nodes of one process know of each other, at once and without a network. */
export interface SharedDiscovery {
  readonly members: Map<string, Member>
  /** By digest in text form, then peer id. */
  readonly holders: Map<string, Set<string>>
  /** How often it was asked for holders in other zones, by digest. */
  readonly lookUps: Map<string, number>
}

export function createSharedDiscovery(): SharedDiscovery {
  return { members: new Map(), holders: new Map(), lookUps: new Map() }
}

/** A node's view of what is shared; closing it is the node's silent death as the others see it once they have noticed. */
export function createMemoryDiscovery(
  shared: SharedDiscovery,
  self: { readonly peer: PeerRef; readonly label: ZoneLabel },
): Discovery {
  const { peer, label } = self
  const stale = new Set<string>()
  const member: Member = { peer, label, load: 0, version: 'memory', roles: [], heardAt: performance.now() }
  shared.members.set(peer.id, member)
  let open = true
  const others = () => [...shared.members.values()].filter((m) => open && m.peer.id !== peer.id)
  const members = () => others().filter((m) => zoneName(m.label) === zoneName(label))
  const withdraw = (digest: Digest) => void shared.holders.get(String(digest))?.delete(peer.id)

  return {
    async *find(digest, { signal, further }) {
      signal.throwIfAborted()
      const key = String(digest)
      const holders = others().filter((m) => shared.holders.get(key)?.has(m.peer.id))
      const isNear = (m: Member) => zoneName(m.label) === zoneName(label)
      const candidates = (of: readonly Member[], reason: Candidate['reason'], source: Candidate['source']): Candidate[] =>
        of.filter((m) => !stale.has(`${key} ${m.peer.id}`)).map((m) => ({ peer: m.peer, reason, source, label: m.label }))
      yield* candidates(holders.filter(isNear), 'holder', 'gossip')
      yield* candidates(members(), 'member', 'zone')
      if (further !== undefined) await unlessAborted(further, signal)
      shared.lookUps.set(key, (shared.lookUps.get(key) ?? 0) + 1)
      yield* candidates(
        holders.filter((m) => !isNear(m)),
        'holder',
        'dht',
      )
    },
    announce: (digest) => {
      if (!open) return
      const holders = shared.holders.get(String(digest)) ?? new Set()
      shared.holders.set(String(digest), holders.add(peer.id))
    },
    withdraw,
    forget: (digest, peerId) => void stale.add(`${digest} ${peerId}`),
    members,
    [Symbol.asyncDispose]: async () => {
      open = false
      shared.members.delete(peer.id)
      for (const holders of shared.holders.values()) holders.delete(peer.id)
    },
  }
}
