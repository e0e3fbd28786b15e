/** Who else of this zone wants a blob, and who of them imports which pieces (design 5). */
import type { Digest } from '../../protocols/digest.ts'
import type { PeerRef } from '../net/host.ts'

/** The right to import the pieces `first … last` from outside the zone, for as long as it shows progress. */
export interface Grant {
  readonly first: number
  /** Falls or grows when the origin turns out to be otherwise than thought: look at it again after `sized` and `streams`. */
  readonly last: number
  /** Nobody in the zone knows the size: ask the origin from the start, say `sized` as soon as its headers tell it, and import up to what `last` is then. */
  readonly open: boolean
  /** How many bytes to ask the origin for when `open`; `undefined` for all there are. */
  readonly openBytes: number | undefined
  /** The size that `first` and `last` are meant for; `undefined` for an open grant until `sized`. */
  readonly size: number | undefined
  /** The origin ignores ranges: say so before `sized`. This node then imports all that is missing, and everybody follows it. */
  streams(): void
  /** The origin has answered: bytes flow, and this is the blob's size. */
  sized(size: number): void
  /** Bytes come in. Call it with every chunk if you like: it keeps the grant alive while a large piece is slow. */
  alive(): void
  /** A piece was imported, and is held and offered. */
  progress(index: number, size: number): void
  /** Gives it back, done or not; what was not imported is free for others at once. `retryAfterMs`: the origin asked to be left alone. */
  end(outcome: { readonly ok: boolean; readonly retryAfterMs?: number | undefined }): void
}

/** This node's place in the swarm of one blob, until it is disposed. */
export interface Membership extends AsyncDisposable {
  /** Resolves when the rendezvous has answered the registration, or when it is too late to wait for that; at once for a node alone. */
  readonly introduced: Promise<void>
  /** The size as the zone knows it: somebody's word. */
  readonly size: number | undefined
  /** Calls with each other member that is told of, those known already included; returns an unsubscribe. */
  onMember(listener: (peer: PeerRef) => void): () => void
  /** Calls when the size is learnt and when it is time to ask again; returns an unsubscribe. */
  onChange(listener: () => void): () => void
  /**
   * Asks for the right to import some of `orphans`: pieces that nobody in sight holds, the most urgent first. With `size`
   * unknown they mean nothing. Answers soon whatever others do: when nobody answers, this node acts alone.
   * @returns `undefined` when somebody else imports them, or it is not the time: ask again after `onChange`
   * @throws the signal's reason
   */
  ask(orphans: readonly number[], size: number | undefined, options: { signal: AbortSignal }): Promise<Grant | undefined>
  /** This node holds the whole: it wants nothing more, and newcomers are sent to it. */
  complete(): void
}

export interface Rendezvous extends AsyncDisposable {
  /** @param size if this node knows it */
  join(digest: Digest, size?: number): Membership
}
