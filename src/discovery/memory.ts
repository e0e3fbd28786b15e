import type { Digest } from '../../protocols/digest.ts'
import { type ZoneLabel, zoneName } from '../../protocols/zone.ts'
import type { PeerRef } from '../net/host.ts'
import type { Candidate, Discovery, Member } from './discovery.ts'

/** What the nodes of one process know of each other, at once and without a network. */
export interface SharedDiscovery {
  readonly members: Map<string, Member>
  /** By digest in text form, then peer id. */
  readonly holders: Map<string, Set<string>>
}

export function createSharedDiscovery(): SharedDiscovery {
  return { members: new Map(), holders: new Map() }
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
    async *find(digest, { signal }) {
      signal.throwIfAborted()
      const holders = shared.holders.get(String(digest))
      const known: Candidate[] = others()
        .filter((m) => holders?.has(m.peer.id))
        .map((m) => ({ peer: m.peer, reason: 'holder', source: 'gossip', label: m.label }))
      const near: Candidate[] = members().map((m) => ({ peer: m.peer, reason: 'member', source: 'zone', label: m.label }))
      for (const candidate of [...known, ...near]) {
        signal.throwIfAborted()
        if (!stale.has(`${digest} ${candidate.peer.id}`)) yield candidate
      }
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
