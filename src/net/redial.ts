import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../telemetry/log.ts'
import type { Host, PeerRef } from './host.ts'

const FIRST_DELAY_MS = 500
const LONGEST_DELAY_MS = 30_000

/** Doubles up to half a minute, less up to half at random, so that a cluster does not return all at once. */
export function redialDelayMs(attempt: number, random: number): number {
  return Math.min(FIRST_DELAY_MS * 2 ** attempt, LONGEST_DELAY_MS) * (1 - random / 2)
}

/**
 * Keeps trying to be connected to each of `peers` until disposed. libp2p's own reconnect forgets a peer after five
 * tries, and a bootstrap peer that is away for a minute is normal.
 */
export function keepConnected(host: Host, peers: readonly PeerRef[], log: Log, random: () => number = Math.random): Disposable {
  const stopping = new AbortController()
  const { signal } = stopping
  const dialling = new Set<string>()
  const dial = async (peer: PeerRef) => {
    if (dialling.has(peer.id)) return
    dialling.add(peer.id)
    for (let attempt = 0; !signal.aborted && !host.isConnected(peer.id); attempt++) {
      try {
        await host.connect(peer, { signal })
        log.info({ peerId: peer.id }, 'connected to bootstrap peer')
      } catch (error) {
        if (attempt === 0 && !signal.aborted) log.warn({ peerId: peer.id, err: error }, 'bootstrap peer is away; dialling on')
        await sleep(redialDelayMs(attempt, random()), undefined, { signal }).catch(() => {})
      }
    }
    dialling.delete(peer.id)
  }
  const others = peers.filter((peer) => peer.id !== host.peerId)
  const unsubscribe = host.onPeer((event) => {
    const peer = event.type === 'disconnect' ? others.find(({ id }) => id === event.peer.id) : undefined
    if (peer !== undefined) void dial(peer)
  })
  for (const peer of others) void dial(peer)
  return {
    [Symbol.dispose]: () => {
      unsubscribe()
      stopping.abort()
    },
  }
}
