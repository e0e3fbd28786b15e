import { rendezvousOrder } from '../../src/rendezvous/order.ts'
import type { Figures } from './figures.ts'
import type { HostDaemon } from './host-daemon.ts'
import type { Scenario, ScenarioAim, Scene } from './scenario.ts'

const KiB = 1024
const MiB = 1024 * KiB
const LIAR = [
  '--max-semi-space-size=2',
  '--heap-growing-percent=100',
  '--no-parallel-scavenge',
  '--v8-pool-size=1',
  '--disable-warning=ExperimentalWarning',
  new URL('liar.ts', import.meta.url).pathname,
  'daemon',
]

const nobodyFails: ScenarioAim = {
  what: 'hosts that failed',
  unit: '',
  than: 'less',
  value: 0,
  digits: 0,
  of: ({ failed }) => failed,
}

function slowest(value: number): ScenarioAim {
  return { what: 'slowest ÷ bound', unit: '×', than: 'less', value, of: ({ ratio }) => ratio }
}

function copies(value: number): ScenarioAim {
  return { what: "origin's link ÷ content", unit: '×', than: 'less', value, of: ({ originLinkCopies }) => originLinkCopies }
}

/** The crowd that most scenarios disturb. */
const LAYER = { hosts: 16, mbit: 50, layerBytes: [128 * MiB] } as const

const MIXED = {
  hosts: 16,
  mbit: 50,
  layerBytes: [90 * MiB, 30 * MiB, 8 * MiB],
  image: true,
  aims: [
    nobodyFails,
    slowest(1.25),
    { what: 'first byte, worst', unit: 's', than: 'less', value: 1, digits: 2, of: ({ firstByteS }: Figures) => firstByteS.max },
  ],
} as const

export const SCENARIOS: readonly Scenario[] = [
  { name: 'layer', about: 'one large layer', ...LAYER, aims: [nobodyFails, slowest(1.15), copies(1.05)] },
  {
    name: 'layer-fast',
    about: 'one larger layer, links twice as fast, half the hosts',
    hosts: 8,
    mbit: 100,
    layerBytes: [256 * MiB],
    aims: [nobodyFails, slowest(1.15), copies(1.05)],
  },
  ...[4, 8, 16, 32].map((hosts) => ({
    name: `layer-${hosts}`,
    about: `the first with ${hosts} hosts, to be compared with each other`,
    ...LAYER,
    hosts,
    aims: [nobodyFails],
  })),
  { name: 'mixed', about: 'three layers of mixed size, read as containerd reads', ...MIXED },
  { name: 'mixed-ctr', about: 'the same, read by containerd itself', ...MIXED, containerd: true },
  {
    name: 'small',
    about: '40 layers of 100 KiB',
    hosts: 32,
    mbit: 50,
    layerBytes: Array.from({ length: 40 }, () => 100 * KiB),
    image: true,
    aims: [
      nobodyFails,
      { what: "origin's requests ÷ one pull's", unit: '×', than: 'less', value: 1.1, of: ({ originPulls }) => originPulls },
    ],
  },
  {
    name: 'rendezvous',
    about: 'the rendezvous is killed at 30 %, its standby at 60 %',
    ...LAYER,
    disturb: killRendezvous,
    aims: [nobodyFails, copies(1.1), slowest(1.3)],
  },
  {
    name: 'quarter',
    about: 'a quarter of the hosts is killed at 50 %',
    ...LAYER,
    disturb: killQuarter,
    aims: [nobodyFails, copies(1.3)],
  },
  {
    name: 'origin-stops',
    about: 'the origin is killed once it has sent one copy',
    ...LAYER,
    disturb: stopOrigin,
    aims: [nobodyFails],
  },
  {
    name: 'broken-origin',
    about: 'the origin drops each connection after 20 MiB and answers a third of requests with 503',
    ...LAYER,
    fresh: true,
    faults: { dropAfterBytes: 20 * MiB, refuseEvery: 3 },
    aims: [nobodyFails, copies(1.1)],
  },
  {
    name: 'liars',
    about: 'two hosts serve wrong bytes and sign that they are right',
    ...LAYER,
    check: true,
    fresh: true,
    programOf: (host) => (host === 2 || host === 3 ? LIAR : undefined),
    aside: (host) => host === 2 || host === 3,
    aims: [
      nobodyFails,
      { what: 'wrong blobs completed', unit: '', than: 'less', value: 0, digits: 0, of: ({ wrongBlobs }) => wrongBlobs },
      { what: 'liars banned with evidence', unit: '', than: 'more', value: 2, digits: 0, of: ({ liarsBanned }) => liarsBanned },
      slowest(1.5),
    ],
  },
  {
    name: 'staggered',
    about: 'hosts arrive one per second',
    ...LAYER,
    staggerS: 1,
    aims: [nobodyFails, copies(1.02)],
  },
  {
    name: 'slow-host',
    about: "one host has a tenth of the others' bandwidth; they are what is timed",
    ...LAYER,
    mbitOf: (host, mbit) => (host === 2 ? mbit / 10 : mbit),
    aside: (host) => host === 2,
    aims: [nobodyFails, slowest(1.3)],
  },
]

async function killRendezvous({ crowd, layer, kill, untilHeld }: Scene): Promise<void> {
  const peerIds = crowd.daemons.map(({ peerId }) => peerId)
  const [first, standby] = rendezvousOrder(layer.digest, peerIds).map((id) => crowd.daemons.find(({ peerId }) => peerId === id))
  await untilHeld(0.3)
  await kill(first as HostDaemon)
  await untilHeld(0.6)
  await kill(standby as HostDaemon)
}

async function killQuarter({ crowd, kill, untilHeld }: Scene): Promise<void> {
  await untilHeld(0.5)
  await Promise.all(crowd.daemons.filter(({ host }) => host % 4 === 0).map(kill))
}

async function stopOrigin({ origin, untilImported, say }: Scene): Promise<void> {
  await untilImported(1)
  say('killing the origin')
  await origin.kill()
}
