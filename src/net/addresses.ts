import { peerIdFromString } from '@libp2p/peer-id'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { TCP } from '@multiformats/multiaddr-matcher'
import { ShoalError } from '../errors.ts'
import type { PeerRef } from './host.ts'

/** Bounds what one hint can make us dial. */
const MAX_ADDRESSES_PER_PEER = 8
const MAX_ADDRESS_CHARS = 256

/** Addresses to listen on or to announce. @throws ShoalError ADDRESS_INVALID naming the one that is wrong */
export function parseAddresses(addresses: readonly string[]): string[] {
  for (const address of addresses) parse(address)
  return [...addresses]
}

/** Peers to stay connected to, each address ending in `/p2p/<id>`. @throws ShoalError ADDRESS_INVALID */
export function parseBootstrap(addresses: readonly string[]): PeerRef[] {
  const byPeer = new Map<string, string[]>()
  for (const address of addresses) {
    const id = peerIn(parse(address))
    if (id === undefined) throw invalid(address, 'it lacks /p2p/<peer id> at its end')
    byPeer.set(id, [...(byPeer.get(id) ?? []), address])
  }
  return [...byPeer].map(([id, addresses]) => ({ id, addresses }))
}

/** What of a hint can be dialled, each with `/p2p/<id>`; what is malformed or names another peer is left out. */
export function dialable(peer: PeerRef): Multiaddr[] {
  const found: Multiaddr[] = []
  for (const text of peer.addresses.slice(0, MAX_ADDRESSES_PER_PEER)) {
    try {
      const address = parse(text)
      const id = peerIn(address)
      if (id === undefined) found.push(address.encapsulate(`/p2p/${peer.id}`))
      else if (id === peer.id) found.push(address)
    } catch {
      // A hint from the network: one bad address does not spoil the others.
    }
  }
  return found
}

function parse(text: string): Multiaddr {
  if (text.length > MAX_ADDRESS_CHARS) throw invalid(`${text.slice(0, 40)}…`, 'it is too long')
  let address: Multiaddr
  try {
    address = multiaddr(text)
    const id = peerIn(address)
    if (id !== undefined) peerIdFromString(id)
  } catch (cause) {
    throw invalid(text, 'it is not a multiaddr', cause)
  }
  if (!TCP.exactMatch(address)) throw invalid(text, 'only TCP is spoken, as in /ip4/192.0.2.1/tcp/7402')
  return address
}

function peerIn(address: Multiaddr): string | undefined {
  return address.getComponents().findLast((component) => component.name === 'p2p')?.value
}

function invalid(address: string, why: string, cause?: unknown): ShoalError {
  return new ShoalError('ADDRESS_INVALID', `address ${address} cannot be used: ${why}`, { cause, detail: { address } })
}
