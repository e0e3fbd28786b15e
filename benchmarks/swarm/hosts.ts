import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'

/** How the hosts' links are. */
export interface Links {
  /** Hosts besides the origin. */
  readonly hosts: number
  /** Each way, per host and for the origin. */
  readonly mbit: number
}

/** Bytes that a queue at either end of a link may hold: 40 ms of its rate. */
const QUEUE_SECONDS = 0.04
/** More classes than this cost more than they make fair. */
const MAX_FAIR = 64
const CONGESTION = 'cubic'

/**
 * One switch and hosts around it, each in a network namespace of its own, every link shaped in both directions with a
 * class for each remote host (one first-in-first-out queue would let one sender take half of a link). Host 0 is the origin's.
 * Needs root and iproute2; nothing in it can leave the machine. Dispose to remove all of it.
 */
export class Hosts implements Disposable {
  readonly links: Links
  readonly #prefix = `shoal${process.pid}`

  constructor(links: Links) {
    this.links = links
    allowCongestionControl()
    try {
      this.#build()
    } catch (error) {
      this[Symbol.dispose]()
      throw error
    }
  }

  /** Whether this user may make network namespaces here. */
  static get possible(): boolean {
    const name = `shoal${process.pid}probe`
    const made = spawnSync('ip', ['netns', 'add', name]).status === 0
    if (made) spawnSync('ip', ['netns', 'delete', name])
    return made
  }

  /** The command and first arguments that run a program on host `i`; it is exec'ed, so its pid is the program's. */
  on(i: number): readonly [string, ...string[]] {
    return ['ip', 'netns', 'exec', this.#name(i)]
  }

  address(i: number): string {
    return `10.77.0.${10 + i}`
  }

  /** Bytes that host `i` has sent over its link since the rig was made. */
  sentBytes(i: number): number {
    return Number(this.#read(i, '/sys/class/net/e0/statistics/tx_bytes'))
  }

  [Symbol.dispose](): void {
    for (let i = 0; i <= this.links.hosts; i++) spawnSync('ip', ['netns', 'delete', this.#name(i)])
    spawnSync('ip', ['netns', 'delete', this.#switch])
  }

  get #switch(): string {
    return `${this.#prefix}sw`
  }

  #name(i: number): string {
    return `${this.#prefix}h${i}`
  }

  #read(i: number, path: string): string {
    const [command, ...args] = this.on(i)
    return execFileSync(command, [...args, 'cat', path], { encoding: 'utf8' })
  }

  #build(): void {
    const { hosts, mbit } = this.links
    const all = Array.from({ length: hosts + 1 }, (_, i) => i)
    for (const name of [this.#switch, ...all.map((i) => this.#name(i))]) batch('ip', [], [`netns add ${name}`])
    batch(
      'ip',
      ['-n', this.#switch],
      ['link add br0 type bridge stp_state 0 forward_delay 0', 'link set br0 up', 'link set lo up'],
    )
    for (const i of all) {
      this.#settle(i)
      const gso = `gso_max_size ${mbit < 1000 ? 16_384 : 65_536}`
      batch(
        'ip',
        ['-n', this.#switch],
        [
          `link add p${i} type veth peer name e0 netns ${this.#name(i)}`,
          `link set p${i} txqueuelen 1000 ${gso} master br0`,
          `link set p${i} up`,
        ],
      )
      batch(
        'ip',
        ['-n', this.#name(i)],
        ['link set lo up', `link set e0 txqueuelen 1000 ${gso}`, `addr add ${this.address(i)}/24 dev e0`, 'link set e0 up'],
      )
      const remote = all.filter((k) => k !== i).map((k) => this.address(k))
      batch('tc', ['-n', this.#name(i)], shape('e0', mbit, 'dst', remote))
      batch('tc', ['-n', this.#switch], shape(`p${i}`, mbit, 'src', remote))
    }
  }

  /** Settings of a namespace's own TCP. */
  #settle(i: number): void {
    const [command, ...args] = this.on(i)
    const settings = { tcp_congestion_control: CONGESTION, tcp_no_metrics_save: '1', ip_local_port_range: '20000 60999' }
    for (const [key, value] of Object.entries(settings)) {
      execFileSync(command, [...args, 'sh', '-c', `echo "${value}" > /proc/sys/net/ipv4/${key}`])
    }
  }
}

/** tc lines for one direction of a link: shared evenly by the remote hosts, each of which may use all that others leave. */
function shape(device: string, mbit: number, match: 'src' | 'dst', remote: readonly string[]): string[] {
  const kbit = mbit * 1000
  const queueBytes = Math.max(30_000, Math.round(kbit * 125 * QUEUE_SECONDS))
  const burst = Math.max(32_768, Math.round(kbit * 125 * 0.002))
  if (remote.length > MAX_FAIR)
    return [`qdisc replace dev ${device} root tbf rate ${kbit}kbit burst ${burst} limit ${queueBytes + burst}`]
  const part = Math.max(1, Math.floor(kbit / (remote.length + 1)))
  const lines = [
    `qdisc replace dev ${device} root handle 1: htb default 2`,
    `class add dev ${device} parent 1: classid 1:1 htb rate ${kbit}kbit burst ${burst} cburst ${burst}`,
  ]
  for (const [k, address] of [undefined, ...remote].entries()) {
    const id = (k + 2).toString(16)
    lines.push(
      `class add dev ${device} parent 1:1 classid 1:${id} htb rate ${part}kbit ceil ${kbit}kbit burst ${burst} cburst ${burst} quantum 6056`,
    )
    lines.push(`qdisc add dev ${device} parent 1:${id} bfifo limit ${queueBytes}`)
    if (address !== undefined)
      lines.push(`filter add dev ${device} parent 1: protocol ip prio 1 u32 match ip ${match} ${address}/32 flowid 1:${id}`)
  }
  return lines
}

function batch(command: 'ip' | 'tc', args: readonly string[], lines: readonly string[]): void {
  execFileSync(command, [...args, '-batch', '-'], { input: `${lines.join('\n')}\n`, stdio: ['pipe', 'ignore', 'pipe'] })
}

/** A namespace may choose only among the congestion controls allowed for the machine; the default, BBR, shares such shapers badly. */
function allowCongestionControl(): void {
  const path = '/proc/sys/net/ipv4/tcp_allowed_congestion_control'
  const allowed = readFileSync(path, 'utf8').trim().split(' ')
  if (!allowed.includes(CONGESTION)) writeFileSync(path, [...allowed, CONGESTION].join(' '))
}
