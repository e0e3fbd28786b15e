import type { Host } from './host.ts'

export type PeerListener = Parameters<Host['onPeer']>[0]

/** The listeners of `Host.onPeer`. */
export function createPeerEvents(): { on: Host['onPeer']; emit: PeerListener } {
  const listeners = new Set<PeerListener>()
  return {
    on: (listener) => {
      const own: PeerListener = (event) => listener(event)
      listeners.add(own)
      return () => listeners.delete(own)
    },
    emit: (event) => {
      for (const listener of listeners) listener(event)
    },
  }
}
