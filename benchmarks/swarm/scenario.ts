import type { ImageBlob } from '../../examples/demo/image.ts'
import type { Aim } from '../lib/aim.ts'
import type { Crowd } from './crowd.ts'
import type { Figures } from './figures.ts'
import type { HostDaemon } from './host-daemon.ts'
import type { Origin } from './origin.ts'

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
  /** Clients hash what they get. */
  readonly check?: true
  /** Seconds between one host's start and the next's; by default all start at once. */
  readonly staggerS?: number
  /** Of a host, where it is not the others'. */
  readonly mbitOf?: (host: number, mbit: number) => number
  /** Hosts whose figures don't count: they are not what the scenario asks about. */
  readonly aside?: (host: number) => boolean
  /** What happens meanwhile. */
  readonly disturb?: (scene: Scene) => Promise<void>
  /** Daemons log each piece. */
  readonly traced?: true
  readonly aims: readonly ScenarioAim[]
}

export interface ScenarioAim extends Aim {
  readonly what: string
  readonly unit?: string
  readonly digits?: number
  readonly of: (figures: Figures) => number
}

/** What a disturbance has to do with. */
export interface Scene {
  readonly crowd: Crowd
  readonly origin: Origin
  /** The largest layer. */
  readonly layer: ImageBlob
  /** Pieces of it that anybody has from the origin: of all its pieces, the part; needs a traced scenario. */
  importedPart(): number
  /** Kills a host's daemon and its client. */
  kill(daemon: HostDaemon): Promise<void>
  /** Resolves when the hosts have, all together, so large a part of what they all want. */
  untilPart(part: number): Promise<void>
  say(what: string): void
  readonly signal: AbortSignal
}
