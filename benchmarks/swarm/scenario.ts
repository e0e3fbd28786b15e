import type { ImageBlob } from '../../examples/demo/image.ts'
import type { Aim } from '../lib/aim.ts'
import type { Crowd } from './crowd.ts'
import type { Figures } from './figures.ts'
import type { HostDaemon } from './host-daemon.ts'
import type { Origin, OriginFaults } from './origin.ts'

/** A crowd, what it wants, and what goes wrong meanwhile. */
export interface Scenario {
  readonly name: string
  /** In a few words, without the numbers. */
  readonly about: string
  readonly hosts: number
  /** Each way, of each host and of the origin. */
  readonly mbit: number
  readonly layerBytes: readonly number[]
  /** Clients resolve the tag and read all of the image, as containerd does; otherwise they read its layer and nothing else. */
  readonly image?: true
  /** Clients are `ctr`, with a containerd on each host, which reads the image; by default curl. */
  readonly containerd?: true
  /** Clients hash what they get, and resume what was cut. */
  readonly check?: true
  /** Seconds between one host's start and the next's; by default all start at once. */
  readonly staggerS?: number
  /** Of a host, where it is not the others'. */
  readonly mbitOf?: (host: number, mbit: number) => number
  /** Hosts that run a program of their own in place of `shoal daemon`: node's arguments up to `daemon`. */
  readonly programOf?: (host: number) => readonly string[] | undefined
  /** Hosts that are not asked about: their figures don't count, and nobody waits for their clients. */
  readonly aside?: (host: number) => boolean
  /** How the origin fails, if it does. */
  readonly faults?: OriginFaults
  /** What happens meanwhile. Such a crowd is traced. */
  readonly disturb?: (scene: Scene) => Promise<void>
  /** Daemons have pulled nothing before. Otherwise they have, all together, something else: a daemon runs for weeks. */
  readonly fresh?: true
  /** Daemons log each piece. */
  readonly traced?: true
  readonly aims: readonly ScenarioAim[]
}

export interface ScenarioAim extends Aim {
  readonly what: string
  readonly unit: string
  readonly digits?: number
  readonly of: (figures: Figures) => number
}

/** What a disturbance has to do with. */
export interface Scene {
  readonly crowd: Crowd
  readonly origin: Origin
  /** The largest layer. */
  readonly layer: ImageBlob
  /** Kills a host's daemon and its client. */
  kill(daemon: HostDaemon): Promise<void>
  /** Resolves when all hosts together have so large a part of what they all want. */
  untilHeld(part: number): Promise<void>
  /** Resolves when so large a part of the content has left the origin, no piece counted twice. */
  untilImported(part: number): Promise<void>
  say(what: string): void
}
