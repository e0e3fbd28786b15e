import type { PeerRef, Routing } from './host.ts'
import type { MemoryWorld } from './memory.ts'

/** One table of providers for the whole network. */
export function createMemoryRouting(world: MemoryWorld, self: PeerRef): Routing {
  return {
    provide: async (cid, { signal }) => {
      signal.throwIfAborted()
      const known = world.providers.get(cid.toString()) ?? new Map<string, PeerRef>()
      world.providers.set(cid.toString(), known.set(self.id, self))
    },
    cancel: async (cid) => {
      world.providers.get(cid.toString())?.delete(self.id)
    },
    async *find(cid, { signal }) {
      for (const provider of [...(world.providers.get(cid.toString())?.values() ?? [])]) {
        signal.throwIfAborted()
        if (provider.id !== self.id) yield provider
      }
    },
  }
}
